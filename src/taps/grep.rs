//! Connections in which something matches, and no others.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use crate::{
    matching::matcher::Matcher,
    taps::{
        event::{ConnectionKey, Event, EventKind, Place},
        queue::Missed,
        witness::Witness,
        writer::Sink,
    },
    words::direction::Both,
};

/// Default of the maximum bytes that are kept of a connection before something has matched.
pub const KEPT: usize = 64 * 1024;

/// Maximum bytes that are kept of all connections together.
const KEPT_OF_ALL: usize = 32 * 1024 * 1024;

/// Maximum number of connections of which something is known. The ends of some may have found no room in the queue.
const MOST_CONNECTIONS: usize = 65_536;

/// A tap that looks at the connections that are shown.
#[derive(Debug, Clone)]
pub struct Target {
    pub witness: Arc<dyn Witness>,
    pub directions: Both<bool>,
    pub places: Vec<Place>,
}

impl Target {
    fn put(&self, event: &Event) {
        let wants = match &event.kind {
            EventKind::Data { direction, place, .. } | EventKind::End { direction, place, .. } => {
                self.directions[*direction] && self.places.contains(place)
            }
            _ => true,
        };
        if wants {
            self.witness.put(event.clone());
        }
    }
}

/// Hands on the events of connections in which one of its matchers matches, from their beginning on.
#[derive(Debug)]
pub struct Grep {
    matchers: Vec<Matcher>,
    /// The directions in which it looks for a match.
    directions: Both<bool>,
    /// Maximum bytes that are kept of a connection.
    most: usize,
    targets: Vec<Target>,
    connections: BTreeMap<ConnectionKey, Watched>,
    /// Bytes that are kept of all connections.
    kept: usize,
}

#[derive(Debug)]
enum Watched {
    Shown,
    Waiting(Waiting),
}

/// A connection in which nothing has matched yet.
#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: usize,
    /// Events that are not kept any more.
    missed: Missed,
    /// Those of each matcher.
    tails: Vec<Both<Tail>>,
}

/// The end of the bytes of a direction that a match may begin in.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    /// The index of the first byte in which a match may begin: others are there for assertions.
    from: usize,
}

impl Grep {
    /// Returns the sink that shows `targets` the connections in which one of `matchers` matches.
    pub fn new(matchers: Vec<Matcher>, directions: Both<bool>, most: usize, targets: Vec<Target>) -> Self {
        Self { matchers, directions, most, targets, connections: BTreeMap::new(), kept: 0 }
    }

    /// Returns true if the event completes a match.
    fn matches(&self, tails: &mut Vec<Both<Tail>>, event: &Event) -> bool {
        tails.resize_with(self.matchers.len(), Both::default);
        let mut pairs = self.matchers.iter().zip(tails.iter_mut());
        match &event.kind {
            EventKind::Data { direction, place: Place::In, bytes, .. } if self.directions[*direction] => {
                pairs.any(|(matcher, tails)| tails[*direction].take(matcher, bytes))
            }
            EventKind::End { direction, place: Place::In, .. } if self.directions[*direction] => pairs.any(|(matcher, tails)| {
                let Tail { bytes, from } = &tails[*direction];
                matcher.find(bytes, *from).is_some()
            }),
            EventKind::Missed { .. } => {
                tails.clear();
                false
            }
            _ => false,
        }
    }

    fn show(&mut self, Waiting { events, bytes, missed, .. }: Waiting) {
        self.kept -= bytes;
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next_if(|event| event.bytes() == 0) {
            self.put(&event);
        }
        if missed.events > 0
            && let Some(event) = events.peek()
        {
            let kind = EventKind::Missed { events: missed.events, bytes: missed.bytes };
            let event = Event { connection: event.connection, at: event.at, kind };
            self.put(&event);
        }
        events.for_each(|event| self.put(&event));
    }

    fn put(&self, event: &Event) {
        self.targets.iter().for_each(|target| target.put(event));
    }

    fn forget(&mut self, connection: ConnectionKey) {
        if let Some(Watched::Waiting(waiting)) = self.connections.remove(&connection) {
            self.kept -= waiting.bytes;
        }
    }
}

/// Returns how much an event counts for the bounds: its bytes, at least one; nothing for names.
fn weight(event: &Event) -> usize {
    match event.kind {
        EventKind::Opened { .. } | EventKind::Connected { .. } => 0,
        _ => event.bytes().max(1),
    }
}

