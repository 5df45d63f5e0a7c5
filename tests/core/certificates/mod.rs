//! Certificates: those of OpenSSL, which the folder `samples` has, and such that are nearly right.

use std::{fs, path::PathBuf};

use interpose::wire::certificate::{Certificate, KeyKind};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::property::Property;

mod properties;

use properties::check;

const SAMPLES: [&str; 3] = ["ed25519", "p256", "rsa"];

fn sample(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/certificates/samples").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn those_of_openssl_are_read() {
    let found = SAMPLES.map(|name| {
        check(&sample(name));
        let Certificate { subject, names, key, .. } = Certificate::read(&sample(name)).expect(name);
        (subject, names.join(" "), key)
    });
    let wanted = [
        ("OU=x, L=y, ST=z, CN=ed", "", KeyKind::Ed25519),
        (
            "C=DE, O=Example, CN=db.example.com",
            "db.example.com *.b.example 127.0.0.1 ::1 a@b.example spiffe://b/c",
            KeyKind::P256,
        ),
        ("CN=Bücher\\, und mehr, emailAddress=a@b.example", "", KeyKind::Other),
    ];
    assert_eq!(found, wanted.map(|(subject, names, key)| (subject.to_owned(), names.to_owned(), key)));
}

#[test]
fn nearly_right_ones_are_harmless() {
    let cases = || (0..SAMPLES.len(), vec((any::<Index>(), any::<u8>()), 0..6), any::<Index>());
    Property { cases: 1000, threads: 1 }.holds(cases, |(at, changes, end)| {
        let mut bytes = sample(SAMPLES[at]);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        check(&bytes);
        bytes.truncate(end.index(bytes.len() + 1));
        check(&bytes);
    });
}

#[test]
fn any_bytes_are_harmless() {
    let beginnings = || prop_oneof![Just(vec![]), Just(vec![0x30, 0x82]), Just(vec![0x30, 0x80, 0x30, 0x80])];
    Property { cases: 1000, threads: 1 }
        .holds(|| (beginnings(), vec(any::<u8>(), 0..300)), |(beginning, rest)| check(&[beginning, rest].concat()));
}
