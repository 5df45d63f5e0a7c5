//! What holds for every framer and every conversation. The fuzzer uses this file too.

use std::sync::Arc;

use bytes::Bytes;
use interpose::{
    inspect::framing::{
        ByteOrder, Cut, Delimited, Dns, Fixed, Framer, Framing, Http1, LengthField, LengthPrefixed, Lines, Modbus, Mqtt, Mysql,
        Postgres, Resp, TlsRecords, Varint,
    },
    words::direction::{
        Both,
        Direction::{self, ToUpstream},
    },
};

/// Stands between the turns of a conversation; the client has the first turn, which may be empty.
pub const TURN: &[u8] = b"<TURN>";

/// The framings that are tried, by the names of the folders of their samples.
pub const NAMES: [&str; 13] = [
    "delimited",
    "dns",
    "fixed",
    "http1",
    "length_prefixed",
    "lines",
    "modbus",
    "mqtt",
    "mysql",
    "postgres",
    "resp",
    "tls_records",
    "varint",
];

pub fn framing(name: &str) -> Arc<dyn Framing> {
    match name {
        "delimited" => Arc::new(Delimited::new(b"\r\n.\r\n").expect("a delimiter")),
        "dns" => Arc::new(Dns),
        "fixed" => Arc::new(Fixed::new(7).expect("a length")),
        "http1" => Arc::new(Http1),
        "length_prefixed" => Arc::new(LengthPrefixed::new(3, 1, ByteOrder::Little, 2).expect("a field")),
        "lines" => Arc::new(Lines),
        "modbus" => Arc::new(Modbus),
        "mqtt" => Arc::new(Mqtt),
        "mysql" => Arc::new(Mysql),
        "postgres" => Arc::new(Postgres),
        "resp" => Arc::new(Resp),
        "tls_records" => Arc::new(TlsRecords),
        "varint" => Arc::new(Varint),
        _ => panic!("no framing {name}; there are {}", NAMES.join(", ")),
    }
}

/// Panics unless a conversation has the same messages wherever its turns are split, its messages are its bytes, and a message
/// that a hook returns as it is keeps its length field.
pub fn check(framing: &dyn Framing, conversation: &[u8]) {
    let turns = turns(conversation);
    let whole = play(framing, &turns, || usize::MAX);
    let mut state = conversation.iter().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| mixed(state ^ u64::from(*byte)));
    let random = || {
        state = mixed(state);
        1 + (state >> 40) as usize % 24
    };
    assert_eq!(play(framing, &turns, random), whole, "split at random places");
    assert_eq!(play(framing, &turns, || 1), whole, "byte by byte");
    for direction in Direction::ALL {
        let sent: usize = turns.iter().filter(|turn| turn.0 == direction).map(|turn| turn.1.len()).sum();
        let cut = &whole[direction];
        assert_eq!(cut.lengths.iter().sum::<usize>() + cut.rest, sent, "each byte is in one place");
    }
}

fn mixed(state: u64) -> u64 {
    let state = state.wrapping_mul(0x0000_0100_0000_01b3);
    state ^ (state >> 29)
}

/// Returns the turns of a conversation, each with its direction.
pub fn turns(conversation: &[u8]) -> Vec<(Direction, &[u8])> {
    let (mut rest, mut turns, mut direction) = (conversation, Vec::new(), ToUpstream);
    while let Some(place) = rest.windows(TURN.len()).position(|window| window == TURN) {
        turns.push((direction, &rest[..place]));
        (rest, direction) = (&rest[place + TURN.len()..], direction.opposite());
    }
    turns.push((direction, rest));
    turns
}

/// The messages into which one direction was cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The lengths of the messages.
    pub lengths: Vec<usize>,
    /// The bytes behind the last message.
    pub rest: usize,
    pub unframed: bool,
    /// The index of the first wrong byte behind the last message, and what was expected there.
    pub broken: Option<(usize, String)>,
}

/// Plays a conversation, each turn in pieces of the sizes that `size` returns.
pub fn play(framing: &dyn Framing, turns: &[(Direction, &[u8])], mut size: impl FnMut() -> usize) -> Both<Parts> {
    let Both { to_upstream, to_client } = framing.framers();
    let mut sides = Both { to_upstream: Side::of(to_upstream), to_client: Side::of(to_client) };
    for (direction, bytes) in turns {
        let mut rest = *bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(size().min(rest.len()));
            sides[*direction].feed(piece);
            rest = behind;
        }
    }
    Both { to_upstream: sides.to_upstream.end(), to_client: sides.to_client.end() }
}

/// One direction, with the bytes that are not cut yet.
struct Side {
    framer: Box<dyn Framer>,
    field: Option<Arc<dyn LengthField>>,
    buffer: Vec<u8>,
    /// The index of the first byte that is not cut.
    start: usize,
    seen: usize,
    least: u64,
    parts: Parts,
}

impl Side {
    fn of(framer: Box<dyn Framer>) -> Self {
        let field = framer.length_field();
        Self { framer, field, buffer: Vec::new(), start: 0, seen: 0, least: 0, parts: Parts::default() }
    }

    fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while self.start < self.buffer.len() && !self.parts.unframed && self.parts.broken.is_none() {
            let buffer = &self.buffer[self.start..];
            match self.framer.cut(buffer, self.seen) {
                Ok(Cut::Message(length)) => {
                    assert!((1..=buffer.len()).contains(&length), "a message of {length} bytes in {}", buffer.len());
                    assert!(self.least <= length as u64, "a message of {length} bytes, at least {} before", self.least);
                    keeps_its_length(self.field.as_deref(), &buffer[..length]);
                    self.parts.lengths.push(length);
                    (self.start, self.seen, self.least) = (self.start + length, 0, 0);
                }
                Ok(Cut::More { least }) => {
                    assert!(least.is_none_or(|least| least > buffer.len() as u64), "{least:?} of {}", buffer.len());
                    self.least = self.least.max(least.unwrap_or(0));
                    self.seen = buffer.len();
                    return;
                }
                Ok(Cut::Unframed) => self.parts.unframed = true,
                Err(broken) => {
                    assert!(broken.offset < buffer.len(), "{broken:?} of {}", buffer.len());
                    self.parts.broken = Some((broken.offset, broken.expected.into_owned()));
                }
            }
        }
    }

    fn end(mut self) -> Parts {
        let rest = &self.buffer[self.start..];
        if !rest.is_empty() && !self.parts.unframed && self.parts.broken.is_none() && self.framer.ends_with_stream(rest) {
            self.parts.lengths.push(rest.len());
        } else {
            self.parts.rest = rest.len();
        }
        self.parts
    }
}

/// Panics unless `message`, returned by a hook as it is, goes out as it is.
fn keeps_its_length(field: Option<&dyn LengthField>, message: &[u8]) {
    let Some(field) = field else { return };
    let set = field.set(message, Bytes::copy_from_slice(message)).expect("a length that it has");
    assert!(set == message, "{:?} has become {set:?}", message.escape_ascii().to_string());
    // Whatever a hook returns, nothing panics.
    let _ = field.set(message, Bytes::copy_from_slice(&message[message.len() / 2..]));
}
