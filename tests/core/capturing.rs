//! Captures of connections: what is in the file is what was sent.

use std::{fs, net::SocketAddr};

use bytes::Bytes;
use interpose::{
    settings::config::Config,
    taps::{
        capture::{
            connections::Sides,
            files::{Files, Rotation, Target},
            sink::{Capture, WHOLE},
        },
        event::{ConnectionKey, Event, EventKind, Place},
        queue::Queue,
        writer::{Sink, Tap},
    },
    wire::{
        capture::record::Packet,
        tcp::conversation::{Conversations, Ending, Seen},
    },
    words::{
        addr::SocketName,
        direction::{Both, Direction},
        outcome::CloseReason,
        stats::Ledger,
    },
};

use crate::{
    captures::properties,
    support::{
        folder::Folder,
        pattern::Pattern,
        peers::{DEADLINE, End, Peer},
        running::{Running, to},
        tapped::tap_filters,
        upstreams::Upstream,
    },
};

/// A server that captures into a file.
struct Captured {
    running: Running,
    tap: Tap,
    folder: Folder,
}

impl Captured {
    fn start(upstream: &Upstream, sides: Sides, rotation: Rotation) -> Self {
        let folder = Folder::new();
        let files = Files::open(Target::Path(folder.path("a.pcapng")), rotation).expect("a file");
        let sink = Capture::new(files, WHOLE, sides, None).expect("room");
        let tap = Tap::start("capture", Queue::new(64 * 1024 * 1024), sink).expect("a thread");
        let places = if sides == Sides::Both { &[Place::In, Place::Out][..] } else { &[Place::In] };
        let running = Running::start(Config { filters: tap_filters(tap.queue(), places), ..to(upstream.address()) });
        Self { running, tap, folder }
    }

    /// Stops the server, and returns the packets of all files, in the order of those.
    fn finish(self) -> Vec<Vec<Packet>> {
        let Self { running, tap, folder } = self;
        drop(running);
        assert!(tap.finish(DEADLINE));
        let mut paths: Vec<_> = fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path| {
            let (packets, broken) = properties::packets(&fs::read(path).unwrap(), &[1 << 20]);
            assert_eq!(broken, None);
            packets
        };
        paths.into_iter().map(read).collect()
    }
}

fn bytes(events: &[(u64, Seen)], number: u64, way: Direction) -> Vec<u8> {
    let mut all = Vec::new();
    for (of, seen) in events {
        match seen {
            Seen::Bytes(direction, place, bytes) if *of == number && *direction == way => {
                assert_eq!(*place, all.len() as u64);
                all.extend_from_slice(bytes);
            }
            _ => {}
        }
    }
    all
}

/// Sends bytes both ways through a server, and ends in order.
fn converse(captured: &Captured, upstream: &Upstream, size: usize) {
    let mut client = Peer::connect(captured.running.address());
    let mut served = upstream.accept();
    client.send(b"question");
    assert_eq!(served.receive_exactly(8), b"question");
    let answer = Pattern::new(3).take(size);
    let sending = std::thread::scope(|scope| {
        let sending = scope.spawn(|| served.send(&answer));
        let received = client.receive_exactly(size);
        sending.join().expect("everything was sent");
        received
    });
    assert!(sending == answer);
    client.half_close();
    served.expect(End::Eof);
    served.close();
    client.expect(End::Eof);
    captured.running.wait_one_closed_for(CloseReason::Finished);
}

fn only(found: &Conversations, number: usize) -> (Ending, Option<&str>, &str) {
    let one = &found.all()[number];
    (one.ending, one.close_comment(), one.interface.name.as_str())
}

#[test]
fn both_streams_are_in_the_file_with_the_names_and_the_end_of_the_connection() {
    let upstream = Upstream::new();
    let captured = Captured::start(&upstream, Sides::Client, Rotation::default());
    let address = captured.running.address();
    converse(&captured, &upstream, 1_000_000);
    let files = captured.finish();
    let (events, found) = properties::events(&files[0]);
    assert_eq!((files.len(), found.all().len()), (1, 1));
    assert_eq!(only(&found, 0), (Ending::Finished, Some("finished"), "client"));
    assert_eq!(found.all()[0].server, address);
    assert_eq!(bytes(&events, 1, Direction::ToUpstream), b"question");
    assert!(bytes(&events, 1, Direction::ToClient) == Pattern::new(3).take(1_000_000));
}

