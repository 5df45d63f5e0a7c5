//! The first messages of TLS clients: those of programs, which the folder `samples` has, and such that are nearly right.

use std::{fs, path::PathBuf};

use interpose::wire::hello::{ClientHello, refusal::Refusal};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::property::{Property, sizes};

mod properties;

use properties::{check, read};

fn sample(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/hellos/samples").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const SAMPLES: [&str; 4] = ["curl", "openssl", "openssl_1.2", "openssl_unnamed"];

fn hello(wire: &[u8]) -> ClientHello {
    read(wire, &[wire.len()]).0.unwrap().unwrap()
}

#[test]
fn the_hellos_of_programs_are_read() {
    let described = SAMPLES.map(|name| {
        let hello = hello(&sample(name));
        let protocols: Vec<_> = hello.alpn().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let versions: Vec<_> = hello.versions.iter().map(ToString::to_string).collect();
        let name = hello.server_name.as_ref().map_or("-", |name| name.as_str()).to_owned();
        (name, versions.join(" "), protocols.join(" "), hello.ja4())
    });
    let wanted = [
        ("a.example", "TLSv1.3 TLSv1.2 TLSv1.1 TLSv1", "h2 http/1.1", "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6"),
        ("a.example", "TLSv1.3 TLSv1.2 TLSv1.1 TLSv1", "h2 http/1.1", "t13d3111h2_e8f1e7e78f70_1f22a2ca17c4"),
        ("b.example", "TLSv1.2", "", "t12d280700_d943125447b4_e7e480e5a997"),
        ("-", "TLSv1.3 TLSv1.2 TLSv1.1 TLSv1", "", "t13i310900_e8f1e7e78f70_1f22a2ca17c4"),
    ];
    assert_eq!(described, wanted.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())));
}

#[test]
fn a_hello_is_read_from_any_records_and_segments() {
    let cases = || (0..SAMPLES.len(), vec(sizes(600), 1..8), vec(sizes(600), 1..8));
    Property { cases: 300, threads: 1 }.holds(cases, |(at, records, segments)| {
        let wire = sample(SAMPLES[at]);
        let (mut message, mut again) = (&wire[5..], Vec::new());
        for size in records.iter().cycle() {
            let (fragment, behind) = message.split_at((*size).min(message.len()));
            again.extend([&[22, 3, 1][..], &u16::try_from(fragment.len()).unwrap().to_be_bytes(), fragment].concat());
            message = behind;
            if message.is_empty() {
                break;
            }
        }
        assert_eq!(read(&again, &segments), (Ok(Some(hello(&wire))), again.len()));
        check(&again);
    });
}

#[test]
fn nearly_right_hellos_are_harmless() {
    let cases = || (0..SAMPLES.len(), vec((any::<Index>(), any::<u8>()), 0..6), any::<Index>());
    Property { cases: 1000, threads: 1 }.holds(cases, |(at, changes, end)| {
        let mut wire = sample(SAMPLES[at]);
        for (place, value) in changes {
            let place = place.index(wire.len());
            wire[place] = value;
        }
        check(&wire);
        wire.truncate(end.index(wire.len() + 1));
        check(&wire);
    });
}

#[test]
fn any_bytes_are_harmless() {
    let beginnings = || prop_oneof![Just(vec![]), Just(vec![22, 3, 1]), Just(vec![22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3])];
    Property { cases: 1000, threads: 1 }
        .holds(|| (beginnings(), vec(any::<u8>(), 0..300)), |(beginning, rest)| check(&[beginning, rest].concat()));
}

#[test]
fn what_is_no_hello_is_refused_at_its_first_byte() {
    for said in ["GET / HTTP/1.1\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "EHLO a.example\r\n", "\0\0\0\u{8}\u{4}"] {
        assert_eq!(read(said.as_bytes(), &[1]), (Err(Refusal::NotTls), 1), "{said:?}");
    }
}
