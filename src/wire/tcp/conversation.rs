//! The connections of a file of packets: who they are between, and their bytes in order.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    link,
    order::{Order, Part, Piece},
    segment::{self, Captured},
};
use crate::{
    wire::capture::record::{Interface, Packet},
    words::direction::{Both, Direction},
};

/// Maximum bytes that wait, in all connections, for missing ones before them.
const MOST_HELD: usize = 64 * 1024 * 1024;

/// Maximum number of comments of a connection that are kept.
const MOST_COMMENTS: usize = 32;

/// The end of a connection, as its packets have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The file ends before the connection.
    Open,
    /// Both directions ended in order.
    Finished,
    /// The side that sends in this direction has reset it.
    Reset(Direction),
}

/// A connection.
#[derive(Debug)]
pub struct Conversation {
    /// Its number in the file, from 1 on, in the order of the first packets.
    pub number: u64,
    /// The side that has connected, as far as that is known: the side with the higher port if the file begins later.
    pub client: SocketAddr,
    /// The other side.
    pub server: SocketAddr,
    /// The interface of its first packet.
    pub interface: Arc<Interface>,
    /// The time of its first packet, in nanoseconds since 1970.
    pub began: u64,
    /// The time of its last packet.
    pub last: u64,
    /// Bytes that the file has.
    pub bytes: Both<u64>,
    /// Bytes that it does not have, as far as that is known.
    pub missing: Both<u64>,
    /// Its end.
    pub ending: Ending,
    /// Comments of its packets.
    pub comments: Vec<String>,
    orders: Both<Order>,
    /// The acknowledgement of each direction's end was seen.
    acknowledged: Both<bool>,
    is_closed: bool,
}

/// An event of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Its first packet.
    Opened,
    /// Bytes, and their place in the stream of their direction.
    Bytes(Direction, u64, Bytes),
    /// Bytes that the file does not have, by their place and number.
    Missing(Direction, u64, u64),
    /// The end of a direction, in order.
    End(Direction),
    /// The end of the connection, or of the file.
    Closed,
}

/// The connections of a file.
#[derive(Debug, Default)]
pub struct Conversations {
    all: Vec<Conversation>,
    by_ends: HashMap<(SocketAddr, SocketAddr), usize>,
    held: usize,
    parts: Vec<Part>,
    /// Number of packets that were read.
    packets: u64,
    /// Number of packets that are no TCP segments, or only a part of one.
    others: u64,
    /// Number of packets of links that are not known.
    unknown: BTreeMap<u16, u64>,
}

impl Conversations {
    /// Takes the next packet. Calls `watch` with each event that it brings, and its time.
    pub fn packet(&mut self, packet: &Packet, watch: &mut dyn FnMut(&Conversation, u64, Seen)) {
        self.packets += 1;
        let link = packet.interface.link;
        if !link::is_known(link) {
            *self.unknown.entry(link).or_default() += 1;
            return;
        }
        let Some(segment) = segment_of(packet) else {
            self.others += 1;
            return;
        };
        let index = self.find(packet, &segment, watch);
        let found = &mut self.all[index];
        found.last = packet.at;
        if found.comments.len() + packet.comments.len() <= MOST_COMMENTS {
            found.comments.extend_from_slice(&packet.comments);
        }
        let direction = if segment.from == found.client { Direction::ToUpstream } else { Direction::ToClient };
        let before = held(found);
        found.take(direction, &segment, &mut self.parts, watch);
        self.held = self.held + held(&self.all[index]) - before;
        if self.held > MOST_HELD {
            let found = &mut self.all[index];
            let before = held(found);
            found.give_up(&mut self.parts, watch);
            self.held = self.held + held(found) - before;
        }
    }

    /// Ends all connections that are open, because the file ends.
    pub fn finish(&mut self, watch: &mut dyn FnMut(&Conversation, u64, Seen)) {
        for found in &mut self.all {
            found.close(&mut self.parts, watch);
        }
    }

    /// Returns the connections, by their numbers.
    pub fn all(&self) -> &[Conversation] {
        &self.all
    }

    /// Returns the number of packets that were read.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Returns the number of packets that are no TCP segments, or only a part of one.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Returns the number of packets of each link that is not known.
    pub fn unknown(&self) -> impl Iterator<Item = (u16, u64)> {
        self.unknown.iter().map(|(link, packets)| (*link, *packets))
    }

