//! Events of chunks made events of messages, on the thread of a tap: the connections do not wait for it.

use std::{
    collections::BTreeMap,
    io, mem,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};

use crate::{
    inspect::framing::{Cut, Framer, Framing, FramingPair, framer::Broken},
    taps::{
        event::{ConnectionKey, Event, EventKind, Place},
        writer::Sink,
    },
    words::{
        direction::{Both, Direction},
        log_target,
    },
};

/// Maximum bytes of an incomplete message. A direction with a longer one, and one that breaks the protocol, is shown in
/// chunks from there on.
const MOST: usize = 16 * 1024 * 1024;

/// Maximum bytes of all incomplete messages of one tap.
const MOST_OF_ALL: usize = 64 * 1024 * 1024;

/// Maximum number of connections that are cut into messages. The ends of some may have found no room in the queue: beyond it
/// the oldest are shown in chunks.
const MOST_CONNECTIONS: usize = 65_536;

/// Hands a sink whole messages.
#[derive(Debug)]
pub struct Messages<S> {
    sink: S,
    pair: FramingPair,
    connections: BTreeMap<ConnectionKey, Both<Option<Cutter>>>,
    /// Bytes of all incomplete messages.
    kept: usize,
    /// The time of the last event.
    last: SystemTime,
    /// The directions that are shown. The framer of one may have to see the other one as well.
    shown: Both<bool>,
    /// True once it was said that a stream is not of the framing's protocol.
    is_told: bool,
}

/// A framer and the bytes before the next end of a message.
#[derive(Debug)]
struct Cutter {
    framer: Box<dyn Framer>,
    buffer: BytesMut,
    /// The bytes of the buffer that the framer has seen.
    seen: usize,
    /// The place of the buffer in the stream.
    offset: u64,
    /// The time of its last bytes.
    at: SystemTime,
    /// The end of a sentence about bytes that are none of the protocol.
    wrong: Option<String>,
}

impl Cutter {
    fn new(framer: Box<dyn Framer>) -> Self {
        Self { framer, buffer: BytesMut::new(), seen: 0, offset: 0, at: SystemTime::UNIX_EPOCH, wrong: None }
    }

    /// Takes the next message, or all bytes where no message begins. The flag is false in the second case.
    fn next(&mut self) -> Option<(u64, Bytes, bool)> {
        if self.buffer.is_empty() || self.seen == self.buffer.len() {
            return None;
        }
        let (length, is_framed) = match self.framer.cut(&self.buffer, self.seen) {
            Ok(Cut::Message(length)) => (length, true),
            Ok(Cut::More { least }) if least.is_none_or(|least| least <= MOST as u64) && self.buffer.len() < MOST => {
                self.seen = self.buffer.len();
                return None;
            }
            Ok(Cut::Unframed) => (self.buffer.len(), false),
            wrong => {
                let (at, expected) = match wrong {
                    Err(Broken { offset, expected, .. }) => (offset, expected),
                    _ => (0, format!("a message of {MOST} bytes at most").into()),
                };
                self.wrong = Some(format!("byte {}: expected {expected}", self.offset + at as u64));
                (self.buffer.len(), false)
            }
        };
        let offset = self.offset;
        (self.seen, self.offset) = (0, offset + length as u64);
        Some((offset, self.buffer.split_to(length).freeze(), is_framed))
    }

    /// Takes what is left.
    fn rest(&mut self) -> Option<(u64, Bytes)> {
        self.seen = 0;
        let (offset, rest) = (self.offset, self.buffer.split().freeze());
        self.offset += rest.len() as u64;
        (!rest.is_empty()).then_some((offset, rest))
    }
}

impl<S: Sink> Messages<S> {
    /// Returns a sink that hands on the messages of `framing`. Each connection has a state of its own.
    pub fn new(sink: S, framing: Arc<dyn Framing>) -> Self {
        let pair = FramingPair::both(framing);
        let shown = Both { to_upstream: true, to_client: true };
        Self { sink, pair, connections: BTreeMap::new(), kept: 0, last: SystemTime::UNIX_EPOCH, shown, is_told: false }
    }

    /// Shows nothing but these directions.
    #[must_use]
    pub fn only(mut self, shown: Both<bool>) -> Self {
        self.shown = shown;
        self
    }

    fn show(&mut self, direction: Direction, event: &Event) -> io::Result<()> {
        if self.shown[direction] { self.sink.event(event) } else { Ok(()) }
    }

    fn data(&mut self, event: &Event, direction: Direction, bytes: &Bytes) -> io::Result<()> {
        let too_much = self.kept + bytes.len() > MOST_OF_ALL;
        let cutter = self.connections.get_mut(&event.connection).and_then(|both| both[direction].as_mut());
        let Some(cutter) = cutter else { return self.show(direction, event) };
        self.kept = self.kept.saturating_sub(cutter.buffer.len());
        cutter.buffer.extend_from_slice(bytes);
        cutter.at = event.at;
        let mut is_framed = !too_much;
        while is_framed && let Some((offset, message, framed)) = cutter.next() {
            is_framed = framed;
            if self.shown[direction] {
                self.sink.event(&shown(event, direction, offset, message))?;
            }
        }
        self.kept += cutter.buffer.len();
        if is_framed { Ok(()) } else { self.unframe(event, direction) }
    }

