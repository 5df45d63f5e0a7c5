//! CN-22: the address grammar. What is accepted is written back the same way; what is not says why.

use interpose::{
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
    ("http://host:80", "!needs brackets"),
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
        };
        assert_eq!(name.to_string(), text);
        assert_eq!(Address::from(name), address);
    }
    let mapped: std::net::SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
    assert_eq!(SocketName::from(mapped).to_string(), "10.0.0.1:80");
}