impl Waiting {
    /// Keeps an event, and the others as far as there is room. Returns the change of the bytes that are kept.
    fn keep(&mut self, event: &Event, room: usize) -> isize {
        let before = self.bytes;
        self.bytes += weight(event);
        self.events.push_back(event.clone());
        // Names, of which there are few, are kept; the first of the others go first. Without bytes an event weighs one, so
        // that ends and gaps are bounded as well.
        while self.bytes > room {
            let Some(at) = self.events.iter().position(|event| weight(event) > 0) else { break };
            if let Some(event) = self.events.remove(at) {
                self.bytes -= weight(&event);
                match event.kind {
                    EventKind::Missed { events, bytes } => {
                        self.missed.events += events;
                        self.missed.bytes += bytes;
                    }
                    _ => {
                        self.missed.events += 1;
                        self.missed.bytes += event.bytes() as u64;
                    }
                }
            }
        }
        self.bytes as isize - before as isize
    }
}

impl Tail {
    /// Takes the next bytes. Returns true if there is a match that those behind them cannot undo.
    fn take(&mut self, matcher: &Matcher, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        let undecided = matcher.undecided(&self.bytes, self.from).last().copied().unwrap_or(self.bytes.len());
        if let Some(found) = matcher.find(&self.bytes, self.from)
            && (!matcher.looks_behind() || found.range.start < undecided || matcher.is_final(&self.bytes, &found))
        {
            return true;
        }
        let undecided = undecided.max(self.bytes.len().saturating_sub(matcher.window()));
        let first = undecided - usize::from(matcher.looks_behind() && undecided > 0);
        self.bytes.drain(..first);
        self.from = undecided - first;
        false
    }
}