    /// Shows what is left of a direction, and chunks from there on.
    fn unframe(&mut self, event: &Event, direction: Direction) -> io::Result<()> {
        let Some(mut cutter) = self.connections.get_mut(&event.connection).and_then(|both| both[direction].take()) else {
            return Ok(());
        };
        self.kept = self.kept.saturating_sub(cutter.buffer.len());
        if let Some(wrong) = cutter.wrong.take()
            && !mem::replace(&mut self.is_told, true)
        {
            let (number, protocol, word) = (event.connection.number, cutter.framer.protocol(), direction.word());
            log::warn!(
                target: log_target::TAP,
                "{number}: {protocol} {word}, {wrong}; what is no {protocol} is shown in chunks, and not told of again"
            );
        }
        match cutter.rest() {
            // They came before the event behind which nothing more is waited for.
            Some((offset, rest)) => {
                let event = Event { at: cutter.at, ..event.clone() };
                self.show(direction, &shown(&event, direction, offset, rest))
            }
            None => Ok(()),
        }
    }

    /// Shows what is left of the connection of an event, and chunks from there on.
    fn forget(&mut self, event: &Event) -> io::Result<()> {
        self.unframe(event, Direction::ToUpstream)?;
        self.unframe(event, Direction::ToClient)?;
        self.connections.remove(&event.connection);
        Ok(())
    }
}

fn shown(event: &Event, direction: Direction, offset: u64, bytes: Bytes) -> Event {
    let kind = EventKind::Data { direction, place: Place::In, offset, bytes };
    Event { connection: event.connection, at: event.at, kind }
}

