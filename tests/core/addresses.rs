//! CN-22: An address that is accepted is written back alike; one that is not is refused with the reason.

use interpose::words::{
    addr::{Address, SocketName},
    error::ErrorKind,
};

/// Spelling, and how it is written back.
const ACCEPTED: &[(&str, &str)] = &[
    ("9090", "127.0.0.1:9090"),
    ("0", "127.0.0.1:0"),
    ("1", "127.0.0.1:1"),
    ("65535", "127.0.0.1:65535"),
    ("00080", "127.0.0.1:80"),
    ("127.0.0.1:80", "127.0.0.1:80"),
    ("0.0.0.0:80", "0.0.0.0:80"),
    ("255.255.255.255:1", "255.255.255.255:1"),
    ("10.0.0.1:00443", "10.0.0.1:443"),
    ("localhost:5432", "localhost:5432"),
    ("LocalHost:5432", "LocalHost:5432"),
    ("db:5432", "db:5432"),
    ("db.example.com:5432", "db.example.com:5432"),
    ("db.example.com.:5432", "db.example.com.:5432"),
    ("my_service:80", "my_service:80"),
    ("_srv._tcp.example.com:80", "_srv._tcp.example.com:80"),
    ("xn--bcher-kva.example:80", "xn--bcher-kva.example:80"),
    ("bücher.example:80", "bücher.example:80"),
    ("3com.com:80", "3com.com:80"),
    ("1.2.3.4.example:80", "1.2.3.4.example:80"),
    ("host-1:0", "host-1:0"),
    ("[::1]:80", "[::1]:80"),
    ("[::]:80", "[::]:80"),
    ("[2001:db8::1]:80", "[2001:db8::1]:80"),
    ("[2001:0db8:0:0:0:0:0:1]:80", "[2001:0db8:0:0:0:0:0:1]:80"),
    ("[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80"),
    ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
    ("[fe80::1%2]:80", "[fe80::1%2]:80"),
    ("unix:/run/app.sock", "unix:/run/app.sock"),
    ("unix:relative.sock", "unix:relative.sock"),
    ("unix:/with space and:colon", "unix:/with space and:colon"),
    ("unix:@abstract", "unix:@abstract"),
    ("unix:@", "!empty"),
    ("unix:", "!empty"),
    ("unix:/a\0b", "!NUL"),
    ("", "!port is missing"),
    (" ", "!port is missing"),
    ("host", "!port is missing"),
    ("host:", "!port is missing"),
    ("127.0.0.1", "!port is missing"),
    ("[::1]", "!port is missing"),
    ("[::1]:", "!port is missing"),
    ("[::1", "!port is missing"),
    ("[::1]80", "!port is missing"),
    (":80", "!0.0.0.0"),
    ("*:80", "!0.0.0.0"),
    ("[]:80", "!brackets"),
    ("[127.0.0.1]:80", "!brackets"),
    ("[host]:80", "!brackets"),
    ("::1:80", "!needs brackets"),
    ("2001:db8::1:80", "!needs brackets"),
    ("host:http", "!not a number"),
    ("host:-1", "!not a number"),
    ("host:+80", "!not a number"),
    ("host: 80", "!not a number"),
    ("host:65536", "!between 0 and 65535"),
    ("65536", "!between 0 and 65535"),
    ("99999999999999999999", "!between 0 and 65535"),
    ("256.0.0.1:80", "!four numbers"),
    ("127.1:80", "!four numbers"),
    ("0x7f.0.0.1:80", "!four numbers"),
    ("2130706433:80", "!four numbers"),
    ("0x7f000001:80", "!four numbers"),
    ("1.2.3.4.5:80", "!four numbers"),
    ("a b:80", "!neither a name nor"),
    ("a..b:80", "!neither a name nor"),
    (".example:80", "!neither a name nor"),
    ("http://host:80", "!no part of an address: take it away (\"host:80\")"),
    ("user@host:80", "!neither a name nor"),
    ("host/path:80", "!neither a name nor"),
    ("[::g]:80", "!neither a name nor"),
    ("[fe80::1%]:80", "!neither a name nor"),
    ("ho\nst:80", "!neither a name nor"),
];

#[test]
fn every_spelling_is_taken_or_refused_for_its_reason() {
    for (text, expected) in ACCEPTED {
        match (text.parse::<Address>(), expected.strip_prefix('!')) {
            (Ok(address), None) => {
                assert_eq!(address.to_string(), *expected, "{text:?}");
                assert_eq!(address.to_string().parse::<Address>().unwrap(), address, "{text:?} written back");
            }
            (Err(error), Some(why)) => {
                assert_eq!(error.kind(), ErrorKind::Address, "{text:?}");
                let message = error.to_string();
                assert!(message.contains(why), "{text:?}: {message}");
                assert!(message.starts_with("address ") && message.contains("; write 9090,"), "{message}");
                assert!(!message.contains(['\n', '\0']), "{message:?} is not one inert line");
            }
            (parsed, _) => panic!("{text:?}: expected {expected:?}, got {parsed:?}"),
        }
    }
    assert!(ACCEPTED.len() >= 60);
}