impl Sink for Grep {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let (connection, is_end) = (event.connection, matches!(event.kind, EventKind::Closed { .. }));
        let watched = self.connections.remove(&connection).unwrap_or_else(|| Watched::Waiting(Waiting::default()));
        let watched = match watched {
            Watched::Shown => {
                self.put(event);
                Watched::Shown
            }
            Watched::Waiting(mut waiting) => {
                if self.matches(&mut waiting.tails, event) {
                    self.show(waiting);
                    self.put(event);
                    Watched::Shown
                } else {
                    let room = self.most.min((KEPT_OF_ALL + waiting.bytes).saturating_sub(self.kept));
                    self.kept = self.kept.saturating_add_signed(waiting.keep(event, room));
                    Watched::Waiting(waiting)
                }
            }
        };
        self.connections.insert(connection, watched);
        if is_end {
            self.forget(connection);
        }
        if self.connections.len() > MOST_CONNECTIONS
            && let Some(oldest) = self.connections.keys().next().copied()
        {
            self.forget(oldest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::{
        matching::{expression::Expression, literals::Literals},
        taps::queue::Queue,
        words::{addr::SocketName, direction::Direction, outcome::CloseReason, stats::Ledger},
    };

    const BOTH: Both<bool> = Both { to_upstream: true, to_client: true };

    fn literal(text: &str) -> Matcher {
        Matcher::Literals(Literals::new(&[text]).expect("a literal"))
    }

    fn expression(pattern: &str) -> Matcher {
        Matcher::Expression(Box::new(Expression::new(pattern.as_bytes()).expect(pattern)))
    }

    fn open() -> EventKind {
        let name = || SocketName::Unix(String::new());
        EventKind::Opened { client: name(), local: name(), changes: false }
    }

    fn data(direction: Direction, bytes: &str) -> EventKind {
        EventKind::Data { direction, place: Place::In, offset: 0, bytes: Bytes::copy_from_slice(bytes.as_bytes()) }
    }

    fn up(bytes: &str) -> EventKind {
        data(Direction::ToUpstream, bytes)
    }

    fn end() -> EventKind {
        EventKind::End { direction: Direction::ToUpstream, place: Place::In, offset: 0 }
    }

    fn closed() -> EventKind {
        let ledgers = Both { to_upstream: Ledger::default(), to_client: Ledger::default() };
        EventKind::Closed { reason: CloseReason::Finished, error: None, ledgers }
    }

    /// Returns what is shown of events, and the bytes that are kept at the end.
    fn shown(matcher: Matcher, most: usize, events: Vec<(u64, EventKind)>) -> (Vec<String>, usize) {
        shown_of(vec![matcher], most, events)
    }

    fn shown_of(matchers: Vec<Matcher>, most: usize, events: Vec<(u64, EventKind)>) -> (Vec<String>, usize) {
        shown_of_keys(matchers, most, events.into_iter().map(|(number, kind)| (ConnectionKey::of(number), kind)))
    }

    fn shown_of_keys(
        matchers: Vec<Matcher>,
        most: usize,
        events: impl IntoIterator<Item = (ConnectionKey, EventKind)>,
    ) -> (Vec<String>, usize) {
        let queue = Arc::<Queue>::default();
        let target = Target { witness: queue.clone(), directions: BOTH, places: vec![Place::In] };
        let mut grep = Grep::new(matchers, BOTH, most, vec![target]);
        for (connection, kind) in events {
            grep.event(&Event::now(connection, kind)).expect("it never fails");
        }
        let line = |event: &Event| {
            let what = match &event.kind {
                EventKind::Opened { .. } => "open".to_owned(),
                EventKind::Data { bytes, .. } => bytes.escape_ascii().to_string(),
                EventKind::Closed { .. } => "closed".to_owned(),
                EventKind::Missed { events, bytes } => format!("missed {events} {bytes}"),
                _ => "other".to_owned(),
            };
            format!("{} {what}", event.connection.number)
        };
        let events = queue.take(Some(Instant::now())).unwrap_or_default();
        (events.iter().map(line).collect(), grep.kept)
    }

    #[test]
    fn a_connection_is_shown_from_its_beginning_once_something_matches_and_others_never() {
        let events =
            vec![(1, open()), (2, open()), (1, up("a ne")), (2, up("hay")), (1, up("edle")), (2, closed()), (1, closed())];
        let (lines, kept) = shown(literal("needle"), 100, events);
        assert_eq!(lines, ["1 open", "1 a ne", "1 edle", "1 closed"]);
        assert_eq!(kept, 0);
    }

    #[test]
    fn connections_of_two_servers_with_one_number_are_two() {
        let of = |server| ConnectionKey { number: 1, server };
        let events = vec![(of(1), open()), (of(2), open()), (of(1), up("ne")), (of(2), up("edle")), (of(1), closed())];
        assert_eq!(shown_of_keys(vec![literal("needle")], 100, events).0, [""; 0]);
        let events = vec![(of(1), open()), (of(2), open()), (of(1), up("needle")), (of(2), up("hay")), (of(1), closed())];
        assert_eq!(shown_of_keys(vec![literal("needle")], 100, events).0, ["1 open", "1 needle", "1 closed"]);
    }

    #[test]
    fn a_match_lies_in_one_direction() {
        let (lines, _) = shown(literal("ab"), 100, vec![(1, open()), (1, up("a")), (1, data(Direction::ToClient, "b"))]);
        assert_eq!(lines, [""; 0]);
    }

    #[test]
    fn one_of_several_is_enough_and_each_has_flags_and_ends_of_its_own() {
        let matchers = || vec![expression("(?x) fo o # a comment"), expression("(?i)bar"), expression("baz")];
        for (pieces, matches) in [
            (&["f", "oo"][..], true),
            (&["FOO"], false),
            (&["x", "BA", "R"], true),
            (&["ba", "z"], true),
            (&["BAZ"], false),
            (&["fo", "bar"], true),
        ] {
            let mut events: Vec<_> = pieces.iter().map(|piece| (1, up(piece))).collect();
            events.push((1, end()));
            assert_eq!(!shown_of(matchers(), 100, events).0.is_empty(), matches, "{pieces:?}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_not_is_said() {
        let mut events = vec![(1, open())];
        events.extend((0..100).map(|_| (1, up("0123456789"))));
        assert_eq!(shown(literal("x"), 25, events.clone()).1, 20);
        events.push((1, up("x")));
        let (lines, kept) = shown(literal("x"), 25, events);
        assert_eq!(lines, ["1 open", "1 missed 98 980", "1 0123456789", "1 0123456789", "1 x"]);
        assert_eq!(kept, 0);
    }

    #[test]
    fn an_assertion_waits_for_the_bytes_that_it_needs() {
        for (pattern, pieces, matches) in [
            ("foo$", &["foo", "x"][..], false),
            ("foo$", &["fo", "o"], true),
            (r"\bfoo", &["a", "foo"], false),
            (r"\bfoo", &["a ", "foo"], true),
            ("^foo", &["foo"], true),
            ("^foo", &["x", "foo"], false),
            ("[0-9]+x", &["1", "2", "x"], true),
        ] {
            let mut events: Vec<_> = pieces.iter().map(|piece| (1, up(piece))).collect();
            events.push((1, end()));
            let (lines, _) = shown(expression(pattern), 100, events);
            assert_eq!(!lines.is_empty(), matches, "{pattern} {pieces:?}");
        }
    }
}
