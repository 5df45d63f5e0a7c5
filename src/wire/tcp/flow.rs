//! A connection written as packets of TCP, as somebody who listens on the wire would see it.
//!
//! The bytes and the ends are those of the connection; segments and acknowledgements are made up, and agree with each other:
//! each byte is sent once, is acknowledged, and has its place in the stream by its sequence number. Bytes that were missed
//! leave a gap in the numbers.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{
    packet::{MOST_PAYLOAD, Segment, flag},
    packets::{Interface, Packets},
};
use crate::wire::capture::block::{PacketFields, Way};

/// Bytes in a row that wait for an acknowledgement of their own. Fewer are acknowledged with the opposite's next packet.
const UNACKNOWLEDGED: u32 = 256 * 1024;

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The end that has connected.
    Opener,
    /// The end that was connected to.
    Answerer,
}

impl Sender {
    /// Returns the other end.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Opener => Self::Answerer,
            Self::Answerer => Self::Opener,
        }
    }
}

/// The state of one end as a sender.
#[derive(Debug)]
struct End {
    address: SocketAddr,
    /// The sequence number of the next byte.
    next: u32,
    /// The number up to which the opposite has acknowledged.
    acknowledged: u32,
    /// The place of the next byte in the stream.
    offset: u64,
    has_finished: bool,
    identification: u16,
}

/// The ends of a flow: the opener's, and the answerer's.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Of the end that has connected.
    pub opener: SocketAddr,
    /// Of the end that was connected to.
    pub answerer: SocketAddr,
}

/// A connection of one interface.
#[derive(Debug)]
pub struct Flow {
    interface: Interface,
    opener: End,
    answerer: End,
    /// Text that names the connection, for the first packet in each file.
    name: String,
    /// The file that has a packet of the connection.
    file: u64,
    /// Comments for the next packet.
    comments: Vec<String>,
    is_reset: bool,
}

impl Flow {
    /// Returns a connection of which nothing was written. `seed` makes its sequence numbers differ from those of another
    /// connection with the same addresses.
    pub fn new(interface: Interface, addresses: Addresses, name: impl Into<String>, seed: u64) -> Self {
        let end = |address, number: u64| {
            let next = scattered(seed.wrapping_mul(2).wrapping_add(number));
            End { address, next, acknowledged: next, offset: 0, has_finished: false, identification: 0 }
        };
        let (opener, answerer) = (end(addresses.opener, 0), end(addresses.answerer, 1));
        Self { interface, opener, answerer, name: name.into(), file: 0, comments: Vec::new(), is_reset: false }
    }

    /// Sets the sequence numbers with which both ends begin.
    #[cfg(test)]
    fn begin_at(&mut self, opener: u32, answerer: u32) {
        (self.opener.next, self.answerer.next) = (opener, answerer);
    }

    /// Adds a comment to the next packet.
    pub fn comment(&mut self, text: impl Into<String>) {
        self.comments.push(text.into());
    }

    /// Writes the handshake.
    pub fn open(&mut self, at: u64, out: &mut Packets) {
        self.packet(at, Sender::Opener, flag::SYN, Bytes::new(), out);
        self.packet(at, Sender::Answerer, flag::SYN | flag::ACK, Bytes::new(), out);
        self.packet(at, Sender::Opener, flag::ACK, Bytes::new(), out);
    }

    /// Writes bytes that `sender` has sent, from the place `offset` of its stream on. Bytes before that, which did not come,
    /// are missing.
    pub fn data(&mut self, at: u64, sender: Sender, offset: u64, mut bytes: Bytes, out: &mut Packets) {
        if self.is_reset {
            return;
        }
        self.skip_to(sender, offset);
        while !bytes.is_empty() {
            let payload = bytes.split_to(bytes.len().min(MOST_PAYLOAD));
            let push = if bytes.is_empty() { flag::PSH } else { 0 };
            self.packet(at, sender, flag::ACK | push, payload, out);
        }
        let end = self.end_mut(sender);
        if end.next.wrapping_sub(end.acknowledged) >= UNACKNOWLEDGED {
            self.packet(at, sender.opposite(), flag::ACK, Bytes::new(), out);
        }
    }

    /// Leaves a gap up to the place `offset` of what `sender` sends, if there is one: bytes that did not come are missing.
    pub fn skip_to(&mut self, sender: Sender, offset: u64) {
        let is_over = self.is_reset;
        let end = self.end_mut(sender);
        if offset > end.offset && !end.has_finished && !is_over {
            let missing = offset - end.offset;
            end.next = end.next.wrapping_add(low_bits(missing));
            end.offset = offset;
            self.comment(format!("{missing} bytes before this were not captured"));
        }
    }

    /// Writes the end of what `sender` sends. Does nothing if that has ended.
    pub fn finish(&mut self, at: u64, sender: Sender, out: &mut Packets) {
        if !self.is_reset && !self.end_mut(sender).has_finished {
            self.packet(at, sender, flag::FIN | flag::ACK, Bytes::new(), out);
        }
    }

