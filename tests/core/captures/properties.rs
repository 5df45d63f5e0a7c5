//! What holds for every file, be it a capture or not. The fuzzer uses this file too.

use std::collections::BTreeMap;

use interpose::{
    wire::{
        capture::{
            reader::Reader,
            record::{Broken, Packet},
        },
        tcp::conversation::{Conversation, Conversations, Seen},
    },
    words::direction::{Both, Direction},
};

/// Returns the packets of a file that is read in pieces of these sizes, in a circle, and what broke it.
pub fn packets(file: &[u8], sizes: &[usize]) -> (Vec<Packet>, Option<Broken>) {
    let (mut reader, mut packets, mut rest) = (Reader::default(), Vec::new(), file);
    for size in sizes.iter().cycle() {
        let (piece, behind) = rest.split_at((*size).min(rest.len()));
        reader.push(piece);
        rest = behind;
        loop {
            match reader.next_packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(broken) => return (packets, Some(broken)),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (packets, reader.finish().err())
}

/// Returns all events of the connections of some packets, with the numbers of those.
pub fn events(packets: &[Packet]) -> (Vec<(u64, Seen)>, Conversations) {
    let (mut found, mut events) = (Conversations::default(), Vec::new());
    let mut watch = |of: &Conversation, _: u64, seen| events.push((of.number, seen));
    packets.iter().for_each(|packet| found.packet(packet, &mut watch));
    found.finish(&mut watch);
    (events, found)
}

/// Panics unless a file has the same packets however it is cut when it is read, and unless its connections make sense.
pub fn check(file: &[u8]) {
    let (whole, broken) = packets(file, &[file.len().max(1)]);
    for sizes in [&[1][..], &[7, 64, 3], &[1000]] {
        let (pieces, same) = packets(file, sizes);
        assert_eq!((&pieces, &same), (&whole, &broken), "cut at {sizes:?}");
    }
    if let Some(broken) = &broken {
        assert!(broken.place <= file.len() as u64 && !broken.fault.contains('\n'), "{broken}");
        assert!(whole.iter().all(|packet| packet.place < broken.place), "{broken}");
    }
    let (events, found) = events(&whole);
    let mut places: BTreeMap<u64, Both<u64>> = BTreeMap::new();
    let (mut open, mut bytes) = (BTreeMap::<u64, u32>::new(), 0);
    for (number, seen) in events {
        let place = |direction: Direction, at: u64, length: u64, places: &mut BTreeMap<u64, Both<u64>>| {
            let next = &mut places.entry(number).or_default()[direction];
            assert_eq!(*next, at, "connection {number} goes on where it was");
            *next += length;
        };
        match seen {
            Seen::Opened => assert_eq!(open.insert(number, 0), None),
            Seen::Bytes(direction, at, data) => {
                assert!(!data.is_empty());
                bytes += data.len();
                place(direction, at, data.len() as u64, &mut places);
            }
            Seen::Missing(direction, at, length) => {
                assert!(length > 0);
                place(direction, at, length, &mut places);
            }
            Seen::End(_) => assert!(open.contains_key(&number)),
            Seen::Closed => assert_eq!(open.insert(number, 1), Some(0), "connection {number} ends once"),
        }
    }
    assert!(bytes <= file.len(), "no byte comes twice");
    assert!(open.values().all(|closed| *closed == 1) && open.len() == found.all().len());
    for one in found.all() {
        let counted = places.remove(&one.number).unwrap_or_default();
        let said = |way: Direction| one.bytes[way] + one.missing[way];
        assert!(Direction::ALL.into_iter().all(|way| said(way) == counted[way]), "{one:?}");
    }
}
