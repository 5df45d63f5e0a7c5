//! Plays framers by hand: feeds a stream that is split at each place, and compares the messages.

use proptest::{collection::vec, prelude::*, test_runner};

pub(crate) mod garbage;
pub(crate) mod work;

use super::{
    framer::{Broken, Cut, Framer},
    spec::Framing,
};
use crate::words::direction::{
    Both,
    Direction::{self, ToClient, ToUpstream},
};

/// A part of a stream, as a framer has cut it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Message(Vec<u8>),
    /// Bytes that are no whole message: the rest of a stream, or unframed ones. Neighbours are joined.
    Rest(Vec<u8>),
    /// The index in the stream of the first wrong byte, and what was expected there. Nothing is cut behind it.
    Broken(usize, String),
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(bytes) => write!(f, "message \"{}\"", bytes.escape_ascii()),
            Self::Rest(bytes) => write!(f, "rest \"{}\"", bytes.escape_ascii()),
            Self::Broken(at, expected) => write!(f, "at {at}: expected {expected}"),
        }
    }
}

/// Returns the parts of a stream that consists of whole messages.
pub(crate) fn messages<T: AsRef<[u8]>>(all: impl IntoIterator<Item = T>) -> Vec<Part> {
    all.into_iter().map(|bytes| Part::Message(bytes.as_ref().to_vec())).collect()
}

pub(crate) fn rest(bytes: impl AsRef<[u8]>) -> Part {
    Part::Rest(bytes.as_ref().to_vec())
}

pub(crate) fn broken(at: usize, expected: &str) -> Part {
    Part::Broken(at, expected.to_owned())
}

/// One direction: a framer, and the bytes that it has not cut yet.
#[derive(Debug)]
pub(crate) struct Player {
    framer: Box<dyn Framer>,
    buffer: Vec<u8>,
    seen: usize,
    /// The greatest lower bound of the length of the message that the buffer begins.
    least: u64,
    /// The index of the buffer's first byte in the stream.
    offset: usize,
    is_unframed: bool,
    is_broken: bool,
    parts: Vec<Part>,
}

impl Player {
    pub(crate) fn of(framer: Box<dyn Framer>) -> Self {
        Self { framer, buffer: Vec::new(), seen: 0, least: 0, offset: 0, is_unframed: false, is_broken: false, parts: Vec::new() }
    }

    /// Feeds bytes, and cuts as many messages as there are.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while !self.buffer.is_empty() && !self.is_broken && !self.is_unframed {
            match self.framer.cut(&self.buffer, self.seen) {
                Ok(Cut::Message(length)) => {
                    assert!((1..=self.buffer.len()).contains(&length), "{length} of {} bytes", self.buffer.len());
                    assert!(self.least <= length as u64, "{length} bytes, but at least {} before", self.least);
                    let behind = self.buffer.split_off(length);
                    self.parts.push(Part::Message(std::mem::replace(&mut self.buffer, behind)));
                    (self.seen, self.least, self.offset) = (0, 0, self.offset + length);
                }
                Ok(Cut::More { least }) => {
                    let length = self.buffer.len();
                    assert!(least.is_none_or(|least| least > length as u64), "has {length} bytes, asks for {least:?}");
                    (self.seen, self.least) = (length, self.least.max(least.unwrap_or(0)));
                    return;
                }
                Ok(Cut::Unframed) => self.is_unframed = true,
                Err(broken) => {
                    self.is_broken = true;
                    self.parts.push(Part::Broken(self.offset + broken.offset, broken.expected.into_owned()));
                }
            }
        }
        if self.is_unframed {
            self.put_rest();
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self) {
        if self.is_broken || self.buffer.is_empty() {
            return;
        }
        if self.framer.ends_with_stream(&self.buffer) {
            self.parts.push(Part::Message(std::mem::take(&mut self.buffer)));
        } else {
            self.put_rest();
        }
    }

    fn put_rest(&mut self) {
        let bytes = std::mem::take(&mut self.buffer);
        match self.parts.last_mut() {
            _ if bytes.is_empty() => {}
            Some(Part::Rest(before)) => before.extend(bytes),
            _ => self.parts.push(Part::Rest(bytes)),
        }
    }
}

/// Feeds the turns of a conversation one after another, each split behind those of the `places` that it has. Then ends both
/// directions.
fn parts_of_turns(framing: &dyn Framing, turns: &[(Direction, &[u8])], places: &[usize]) -> Both<Vec<Part>> {
    let Both { to_upstream, to_client } = framing.framers();
    let mut players = Both { to_upstream: Player::of(to_upstream), to_client: Player::of(to_client) };
    for (direction, bytes) in turns {
        let mut start = 0;
        for place in places.iter().copied().filter(|place| *place < bytes.len()).chain([bytes.len()]) {
            players[*direction].feed(&bytes[start..place]);
            start = place;
        }
    }
    [ToUpstream, ToClient].into_iter().for_each(|direction| players[direction].finish());
    Both { to_upstream: players.to_upstream.parts, to_client: players.to_client.parts }
}