#[test]
fn both_sides_are_two_connections_of_two_interfaces() {
    let upstream = Upstream::new();
    let captured = Captured::start(&upstream, Sides::Both, Rotation::default());
    converse(&captured, &upstream, 1000);
    let files = captured.finish();
    let (events, found) = properties::events(&files[0]);
    assert_eq!(found.all().len(), 2);
    for (number, name) in [(0, "client"), (1, "upstream")] {
        assert_eq!(only(&found, number), (Ending::Finished, Some("finished"), name));
        let number = number as u64 + 1;
        assert_eq!(bytes(&events, number, Direction::ToUpstream), b"question");
        assert!(bytes(&events, number, Direction::ToClient) == Pattern::new(3).take(1000));
    }
}

#[test]
fn a_connection_goes_on_over_several_files_each_of_which_is_whole() {
    let upstream = Upstream::new();
    let captured = Captured::start(&upstream, Sides::Client, Rotation { size: Some(100_000), ..Rotation::default() });
    converse(&captured, &upstream, 1_000_000);
    let files = captured.finish();
    assert!(files.len() > 2 && files.iter().all(|packets| !packets.is_empty()), "{}", files.len());
    let (events, found) = properties::events(&files.concat());
    assert_eq!(only(&found, 0).0, Ending::Finished);
    assert!(bytes(&events, 1, Direction::ToClient) == Pattern::new(3).take(1_000_000));
}

#[test]
fn a_reset_is_a_reset_by_the_side_that_made_it() {
    let upstream = Upstream::new();
    let captured = Captured::start(&upstream, Sides::Both, Rotation::default());
    let mut client = Peer::connect(captured.running.address());
    let mut served = upstream.accept();
    client.send(b"x");
    served.receive_exactly(1);
    served.reset();
    client.expect(End::Reset);
    captured.running.wait_one_closed_for(CloseReason::UpstreamReset);
    let files = captured.finish();
    let (_, found) = properties::events(&files[0]);
    let (from_us, from_upstream) = (Ending::Reset(Direction::ToClient), Ending::Reset(Direction::ToClient));
    assert_eq!([only(&found, 0).0, only(&found, 1).0], [from_us, from_upstream]);
    assert!(only(&found, 1).1.is_some_and(|text| text.starts_with("upstream_reset")));
}

#[test]
fn bytes_that_were_missed_before_an_end_are_a_gap_before_it() {
    let connection = ConnectionKey { number: 1, server: 1 };
    let name = |port| SocketName::Inet(SocketAddr::from(([127, 0, 0, 1], port)));
    for direction in Direction::ALL {
        // Of the end of the direction, either is known: its own event, or only the figures at the close.
        for has_end in [true, false] {
            let folder = Folder::new();
            let files = Files::open(Target::Path(folder.path("a.pcapng")), Rotation::default()).expect("a file");
            let mut capture = Capture::new(files, WHOLE, Sides::Client, None).expect("room");
            let all = Ledger { read: 1005, delivered: 1005, ..Ledger::default() };
            let mut ledgers = Both { to_upstream: Ledger::default(), to_client: Ledger::default() };
            ledgers[direction] = all;
            let place = Place::In;
            let mut kinds = vec![
                EventKind::Opened { client: name(4000), local: name(80), changes: false },
                EventKind::Data { direction, place, offset: 0, bytes: Bytes::from_static(b"first") },
                EventKind::Missed { events: 1, bytes: 1000 },
                EventKind::End { direction, place, offset: 1005 },
                EventKind::Closed { reason: CloseReason::Finished, error: None, ledgers },
            ];
            if !has_end {
                kinds.remove(3);
            }
            kinds.into_iter().for_each(|kind| capture.event(&Event::now(connection, kind)).expect("room"));
            capture.finish().expect("room");
            let (packets, broken) = properties::packets(&fs::read(folder.path("a.pcapng")).unwrap(), &[1 << 20]);
            assert_eq!(broken, None);
            let (events, found) = properties::events(&packets);
            let of_direction: Vec<_> = events
                .into_iter()
                .map(|(_, seen)| seen)
                .filter(|seen| matches!(seen, Seen::Bytes(..) | Seen::Missing(..)) || *seen == Seen::End(direction))
                .collect();
            let bytes = Seen::Bytes(direction, 0, Bytes::from_static(b"first"));
            assert_eq!(of_direction, [bytes, Seen::Missing(direction, 5, 1000), Seen::End(direction)], "{has_end}");
            assert_eq!(only(&found, 0).0, Ending::Finished);
        }
    }
}
