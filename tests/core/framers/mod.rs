//! Framers, with conversations that are nearly right. `properties` is what holds for all of them; the folder `samples` has
//! conversations for each, and those that a fuzzer has found.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use interpose::{
    inspect::framing::{Cut, Framing},
    words::direction::Direction,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::property::Property;

pub mod properties;

use properties::{NAMES, TURN, check, framing, play, turns};

/// Returns the conversations of a framing that the folder has.
fn samples(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/framers/samples").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

/// FR-03: A stream has the same messages wherever it is cut, between the bytes of a delimiter as well.
#[test]
fn every_sample_is_cut_alike_wherever_it_is_split_and_most_are_cut_to_their_end() {
    for name in NAMES {
        let framing = framing(name);
        let all = samples(name);
        all.iter().for_each(|conversation| check(&*framing, conversation));
        // A checkout that changes line ends would leave little to try.
        let has_messages = |conversation: &&Vec<u8>| {
            let cut = play(&*framing, &turns(conversation), || usize::MAX);
            Direction::ALL.iter().any(|direction| !cut[*direction].lengths.is_empty() && cut[*direction].broken.is_none())
        };
        assert!(all.iter().filter(has_messages).count() * 2 >= all.len(), "{name}: most samples are wrong");
    }
}

/// A change of a conversation.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let telling = prop::sample::select(vec![&b"\0"[..], b"\xff\xff", b"\r\n", b"\n", b"0", b"9", b":", b"-1", TURN]);
    let bytes = prop_oneof![telling.prop_map(<[u8]>::to_vec), vec(any::<u8>(), 1..5)];
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), 1..9_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ];
    vec(change, 0..5)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let (Change::Set(at, _) | Change::Insert(at, _) | Change::Remove(at, _) | Change::Repeat(at, _)) = change;
        let at = at.index(bytes.len() + 1);
        let until = |length: usize| (at + length).min(bytes.len());
        match change {
            Change::Set(_, byte) => bytes[at..].iter_mut().take(1).for_each(|place| *place = *byte),
            Change::Insert(_, inserted) => drop(bytes.splice(at..at, inserted.iter().copied())),
            Change::Remove(_, length) => drop(bytes.drain(at..until(*length))),
            Change::Repeat(_, length) => {
                let again = bytes[at..until(*length)].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    bytes
}

/// FR-08: Bytes that are no conversation of a protocol end its framing in order: no framer fails on them.
///
/// A short try of what the fuzzer tries for long.
#[test]
fn conversations_that_are_nearly_right_are_cut_alike_wherever_they_are_split() {
    for name in NAMES {
        let (framing, samples) = (framing(name), samples(name));
        let cases = || (prop::sample::select(samples.clone()), changes());
        Property { cases: 400, threads: 1 }.holds(cases, |(sample, changes)| check(&*framing, &changed(sample, &changes)));
    }
}

/// Returns the beginning of a message that is as long as it can be made with one framing.
fn long_message(name: &str, length: usize) -> Vec<u8> {
    match name {
        "http1" => [b"POST / HTTP/1.1\r\nX: ", &vec![b'x'; length][..]].concat(),
        "resp" => {
            b"*1\r\n".repeat(25).into_iter().chain(b"*999999\r\n".iter().copied()).chain(b":1\r\n".repeat(length / 4)).collect()
        }
        _ => vec![b'x'; length],
    }
}

/// FR-04: A message takes time in proportion to its length, though it comes byte by byte.
///
/// A framer that reads again what it has seen takes minutes for a mebibyte that comes byte by byte, others a moment.
#[test]
fn a_long_message_that_comes_byte_by_byte_takes_time_in_proportion_to_its_length() {
    const DEADLINE: Duration = Duration::from_secs(10);
    for name in NAMES {
        let framing: Arc<dyn Framing> = framing(name);
        let mut framer = framing.framers().to_upstream;
        let (bytes, began) = (long_message(name, 1 << 20), Instant::now());
        let (mut start, mut seen) = (0, 0);
        for end in 1..=bytes.len() {
            assert!(began.elapsed() < DEADLINE, "{name}: at byte {end} after {DEADLINE:?}");
            match framer.cut(&bytes[start..end], seen) {
                Ok(Cut::Message(length)) => (start, seen) = (start + length, 0),
                Ok(Cut::More { .. }) => seen = end - start,
                Ok(Cut::Unframed) | Err(_) => break,
            }
        }
    }
}