    /// Returns the index of the connection of `segment`, which may be a new one.
    fn find(&mut self, packet: &Packet, segment: &Captured, watch: &mut dyn FnMut(&Conversation, u64, Seen)) -> usize {
        let (from, to) = (segment.from, segment.to);
        let ends = (from.min(to), from.max(to));
        if let Some(index) = self.by_ends.get(&ends) {
            let found = &mut self.all[*index];
            let begins_another = segment.is_first && segment.acknowledged.is_none() && !found.may_begin_with(segment);
            if !begins_another {
                return *index;
            }
            found.close(&mut self.parts, watch);
        }
        let is_from_server = match (segment.is_first, segment.acknowledged) {
            (true, acknowledged) => acknowledged.is_some(),
            (false, _) => from.port() < to.port(),
        };
        let (client, server) = if is_from_server { (to, from) } else { (from, to) };
        let index = self.all.len();
        self.all.push(Conversation {
            number: index as u64 + 1,
            client,
            server,
            interface: Arc::clone(&packet.interface),
            began: packet.at,
            last: packet.at,
            bytes: Both::default(),
            missing: Both::default(),
            ending: Ending::Open,
            comments: Vec::new(),
            orders: Both::default(),
            acknowledged: Both::default(),
            is_closed: false,
        });
        self.by_ends.insert(ends, index);
        watch(&self.all[index], packet.at, Seen::Opened);
        index
    }
}

fn held(conversation: &Conversation) -> usize {
    Direction::ALL.iter().map(|direction| conversation.orders[*direction].held()).sum()
}

fn segment_of(packet: &Packet) -> Option<Captured> {
    let ip = link::ip_packet(packet.interface.link, &packet.data)?;
    let header = packet.data.len() - ip.len();
    let original = (packet.original as usize).saturating_sub(header);
    segment::segment(&packet.data.slice(header..), original)
}

impl Conversation {
    /// Returns the texts that interpose wrote about the connection's end, without their mark.
    pub fn close_comment(&self) -> Option<&str> {
        self.comments.iter().rev().find_map(|text| text.strip_prefix("closed: "))
    }

    fn may_begin_with(&self, segment: &Captured) -> bool {
        !self.is_closed && segment.from == self.client && self.orders.to_upstream.may_begin_at(segment.sequence)
    }

    fn take(&mut self, direction: Direction, segment: &Captured, parts: &mut Vec<Part>, watch: &mut dyn FnMut(&Self, u64, Seen)) {
        if self.is_closed {
            return;
        }
        let order = &mut self.orders[direction];
        let mut sequence = segment.sequence;
        if segment.is_first {
            order.begin(sequence);
            sequence = sequence.wrapping_add(1);
        }
        let piece = Piece { sequence, bytes: segment.payload.clone(), lost: segment.lost, is_last: segment.is_last };
        order.take(&piece, parts);
        self.report(direction, parts, watch);
        if let Some(acknowledged) = segment.acknowledged {
            let opposite = direction.opposite();
            self.orders[opposite].acknowledge(acknowledged, parts);
            self.report(opposite, parts, watch);
            self.acknowledged[opposite] |= self.orders[opposite].end_is_acknowledged(acknowledged);
        }
        if segment.is_reset {
            self.ending = Ending::Reset(direction);
            self.close(parts, watch);
        } else if self.acknowledged.to_client && self.acknowledged.to_upstream {
            self.ending = Ending::Finished;
            self.close(parts, watch);
        }
    }

    fn report(&mut self, direction: Direction, parts: &mut Vec<Part>, watch: &mut dyn FnMut(&Self, u64, Seen)) {
        for part in parts.drain(..) {
            let place = self.bytes[direction] + self.missing[direction];
            let seen = match part {
                Part::Bytes(bytes) => {
                    self.bytes[direction] += bytes.len() as u64;
                    Seen::Bytes(direction, place, bytes)
                }
                Part::Missing(bytes) => {
                    self.missing[direction] += bytes;
                    Seen::Missing(direction, place, bytes)
                }
                Part::End => Seen::End(direction),
            };
            watch(self, self.last, seen);
        }
    }

    fn give_up(&mut self, parts: &mut Vec<Part>, watch: &mut dyn FnMut(&Self, u64, Seen)) {
        for direction in Direction::ALL {
            self.orders[direction].finish(parts);
            self.report(direction, parts, watch);
        }
    }

    fn close(&mut self, parts: &mut Vec<Part>, watch: &mut dyn FnMut(&Self, u64, Seen)) {
        if self.is_closed {
            return;
        }
        self.give_up(parts, watch);
        self.is_closed = true;
        if self.ending == Ending::Open && Direction::ALL.iter().all(|direction| self.orders[*direction].has_ended()) {
            self.ending = Ending::Finished;
        }
        watch(self, self.last, Seen::Closed);
    }
}
