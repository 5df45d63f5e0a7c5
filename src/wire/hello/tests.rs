use super::{
    client_hello::{ClientHello, Version},
    refusal::{MOST, Refusal},
    server_name::ServerName,
    testing::{Parts, long, numbers, read, record, short},
};

fn hello(parts: &Parts) -> Result<ClientHello, Refusal> {
    read([&parts.wire()[..]]).map(|hello| hello.expect("a whole hello"))
}

fn name_of(name: impl AsRef<[u8]>) -> Result<String, Refusal> {
    hello(&Parts::default().named(name)).map(|hello| hello.server_name.unwrap().to_string())
}

/// The hello of the example in the specification of JA4, with values of GREASE between.
fn chrome() -> Parts {
    let suites =
        [0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x9c, 0x9d, 0x2f, 0x35];
    let signatures = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
    let empty = [0x33, 0x4469, 0x17, 0x2d, 0x05, 0x23, 0x12, 0xff01, 0x0b, 0x0a, 0x15, 0x1b];
    let mut parts = Parts { suites: suites.to_vec(), ..Parts::default() }
        .with(0x1a1a, "")
        .named("www.example.com")
        .with(0x10, long([short("h2"), short("http/1.1")].concat()))
        .with(0x2b, short(numbers(&[0x3a3a, 0x0304, 0x0303])))
        .with(0x0d, long(numbers(&signatures)));
    for kind in empty {
        parts = parts.with(kind, "");
    }
    parts.with(0xdada, [0])
}