    /// Writes a reset by `sender`. A connection has at most one.
    pub fn reset(&mut self, at: u64, sender: Sender, out: &mut Packets) {
        if !self.is_reset {
            self.packet(at, sender, flag::RST | flag::ACK, Bytes::new(), out);
            self.is_reset = true;
        }
    }

    /// Writes the last acknowledgement, which carries the comments that wait, of a connection that has ended in order.
    pub fn close(&mut self, at: u64, out: &mut Packets) {
        for sender in [Sender::Opener, Sender::Answerer] {
            self.finish(at, sender, out);
        }
        if self.is_reset {
            return;
        }
        for sender in [Sender::Opener, Sender::Answerer] {
            let end = self.end_mut(sender);
            if end.acknowledged != end.next {
                self.packet(at, sender.opposite(), flag::ACK, Bytes::new(), out);
            }
        }
    }

    fn end_mut(&mut self, sender: Sender) -> &mut End {
        match sender {
            Sender::Opener => &mut self.opener,
            Sender::Answerer => &mut self.answerer,
        }
    }

    fn ends_mut(&mut self, sender: Sender) -> (&mut End, &mut End) {
        match sender {
            Sender::Opener => (&mut self.opener, &mut self.answerer),
            Sender::Answerer => (&mut self.answerer, &mut self.opener),
        }
    }

    fn packet(&mut self, at: u64, sender: Sender, flags: u8, payload: Bytes, out: &mut Packets) {
        if self.file != out.file() {
            if self.file == 0 {
                self.comments.insert(0, self.name.clone());
            } else {
                self.comments.insert(0, format!("{}, goes on from the file before", self.name));
            }
            self.file = out.file();
        }
        let way = self.way(sender);
        let (source, destination) = self.ends_mut(sender);
        let acknowledged = if flags & flag::ACK == 0 { 0 } else { destination.next };
        let (from, to, sequence, identification) = (source.address, destination.address, source.next, source.identification);
        if flags & flag::ACK != 0 {
            destination.acknowledged = destination.next;
        }
        source.identification = source.identification.wrapping_add(1);
        source.offset += payload.len() as u64;
        // Each mark of an end takes a number, as a byte does.
        source.next = source.next.wrapping_add(low_bits(payload.len() as u64)).wrapping_add(u32::from(flags & flag::SYN != 0));
        if flags & flag::FIN != 0 {
            source.next = source.next.wrapping_add(1);
            source.has_finished = true;
        }
        let segment = Segment { from, to, sequence, acknowledged, flags, identification, payload: &payload };
        let (interface, comments) = (self.interface as u32, &self.comments[..]);
        out.put(PacketFields { interface, at, captured: 0, original: 0, way, comments }, &segment, &payload);
        self.comments.clear();
    }

    /// Returns the way of packets of `sender`, as seen from the middle: the client's come in, and so do the upstream's.
    fn way(&self, sender: Sender) -> Way {
        match (self.interface, sender) {
            (Interface::Client, Sender::Opener) | (Interface::Upstream, Sender::Answerer) => Way::In,
            (Interface::Client, Sender::Answerer) | (Interface::Upstream, Sender::Opener) => Way::Out,
        }
    }
}

fn low_bits(number: u64) -> u32 {
    number as u32
}