/// Texts that are nearly addresses, and what the error says to write.
const SLIPS: &[(&str, &str)] = &[
    ("http://host:80", "take it away (\"host:80\")"),
    ("http://host", "(\"host:80\")"),
    ("https://user:secret@host/path?query", "take what stands around host and port away (\"host:443\")"),
    ("http://[::1]:8080/", "take it away (\"[::1]:8080\")"),
    ("tcp://127.0.0.1:5432", "(\"127.0.0.1:5432\")"),
    ("9190:127.0.0.1:80", "give each by itself (\"9190\" and \"127.0.0.1:80\")"),
    ("0.0.0.0:9190:db:5432", "(\"0.0.0.0:9190\" and \"db:5432\")"),
    ("x:80:80", "it has more ports than one: give one (\"x:80\")"),
    ("1.2.3.4:80:8080", "it has more ports than one: give one (\"1.2.3.4:80\")"),
    ("9090:80", "a port alone is one of this machine (\"9090\" or \"80\")"),
    ("[::1:80", "the bracket is not closed (\"[::1]:80\")"),
    ("[::1", "the port is missing"),
    ("[::1]80", "(\"[::1]:80\")"),
    ("80a", "it is no port, which is a number (\"80\")"),
    ("8080/tcp", "take it away (\"8080\")"),
    ("host:", "behind the colon (\"host:80\")"),
    (":80", "\"80\" is this machine only, \"0.0.0.0:80\""),
    ("host:99999", "between 0 and 65535"),
    ("::1:80", "needs brackets, for nothing else tells where its port begins (\"[::1]:80\")"),
    ("fe80::1", "(\"[fe80::1]:9090\")"),
    ("unix:", "unix:/run/app.sock"),
    (" host:80", "white space around it: take it away (\"host:80\")"),
    ("host:80\n", "(\"host:80\")"),
    ("host: 80", "the port is not a number (\"host:80\")"),
    ("host:http", "the port is not a number (\"host:80\")"),
    ("host:80/path", "a path has no place behind the port: take it away (\"host:80\")"),
    ("user@host:80", "a user has no place in it (\"host:80\")"),
    ("host 80", "(\"host:80\")"),
    ("host, 80", "(\"host:80\")"),
    ("/run/app.sock", "(\"unix:/run/app.sock\")"),
];

#[test]
fn a_slip_is_answered_with_what_was_meant() {
    for (text, fix) in SLIPS {
        let message = text.parse::<Address>().unwrap_err().to_string();
        assert!(message.contains(fix), "{text:?}: {message}");
        assert!(message.len() < 400 && !message.contains('\n'), "{message}");
    }
    for (host, fix) in [
        ("127.0.0.1:80", "give the host alone (\"127.0.0.1\")"),
        ("h:81", "the host has a port already, beside the 80 that was given, and it is another (81)"),
        ("[::1]:80", "give the host alone (\"::1\")"),
        ("http://h", "no part of a host: take it away (\"h\")"),
        (" h ", "white space around the host: take it away (\"h\")"),
    ] {
        let message = Address::inet(host, 80).unwrap_err().to_string();
        assert!(message.contains(fix), "{host:?}: {message}");
    }
}

#[test]
fn a_unix_path_has_at_most_107_bytes() {
    let path = "/".repeat(107);
    assert_eq!(format!("unix:{path}").parse::<Address>().unwrap(), Address::Unix(path.clone()));
    let error = format!("unix:{path}/").parse::<Address>().unwrap_err();
    assert!(error.to_string().contains("107 bytes"), "{error}");
}

#[test]
fn a_port_may_stand_apart_from_its_host() {
    for host in ["::1", "[::1]"] {
        assert_eq!(Address::inet(host, 80).unwrap().to_string(), "[::1]:80");
    }
    assert_eq!(Address::inet("example.com", 25).unwrap().to_string(), "example.com:25");
    assert_eq!(Address::inet("", 25).unwrap_err().kind(), ErrorKind::Address);
}

/// What a socket is called is an address that can be written down and read again.
#[test]
fn socket_names_are_addresses() {
    for text in ["127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80", "unix:/run/a", "unix:@a"] {
        let address: Address = text.parse().unwrap();
        let name = match &address {
            Address::Unix(path) => SocketName::Unix(path.clone()),
            Address::Inet { .. } => SocketName::from(text.parse::<std::net::SocketAddr>().unwrap()),
            Address::Descriptor(_) => unreachable!("none of the texts above"),
        };
        assert_eq!(name.to_string(), text);
        assert_eq!(Address::from(name), address);
    }
    let mapped: std::net::SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
    assert_eq!(SocketName::from(mapped).to_string(), "10.0.0.1:80");
}
