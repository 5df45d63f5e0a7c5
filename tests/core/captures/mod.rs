//! Files of packets: those that are written are read again, and those of others, which the folder `samples` has, as well as
//! files that are nearly right.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use interpose::{
    wire::tcp::{
        conversation::{Ending, Seen},
        flow::{Addresses, Flow, Sender},
        packets::{Interface, Packets},
    },
    words::direction::{Both, Direction},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::{pattern::Pattern, property::Property};

pub mod properties;

use properties::{check, events, packets};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/core/captures/samples");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap());
    let mut samples: Vec<_> = entries.map(|entry| read(entry.expect("a file").path())).collect();
    samples.sort();
    samples
}

/// Returns both streams of the first connection, with the number of missing bytes where some are.
fn streams(file: &[u8]) -> (Both<String>, Option<Ending>) {
    let (packets, broken) = packets(file, &[file.len()]);
    assert_eq!(broken, None);
    let (events, found) = events(&packets);
    let mut streams = Both::<String>::default();
    for (_, seen) in events.iter().filter(|(number, _)| *number == 1) {
        match seen {
            Seen::Bytes(way, _, bytes) => streams[*way].push_str(&String::from_utf8_lossy(bytes)),
            Seen::Missing(way, _, bytes) => streams[*way].push_str(&format!("<{bytes}>")),
            _ => {}
        }
    }
    (streams, found.all().first().map(|one| one.ending))
}

#[test]
fn captures_of_other_programs_have_the_bytes_that_were_sent() {
    for (name, file) in samples() {
        check(&file);
        let (streams, ending) = streams(&file);
        let (request, answer, expected) = match name.as_str() {
            "unknown_link.pcap" => (String::new(), String::new(), None),
            "from_the_middle.pcap" => (REQUEST[10..].to_owned(), ANSWER.to_owned(), Some(Ending::Open)),
            "lost.pcap" => (format!("<10>{}", &REQUEST[10..]), ANSWER.to_owned(), Some(Ending::Finished)),
            _ => (REQUEST.to_owned(), ANSWER.to_owned(), Some(Ending::Finished)),
        };
        assert_eq!((streams.to_upstream, streams.to_client, ending), (request, answer, expected), "{name}");
    }
}

#[test]
fn files_that_are_cut_off_or_no_captures_are_reported_with_their_place() {
    for (name, file) in samples() {
        for length in 0..file.len() {
            let (_, broken) = packets(&file[..length], &[length.max(1)]);
            // A record's end may be the file's.
            assert!(broken.is_none_or(|broken| broken.place <= length as u64), "{name}, {length} bytes");
        }
    }
    let fault = |file: &[u8]| packets(file, &[1]).1.expect("it is no capture").to_string();
    assert_eq!(fault(b""), "byte 0: it is empty; a capture begins with a header");
    assert!(fault(b"\x1f\x8b\x08\0\0\0\0\0").contains("gunzip"));
    assert!(fault(b"#!/bin/sh\n").contains("it is no capture of packets"));
    assert!(fault(b"#!").contains("fewer than the header"));
    let (_, file) = samples().into_iter().find(|(name, _)| name == "lost.pcap").unwrap();
    let last = packets(&file, &[file.len()]).0.last().unwrap().place;
    let expected = "the file is cut off here, 20 bytes into a record; everything before it is whole";
    assert_eq!(fault(&file[..last as usize + 20]), format!("byte {last}: {expected}"));
}

/// An event of one of some connections.
#[derive(Debug, Clone)]
enum Act {
    Data(usize, bool, usize),
    Missed(usize, bool, usize),
    Finish(usize, bool),
    Reset(usize, bool),
    NextFile,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (flow, sender) = (0..3_usize, any::<bool>());
    let sizes = prop_oneof![1..100_usize, 65_470..65_490_usize, 100..300_000_usize];
    let act = prop_oneof![
        6 => (flow.clone(), sender, sizes).prop_map(|(flow, sender, size)| Act::Data(flow, sender, size)),
        1 => (flow.clone(), sender, 1..1_000_000_usize).prop_map(|(flow, sender, size)| Act::Missed(flow, sender, size)),
        1 => (flow.clone(), sender).prop_map(|(flow, sender)| Act::Finish(flow, sender)),
        1 => (flow, sender).prop_map(|(flow, sender)| Act::Reset(flow, sender)),
        1 => Just(Act::NextFile),
    ];
    vec(act, 0..30)
}