/// Returns a number that looks like chance (splitmix64).
fn scattered(seed: u64) -> u32 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    low_bits((mixed ^ (mixed >> 31)) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        wire::{
            capture::{reader::Reader, record::Packet},
            tcp::conversation::{Conversation, Conversations, Ending, Seen},
        },
        words::direction::Direction,
    };

    const NAME: &str = "connection 7";

    fn flow(begin: u32) -> (Flow, Packets) {
        let addresses = Addresses { opener: "127.0.0.1:4000".parse().unwrap(), answerer: "127.0.0.2:80".parse().unwrap() };
        let (mut flow, mut out) = (Flow::new(Interface::Client, addresses, NAME, 7), Packets::new("interpose", 262_144));
        flow.begin_at(begin, begin.wrapping_add(5));
        out.begin_file();
        (flow, out)
    }

    fn packets(out: &mut Packets) -> Vec<Packet> {
        let (mut file, mut reader) = (Vec::new(), Reader::default());
        out.batch().write_to(&mut file).unwrap();
        reader.push(&file);
        let packets = std::iter::from_fn(|| reader.next_packet().unwrap()).collect();
        reader.finish().unwrap();
        packets
    }

    fn seen(packets: &[Packet]) -> (Vec<Seen>, Conversations) {
        let (mut found, mut seen) = (Conversations::default(), Vec::new());
        let mut watch = |_: &Conversation, _, event| seen.push(event);
        packets.iter().for_each(|packet| found.packet(packet, &mut watch));
        found.finish(&mut watch);
        (seen, found)
    }

    #[test]
    fn bytes_are_found_again_wherever_the_numbers_go_round() {
        for begin in [0, u32::MAX - 1, u32::MAX, u32::MAX - 70_000, u32::MAX - 200_000, 1 << 31] {
            let (mut flow, mut out) = flow(begin);
            let sent: Bytes = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
            flow.open(1, &mut out);
            flow.data(2, Sender::Opener, 0, sent.clone(), &mut out);
            flow.data(3, Sender::Answerer, 0, sent.slice(..70_000), &mut out);
            flow.finish(4, Sender::Opener, &mut out);
            flow.comment("closed: finished");
            flow.close(5, &mut out);
            let packets = packets(&mut out);
            assert!(packets.iter().all(|packet| packet.data.len() <= 65_535));
            assert_eq!((packets[0].comments[0].as_str(), packets.last().unwrap().at), (NAME, 5));
            let (seen, found) = seen(&packets);
            let all = |direction| {
                let bytes = seen.iter().filter_map(move |event| match event {
                    Seen::Bytes(of, _, bytes) if *of == direction => Some(bytes.clone()),
                    Seen::Missing(..) => panic!("nothing is missing"),
                    _ => None,
                });
                bytes.flatten().collect::<Bytes>()
            };
            assert!(all(Direction::ToUpstream) == sent && all(Direction::ToClient) == sent[..70_000]);
            let one = &found.all()[0];
            assert_eq!((one.ending, one.close_comment(), found.all().len()), (Ending::Finished, Some("finished"), 1));
            assert!(seen.ends_with(&[Seen::End(Direction::ToUpstream), Seen::End(Direction::ToClient), Seen::Closed]));
        }
    }

    #[test]
    fn what_was_missed_is_a_gap_with_a_comment_and_a_reset_is_the_last_packet() {
        let (mut flow, mut out) = flow(u32::MAX - 10);
        flow.open(1, &mut out);
        flow.data(2, Sender::Opener, 0, Bytes::from_static(b"one"), &mut out);
        flow.data(3, Sender::Opener, 1003, Bytes::from_static(b"two"), &mut out);
        flow.reset(4, Sender::Answerer, &mut out);
        flow.data(5, Sender::Opener, 1006, Bytes::from_static(b"late"), &mut out);
        flow.reset(5, Sender::Opener, &mut out);
        flow.close(6, &mut out);
        let packets = packets(&mut out);
        assert_eq!(packets[4].comments, ["1000 bytes before this were not captured"]);
        let (seen, found) = seen(&packets);
        let way = Direction::ToUpstream;
        let bytes = |place, bytes: &'static [u8]| Seen::Bytes(way, place, Bytes::from_static(bytes));
        let expected = [Seen::Opened, bytes(0, b"one"), bytes(1003, b"two"), Seen::Closed];
        assert_eq!(seen.iter().filter(|event| !matches!(event, Seen::Missing(..))).cloned().collect::<Vec<_>>(), expected);
        assert!(seen.contains(&Seen::Missing(way, 3, 1000)), "{seen:?}");
        assert_eq!(found.all()[0].ending, Ending::Reset(Direction::ToClient));
    }

    #[test]
    fn a_connection_goes_on_in_the_next_file_with_the_next_number() {
        let (mut flow, mut out) = flow(u32::MAX - 2);
        flow.open(1, &mut out);
        flow.data(2, Sender::Opener, 0, Bytes::from_static(b"first"), &mut out);
        let first = packets(&mut out);
        out.begin_file();
        flow.data(3, Sender::Opener, 5, Bytes::from_static(b"second"), &mut out);
        flow.close(4, &mut out);
        let second = packets(&mut out);
        assert_eq!(second[0].comments, ["connection 7, goes on from the file before"]);
        let (one, _) = seen(&second);
        assert_eq!(one[1], Seen::Bytes(Direction::ToUpstream, 0, Bytes::from_static(b"second")));
        let (both, _) = seen(&[first, second].concat());
        assert!(both.contains(&Seen::Bytes(Direction::ToUpstream, 5, Bytes::from_static(b"second"))), "{both:?}");
    }

    #[test]
    fn each_packet_is_cut_to_the_snap_length_and_its_bytes_are_missing() {
        let (mut flow, _) = flow(9);
        let mut out = Packets::new("interpose", 100);
        out.begin_file();
        flow.open(1, &mut out);
        flow.data(2, Sender::Opener, 0, vec![7; 1000].into(), &mut out);
        flow.data(2, Sender::Opener, 1000, Bytes::from_static(b"short"), &mut out);
        let packets = packets(&mut out);
        assert_eq!((packets[3].data.len(), packets[3].original), (100, 1040));
        let (seen, _) = seen(&packets);
        let way = Direction::ToUpstream;
        assert_eq!(
            seen[1..4],
            [
                Seen::Bytes(way, 0, vec![7; 60].into()),
                Seen::Missing(way, 60, 940),
                Seen::Bytes(way, 1000, Bytes::from_static(b"short"))
            ]
        );
    }
}