/// Expects these parts of a client's stream, wherever it is split.
#[track_caller]
pub(crate) fn every_split(framing: &dyn Framing, stream: &[u8], expected: &[Part]) {
    every_split_in(framing, ToUpstream, stream, expected);
}

/// Expects these parts of the stream of one direction, wherever it is split.
#[track_caller]
pub(crate) fn every_split_in(framing: &dyn Framing, direction: Direction, stream: &[u8], expected: &[Part]) {
    let mut of_both = Both::default();
    of_both[direction] = expected.to_vec();
    every_split_of_turns(framing, &[(direction, stream)], &of_both);
}

/// Expects these parts of a conversation: the turns come one after another, each whole, byte by byte, split at each single
/// place, and split at random places.
#[track_caller]
pub(crate) fn every_split_of_turns(framing: &dyn Framing, turns: &[(Direction, &[u8])], expected: &Both<Vec<Part>>) {
    let longest = turns.iter().map(|turn| turn.1.len()).max().unwrap_or(0);
    let ways = std::iter::once(Vec::new()).chain([(1..longest).collect()]).chain((1..longest).map(|place| vec![place]));
    for places in ways {
        assert_eq!(&parts_of_turns(framing, turns, &places), expected, "split behind {places:?}");
    }
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let random_numbers = test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = test_runner::TestRunner::new_with_rng(config, random_numbers);
    let tried = runner.run(&vec(1..longest.max(2), 0..12), |mut places| {
        places.sort_unstable();
        places.dedup();
        prop_assert_eq!(&parts_of_turns(framing, turns, &places), expected, "split behind {:?}", places);
        Ok(())
    });
    assert!(tried.is_ok(), "{}", tried.err().map(|error| error.to_string()).unwrap_or_default());
}

/// Messages of a byte that says their length, and as many bytes. 255 is no length, 254 ends the framing, and the end of the
/// stream completes a message of 253.
#[derive(Debug)]
pub(crate) struct Counted;

#[derive(Debug)]
struct CountedFramer;

impl Framing for Counted {
    fn protocol(&self) -> &'static str {
        "counted"
    }

    fn framers(&self) -> Both<Box<dyn Framer>> {
        Both { to_upstream: Box::new(CountedFramer), to_client: Box::new(CountedFramer) }
    }
}

impl Framer for CountedFramer {
    fn protocol(&self) -> &'static str {
        "counted"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        match buffer[0] {
            255 => Err(Broken::at(0, "a length below 255")),
            254 => Ok(Cut::Unframed),
            253 => Ok(Cut::MORE),
            length => Ok(Cut::whole(u64::from(length) + 1, buffer.len())),
        }
    }

    fn ends_with_stream(&mut self, buffer: &[u8]) -> bool {
        buffer[0] == 253
    }
}

mod tests {
    use super::*;

    #[test]
    fn a_stream_has_the_same_messages_wherever_it_is_split() {
        let whole = [&b"\x03abc"[..], b"\0", b"\x01x"];
        every_split(&Counted, &whole.concat(), &messages(whole));
        let with = |last: Part| [messages([b"\x01x"]), vec![last]].concat();
        every_split(&Counted, b"\x01x\x05four", &with(rest(b"\x05four")));
        every_split(&Counted, b"\x01x\xfemore", &with(rest(b"\xfemore")));
        every_split(&Counted, b"\x01x\xff\x01y", &with(broken(2, "a length below 255")));
        every_split_in(&Counted, ToClient, b"\x01x\xfdto the end", &messages([&b"\x01x"[..], b"\xfdto the end"]));
    }

    /// Forgets the bytes that it has seen before.
    #[derive(Debug)]
    struct Forgetful;

    impl Framing for Forgetful {
        fn protocol(&self) -> &'static str {
            "forgetful"
        }

        fn framers(&self) -> Both<Box<dyn Framer>> {
            Both { to_upstream: Box::new(Self), to_client: Box::new(Self) }
        }
    }

    impl Framer for Forgetful {
        fn protocol(&self) -> &'static str {
            "forgetful"
        }

        fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
            let found = buffer[seen..].windows(2).position(|pair| pair == b"\r\n");
            Ok(found.map_or(Cut::MORE, |at| Cut::Message(seen + at + 2)))
        }
    }

    #[test]
    #[should_panic(expected = "split behind")]
    fn a_framer_that_loses_a_delimiter_between_two_reads_is_found() {
        every_split(&Forgetful, b"ab\r\ncd\r\n", &messages([b"ab\r\n", b"cd\r\n"]));
    }
}
