//! Plaintext behind which TLS begins: dialogues of protocols, which the folder `samples` has, and such that are nearly right.

use std::{fs, path::PathBuf};

use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::property::{Property, sizes};

mod properties;

use properties::{check, play};

/// The dialogues, with their names.
fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/starttls/samples");
    let found = fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

#[test]
fn tls_begins_in_each_dialogue_that_agrees_on_it() {
    for (name, dialogue) in samples() {
        check(&dialogue);
        let outcome = play(&dialogue, &[128]);
        let (has_hello, is_kept) = match name.rsplit('_').next() {
            Some("refused") => (false, false),
            // More bytes may make a hello of it.
            Some("doubtful") => (false, true),
            _ => (true, true),
        };
        assert_eq!((outcome.has_hello, !outcome.kept.is_empty()), (has_hello, is_kept), "{name}");
    }
}

#[test]
fn dialogues_come_out_alike_in_whatever_pieces_they_come() {
    let samples = samples();
    let cases = || (0..samples.len(), vec(sizes(130), 1..8));
    Property { cases: 300, threads: 1 }.holds(cases, |(at, sizes)| {
        assert!(play(&samples[at].1, &sizes) == play(&samples[at].1, &[128]));
    });
}

#[test]
fn dialogues_that_are_nearly_right_lose_nothing() {
    let samples = samples();
    let cases = || (0..samples.len(), vec((any::<Index>(), any::<u8>()), 1..4));
    Property { cases: 500, threads: 1 }.holds(cases, |(at, changes)| {
        let mut dialogue = samples[at].1.clone();
        for (place, byte) in changes {
            let place = place.index(dialogue.len());
            dialogue[place] = byte;
        }
        check(&dialogue);
    });
}