#[test]
fn the_parts_of_a_hello_are_read() {
    let found = hello(&chrome()).unwrap();
    assert_eq!(found.server_name.as_ref().map(ServerName::as_str), Some("www.example.com"));
    assert_eq!(found.versions, [Version(0x0304), Version(0x0303)]);
    assert_eq!(found.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!((found.cipher_suites.len(), found.cipher_suites[0]), (15, 0x1301));
    let old = hello(&Parts { version: 0x0301, extensions: None, ..Parts::default() }).unwrap();
    assert_eq!((old.server_name, &old.versions[..], old.protocols.len()), (None, &[Version(0x0301)][..], 0));
}

#[test]
fn the_fingerprint_is_that_of_the_specification() {
    assert_eq!(hello(&chrome()).unwrap().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let mut unsigned = chrome();
    unsigned.extensions.as_mut().unwrap().retain(|(kind, _)| *kind != 0x0d);
    let kinds = "0005,000a,000b,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01";
    let digest = ring::digest::digest(&ring::digest::SHA256, kinds.as_bytes());
    let hash: String = digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hello(&unsigned).unwrap().ja4(), format!("t13d1515h2_8daaf6152771_{hash}"));
    let bare = Parts { suites: vec![0x0a0a], version: 0x0300, extensions: None, ..Parts::default() };
    assert_eq!(hello(&bare).unwrap().ja4(), "ts3i000000_000000000000_000000000000");
    let many = Parts { suites: (1..=300).collect(), version: 0x03ff, ..Parts::default() };
    assert!(hello(&many).unwrap().ja4().starts_with("t00i990000_"));
}

#[test]
fn the_fingerprint_has_the_ends_of_the_first_protocol() {
    let specified: [(&[u8], &str); 11] = [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"a", "aa"),
        (b"\xab", "ab"),
        (b"\x20", "20"),
        (b"\xab\xcd", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xab", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ];
    for (protocol, ends) in specified {
        let parts = Parts::default().with(16, long([short([0x1a, 0x1a]), short(protocol)].concat()));
        assert_eq!(&hello(&parts).unwrap().ja4()[8..10], ends, "{}", protocol.escape_ascii());
    }
}

#[test]
fn a_hello_is_read_wherever_it_is_split_into_segments_and_records() {
    let (parts, message) = (chrome(), chrome().message());
    let whole = hello(&parts).unwrap();
    for at in 1..message.len() {
        let wire = [record(&message[..at]), record(&message[at..])].concat();
        assert_eq!(read([&wire[..]]), Ok(Some(whole.clone())), "records split at {at}");
    }
    let fragments = message.chunks(100).map(record).collect::<Vec<_>>().concat();
    for wire in [parts.wire(), fragments, message.iter().flat_map(|byte| record(&[*byte])).collect()] {
        for at in 1..wire.len() {
            assert_eq!(read([&wire[..at]]), Ok(None), "{at} bytes are not all");
            assert_eq!(read([&wire[..at], &wire[at..]]), Ok(Some(whole.clone())), "segments split at {at}");
        }
        assert_eq!(read(wire.chunks(1)), Ok(Some(whole.clone())));
    }
    // Bytes of further records are not looked at.
    let more = [parts.wire(), b"\x17\x03\x03\0\x01a".to_vec()].concat();
    assert_eq!(read([&more[..]]), Ok(Some(whole)));
}

#[test]
fn a_name_has_one_spelling() {
    for (given, name) in [
        ("example.com", "example.com"),
        ("EXAMPLE.com", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.a-b.example", "_dmarc.a-b.example"),
        ("1.example.com1", "1.example.com1"),
    ] {
        assert_eq!(name_of(given).as_deref(), Ok(name));
    }
    let (most, label) = (["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join("."), "a".repeat(63));
    assert_eq!(name_of(&most).as_deref(), Ok(&most[..]));
    assert_eq!(name_of(&label).as_deref(), Ok(&label[..]));
}

#[test]
fn names_that_are_none_are_refused() {
    let long_name = vec![b'a'; 300];
    let (just_too_long, label) = (["ab"; 85].join("."), "a".repeat(64));
    let wrong: [&[u8]; 19] = [
        b"",
        b".",
        b"a\0.example.com",
        b"example.com\0",
        b"a..example.com",
        b".example.com",
        b"example.com..",
        b"127.0.0.1",
        b"127.0.0.1.",
        b"127.1",
        b"2130706433",
        b"::1",
        b"[::1]",
        b"example.com:443",
        "b\u{fc}cher.example".as_bytes(),
        b"*.example.com",
        b"a b.example",
        &long_name,
        label.as_bytes(),
    ];
    for name in wrong.into_iter().chain([just_too_long.as_bytes()]) {
        let refused = name_of(name).unwrap_err();
        assert!(matches!(refused, Refusal::BadName(_)) && refused.alert() == Some(112), "{}", name.escape_ascii());
    }
    let name = |kind: u8, name: &str| [&[kind][..], &long(name)].concat();
    let two = Parts::default().with(0, long([name(0, "a.example"), name(0, "b.example")].concat()));
    assert_eq!(hello(&two), Err(Refusal::BadName("there is more than one")));
    let other = Parts::default().with(0, long(name(1, "a.example")));
    assert_eq!(hello(&other), Err(Refusal::BadName("it is of a kind that does not exist")));
}

#[test]
fn lengths_that_lie_are_refused_at_once() {
    let parts = chrome();
    let wire = parts.wire();
    assert!(read([&wire[..]]).unwrap().is_some());
    // The length of the message, of the session's number, and each byte that may be one: none makes it wait or read on.
    for at in 5..wire.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut lying = wire.clone();
            lying[at] = value;
            if let Ok(None) = read([&lying[..]]) {
                assert!((6..9).contains(&at), "waits for more because of byte {at}");
            }
        }
    }
    let list = [0xff, 0xff, 0, 0, 1, b'a'];
    assert_eq!(hello(&Parts::default().with(0, list)), Err(Refusal::Broken("its list of server names is none")));
    let name = [0, 4, 0, 0xff, 0xff, b'a'];
    assert_eq!(hello(&Parts::default().with(0, name)), Err(Refusal::Broken("its list of server names is none")));
    let twice = Parts::default().with(0x0a, "").with(0x0a, "");
    assert_eq!(hello(&twice), Err(Refusal::Broken("it has an extension twice")));
    for (kind, contents) in [(16, vec![0, 0]), (16, vec![0, 1, 0]), (16, vec![0, 2, 2, b'a']), (43, vec![1, 3]), (13, vec![0, 0])]
    {
        assert!(hello(&Parts::default().with(kind, contents)).is_err());
    }
    for parts in [
        Parts { session: vec![0; 33], ..Parts::default() },
        Parts { suites: vec![], ..Parts::default() },
        Parts { compression: vec![], ..Parts::default() },
        Parts { version: 0x0203, ..Parts::default() },
    ] {
        assert!(matches!(hello(&parts), Err(Refusal::Broken(_))), "{parts:?}");
    }
}

#[test]
fn records_that_carry_no_hello_are_refused_at_their_first_wrong_byte() {
    let first_wrong = |bytes: &[u8], refusal: Refusal| {
        let whole = bytes.len();
        assert_eq!(read(bytes.chunks(1)), Err(refusal), "{}", bytes.escape_ascii());
        assert_eq!(read([&bytes[..whole - 1]]), Ok(None), "{}", bytes.escape_ascii());
    };
    first_wrong(b"G", Refusal::NotTls);
    first_wrong(b"\x16S", Refusal::NotTls);
    first_wrong(b"\x16\x03\x01\0\0", Refusal::Broken("a record of it is empty"));
    first_wrong(b"\x16\x03\x01\x40\x01", Refusal::Broken("a record of it is longer than TLS allows"));
    first_wrong(b"\x16\x03\x01\0\x05\x02", Refusal::Broken("its first message is another"));
    first_wrong(b"\x16\x03\x01\0\x01\x01\x15", Refusal::Broken("another record comes in the middle of it"));
    first_wrong(b"\x16\x03\x01\0\x01\x01\x16\x02", Refusal::Broken("a record of it has no version of TLS"));
    first_wrong(b"\x16\x03\x01\0\x04\x01\0\x40\0", Refusal::TooLong);
    first_wrong(b"\x16\x03\x01\x40\0", Refusal::TooLong);
    let behind = record(&[chrome().message(), vec![1]].concat());
    assert_eq!(read(behind.chunks(1)), Err(Refusal::Broken("its record goes on behind it")));
}

#[test]
fn a_hello_has_a_bound_and_is_read_up_to_it() {
    let empty = Parts::default().with(21, "").wire().len();
    let padded = |bytes: usize| Parts::default().with(21, vec![0; bytes - empty]).wire();
    let longest = padded(MOST);
    assert_eq!(longest.len(), MOST);
    assert!(read([&longest[..]]).unwrap().is_some());
    assert_eq!(read([&padded(MOST + 1)[..]]), Err(Refusal::TooLong));
    // Headers count: a message in records of one byte each is longer on the wire.
    let message = Parts::default().with(21, vec![0; 4000]).message();
    let fragments: Vec<u8> = message.iter().flat_map(|byte| record(&[*byte])).collect();
    assert_eq!(read(fragments.chunks(100)), Err(Refusal::TooLong));
}

#[test]
fn versions_have_the_names_that_openssl_has_for_them() {
    let names = [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x7f1c].map(|number| Version(number).to_string());
    assert_eq!(names, ["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "0x7f1c"]);
}