/// A connection beside its packets: what has to be found in them.
struct Expected {
    flow: Flow,
    sent: [Vec<Option<Bytes>>; 2],
    places: [u64; 2],
    has_ended: [bool; 2],
    is_reset: bool,
}

impl Expected {
    fn new(number: usize) -> Self {
        let opener = [("127.0.0.1:1", "127.0.0.1:80"), ("[::1]:1", "[::1]:80"), ("10.0.0.1:1", "[2001:db8::1]:80")][number];
        let addresses = Addresses { opener: opener.0.parse().unwrap(), answerer: opener.1.parse().unwrap() };
        let flow = Flow::new(Interface::Client, addresses, format!("connection {number}"), number as u64);
        Self { flow, sent: Default::default(), places: [0; 2], has_ended: [false; 2], is_reset: false }
    }

    fn may_send(&self, sender: bool) -> bool {
        !self.is_reset && !self.has_ended[usize::from(sender)]
    }
}

fn sender(is_answerer: bool) -> Sender {
    if is_answerer { Sender::Answerer } else { Sender::Opener }
}

fn play(acts: &[Act]) {
    let (mut out, mut file) = (Packets::new("interpose", 262_144), Vec::new());
    out.begin_file();
    let mut all: Vec<Expected> = (0..3).map(Expected::new).collect();
    all.iter_mut().for_each(|one| one.flow.open(1, &mut out));
    for (at, act) in (2..).zip(acts) {
        match *act {
            Act::Data(number, side, size) if all[number].may_send(side) => {
                let (one, mut bytes) = (&mut all[number], vec![0; size]);
                Pattern::new(at).peek(&mut bytes);
                let bytes = Bytes::from(bytes);
                one.flow.data(at, sender(side), one.places[usize::from(side)], bytes.clone(), &mut out);
                one.places[usize::from(side)] += size as u64;
                one.sent[usize::from(side)].push(Some(bytes));
            }
            Act::Missed(number, side, size) if all[number].may_send(side) => {
                all[number].places[usize::from(side)] += size as u64;
                all[number].sent[usize::from(side)].push(None);
            }
            Act::Finish(number, side) if all[number].may_send(side) => {
                all[number].flow.finish(at, sender(side), &mut out);
                all[number].has_ended[usize::from(side)] = true;
            }
            Act::Reset(number, side) => {
                all[number].flow.reset(at, sender(side), &mut out);
                all[number].is_reset = true;
            }
            Act::NextFile => out.begin_file(),
            Act::Data(..) | Act::Missed(..) | Act::Finish(..) => {}
        }
        out.batch().write_to(&mut file).unwrap();
    }
    out.batch().write_to(&mut file).unwrap();
    let (packets, broken) = packets(&file, &[1 << 20]);
    assert_eq!(broken, None);
    let (events, found) = events(&packets);
    for (number, one) in (1..).zip(&all) {
        for (side, way) in Direction::ALL.into_iter().enumerate() {
            let bytes = events.iter().filter_map(|(of, seen)| match seen {
                Seen::Bytes(direction, _, bytes) if *of == number && *direction == way => Some(bytes),
                _ => None,
            });
            assert!(bytes.flatten().eq(one.sent[side].iter().flatten().flatten()), "connection {number}, {way:?}");
        }
        let both_ended = one.has_ended == [true; 2] && !one.is_reset;
        assert_eq!(matches!(found.all()[number as usize - 1].ending, Ending::Reset(_)), one.is_reset);
        assert!(!both_ended || found.all()[number as usize - 1].ending == Ending::Finished);
    }
}

#[test]
fn what_is_written_is_read_again() {
    Property { cases: 40, threads: 1 }.holds(acts, |acts| play(&acts));
}

/// A short try of what the fuzzer tries for long.
#[test]
fn files_that_are_nearly_captures_are_read_alike_wherever_they_are_cut() {
    let samples: Vec<Vec<u8>> = samples().into_iter().map(|(_, file)| file).collect();
    let changes = || vec((any::<Index>(), prop_oneof![Just(0_u8), Just(255), any::<u8>()]), 0..6);
    let cases = || (prop::sample::select(samples.clone()), changes(), any::<Index>());
    Property { cases: 600, threads: 1 }.holds(cases, |(mut file, changes, end)| {
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        check(&file);
        check(&file[..end.index(file.len() + 1)]);
    });
}