impl<S: Sink> Sink for Messages<S> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.last = event.at;
        match &event.kind {
            EventKind::Opened { .. } => {
                let Both { to_upstream, to_client } = self.pair.framers();
                let cutters = Both { to_upstream: to_upstream.map(Cutter::new), to_client: to_client.map(Cutter::new) };
                self.connections.insert(event.connection, cutters);
                if self.connections.len() > MOST_CONNECTIONS
                    && let Some(connection) = self.connections.keys().next().copied()
                {
                    self.forget(&Event { connection, ..event.clone() })?;
                }
            }
            EventKind::Data { direction, place: Place::In, bytes, .. } => return self.data(event, *direction, bytes),
            EventKind::End { direction, .. } => {
                self.unframe(event, *direction)?;
                return self.show(*direction, event);
            }
            // Behind a gap it is not known where a message begins.
            EventKind::Missed { .. } | EventKind::Closed { .. } => self.forget(event)?,
            EventKind::Data { .. } | EventKind::Connected { .. } | EventKind::Struck { .. } => {}
        }
        self.sink.event(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        while let Some(connection) = self.connections.keys().next().copied() {
            self.forget(&Event { connection, at: self.last, kind: EventKind::Missed { events: 0, bytes: 0 } })?;
        }
        self.sink.finish()
    }

    fn wake_at(&self) -> Option<Instant> {
        self.sink.wake_at()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;
    use crate::{
        inspect::framing::{fixed::Fixed, lines::Lines, postgres::Postgres},
        words::addr::SocketName,
    };

    /// Sends what is shown: the place and the bytes, or the word of another event.
    struct Shows(SyncSender<String>);

    impl Sink for Shows {
        fn event(&mut self, event: &Event) -> io::Result<()> {
            let text = match &event.kind {
                EventKind::Data { offset, bytes, .. } => format!("{offset} {}", bytes.escape_ascii()),
                EventKind::Opened { .. } => "open".to_owned(),
                EventKind::End { .. } => "end".to_owned(),
                EventKind::Missed { .. } => "missed".to_owned(),
                other => format!("{other:?}"),
            };
            self.0.send(text).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }

    fn shown_of(framing: Arc<dyn Framing>, kinds: impl IntoIterator<Item = EventKind>) -> (Vec<String>, usize) {
        let (sender, receiver) = sync_channel(100);
        let mut messages = Messages::new(Shows(sender), framing);
        let name = || SocketName::Unix(String::new());
        messages
            .event(&Event::now(ConnectionKey::of(1), EventKind::Opened { client: name(), local: name(), changes: false }))
            .expect("it is shown");
        for kind in kinds {
            messages.event(&Event::now(ConnectionKey::of(1), kind)).expect("it is shown");
        }
        let kept = messages.kept;
        drop(messages);
        (receiver.iter().skip(1).collect(), kept)
    }

    fn data(bytes: &'static [u8]) -> EventKind {
        let (direction, place) = (Direction::ToClient, Place::In);
        EventKind::Data { direction, place, offset: 99, bytes: Bytes::from_static(bytes) }
    }

    fn end() -> EventKind {
        EventKind::End { direction: Direction::ToClient, place: Place::In, offset: 0 }
    }

    /// A direction that is not shown is read all the same: PostgreSQL's answers depend on how its client began.
    #[test]
    fn one_direction_is_shown_with_the_framing_of_both() {
        let (sender, receiver) = sync_channel(100);
        let shown = Both { to_upstream: false, to_client: true };
        let mut messages = Messages::new(Shows(sender), Arc::new(Postgres)).only(shown);
        let name = || SocketName::Unix(String::new());
        let of_client = |bytes: &'static [u8]| EventKind::Data {
            direction: Direction::ToUpstream,
            place: Place::In,
            offset: 0,
            bytes: Bytes::from_static(bytes),
        };
        let end = EventKind::End { direction: Direction::ToUpstream, place: Place::In, offset: 0 };
        let startup = of_client(b"\0\0\0\x08\0\x03\0\0");
        for kind in [
            EventKind::Opened { client: name(), local: name(), changes: false },
            startup,
            data(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"),
            end,
        ] {
            messages.event(&Event::now(ConnectionKey::of(1), kind)).expect("it is shown");
        }
        drop(messages);
        let shown: Vec<_> = receiver.iter().collect();
        assert_eq!(shown, ["open", r"0 R\x00\x00\x00\x08\x00\x00\x00\x00", r"9 Z\x00\x00\x00\x05I"]);
    }

    /// A capture ends where it was cut off, be it within a message.
    #[test]
    fn what_is_left_is_shown_at_the_finish() {
        let (sender, receiver) = sync_channel(100);
        let mut messages = Messages::new(Shows(sender), Arc::new(Lines));
        let name = || SocketName::Unix(String::new());
        for kind in [EventKind::Opened { client: name(), local: name(), changes: false }, data(b"whole\nhalf")] {
            messages.event(&Event::now(ConnectionKey::of(1), kind)).expect("it is shown");
        }
        messages.finish().expect("it is shown");
        assert!(messages.connections.is_empty());
        drop(messages);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["open", "0 whole\\n", "6 half"]);
    }

    #[test]
    fn messages_are_shown_whole_with_their_places_and_the_rest_at_the_end() {
        let (shown, kept) = shown_of(Arc::new(Lines), [data(b"one\ntw"), data(b"o\n\nre"), end()]);
        assert_eq!((shown, kept), (["0 one\\n", "4 two\\n", "8 \\n", "9 re", "end"].map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn connections_of_two_servers_with_one_number_have_messages_of_their_own() {
        let (sender, receiver) = sync_channel(100);
        let mut messages = Messages::new(Shows(sender), Arc::new(Lines));
        let name = || SocketName::Unix(String::new());
        let opened = || EventKind::Opened { client: name(), local: name(), changes: false };
        for (server, kind) in
            [(1, opened()), (2, opened()), (1, data(b"on")), (2, data(b"tw")), (1, data(b"e\n")), (2, data(b"o\n"))]
        {
            messages.event(&Event::now(ConnectionKey { number: 1, server }, kind)).expect("it is shown");
        }
        drop(messages);
        assert_eq!(receiver.iter().skip(2).collect::<Vec<_>>(), ["0 one\\n", "0 two\\n"]);
    }

    #[test]
    fn of_too_many_connections_the_oldest_is_shown_in_chunks() {
        let most = MOST_CONNECTIONS as u64;
        let (sender, receiver) = sync_channel(2 * MOST_CONNECTIONS);
        let mut messages = Messages::new(Shows(sender), Arc::new(Lines));
        let mut put = |number, kind| messages.event(&Event::now(ConnectionKey::of(number), kind)).expect("it is shown");
        for number in 1..=most + 1 {
            let name = || SocketName::Unix(String::new());
            put(number, EventKind::Opened { client: name(), local: name(), changes: false });
            if number <= 2 {
                put(number, data(b"on"));
            }
        }
        [1, 2].into_iter().for_each(|number| put(number, data(b"e\ntwo")));
        assert_eq!((messages.kept, messages.connections.len()), (3, MOST_CONNECTIONS));
        drop(messages);
        let shown: Vec<_> = receiver.iter().filter(|text| text != "open").collect();
        assert_eq!(shown, ["0 on", "99 e\\ntwo", "0 one\\n"]);
    }

    #[test]
    fn behind_a_gap_chunks_are_shown() {
        let missed = EventKind::Missed { events: 1, bytes: 3 };
        let (shown, kept) = shown_of(Arc::new(Lines), [data(b"on"), missed, data(b"x\ny"), end()]);
        assert_eq!((shown, kept), (["0 on", "missed", "99 x\\ny", "end"].map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn a_message_that_is_too_long_is_not_waited_for() {
        let fixed = Fixed::new(MOST as u64 + 1).expect("it is a length");
        let (shown, kept) = shown_of(Arc::new(fixed), [data(b"ab"), data(b"cd")]);
        assert_eq!((shown, kept), (["0 ab", "99 cd"].map(str::to_owned).to_vec(), 0));
    }
}
