//! The bounded queue between connections and the thread of a tap.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    taps::{
        copies::Copies,
        event::{ConnectionKey, EVENT, Event, EventKind},
    },
    words::lock::EvenPoisoned,
};

/// Default of the maximum bytes that wait: some hundredths of a second of a fast stream, or a minute of a terminal.
pub const MOST_WAITING: usize = 8 * 1024 * 1024;

/// Part of the maximum that is kept for the ends of connections, beyond it: a sink that misses one keeps
/// that connection.
const FOR_ENDS: usize = 4;

/// Maximum number of connections whose missed events are kept apart.
const MOST_NAMED: usize = 4096;

/// Events on their way to a tap's thread. Connections never wait for it: what finds no room is left out and counted.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Notified when everything was handled.
    settled: Condvar,
    most: usize,
    copies: Arc<Copies>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    /// Memory of the events that wait.
    waiting: usize,
    /// Events that found no room, by connection, and that the thread has not been handed as such: of at most `MOST_NAMED`
    /// connections. Those of others are counted in `all_missed` alone.
    missed: HashMap<ConnectionKey, Missed>,
    all_missed: Missed,
    /// True while the thread handles what it has taken.
    is_busy: bool,
    /// True once nobody looks any more.
    is_given_up: bool,
    /// True once no more events come.
    is_closed: bool,
}

/// Figures of what was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// The number of events.
    pub events: u64,
    /// The bytes of those that had some.
    pub bytes: u64,
}

impl Missed {
    fn add(&mut self, event: &Event) {
        self.events += 1;
        self.bytes += event.bytes() as u64;
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(MOST_WAITING)
    }
}

impl Queue {
    /// Returns a queue for at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), settled: Condvar::new(), most, copies: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }

    /// Puts an event, or counts it as missed if there is no room for it. Never waits.
    pub fn put(&self, event: Event) {
        let mut state = self.state();
        let cost = event.cost();
        let is_end = matches!(event.kind, EventKind::Closed { .. });
        let most = self.most + if is_end { self.most / FOR_ENDS } else { 0 };
        if state.is_given_up || state.is_closed || state.waiting + cost > most {
            state.all_missed.add(&event);
            let is_named = state.missed.len() < MOST_NAMED || state.missed.contains_key(&event.connection);
            if is_named && !state.is_given_up && !state.is_closed {
                state.missed.entry(event.connection).or_default().add(&event);
            }
            return;
        }
        if let Some(missed) = state.missed.remove(&event.connection) {
            // With the time of what comes behind it, and not a later one.
            let missed = Event { at: event.at, ..missed_event(event.connection, missed) };
            state.waiting += EVENT;
            state.events.push_back(missed);
        }
        let was_empty = state.events.is_empty();
        state.waiting += cost;
        state.events.push_back(event);
        drop(state);
        if was_empty {
            self.changed.notify_one();
        }
    }

    /// Returns a copy of bytes for an event, in memory that was that of others before if there is some.
    pub fn copy(&self, bytes: &[u8]) -> Bytes {
        self.copies.of(bytes)
    }

    /// Returns true if nobody looks any more: then bytes need not be copied for it.
    pub fn is_given_up(&self) -> bool {
        self.state().is_given_up
    }

    /// Counts bytes as missed that are not put, because nobody looks any more.
    pub fn miss(&self, bytes: usize) {
        let missed = &mut self.state().all_missed;
        missed.events += 1;
        missed.bytes += bytes as u64;
    }

    /// Takes all events that wait; waits for one until `deadline`, or without limit. Returns None once the queue is closed and
    /// empty, and no events at the deadline.
    ///
    /// For the tap's thread. The memory of what was taken counts until [`Queue::done`].
    pub fn take(&self, deadline: Option<Instant>) -> Option<VecDeque<Event>> {
        let mut state = self.state();
        state.is_busy = false;
        loop {
            if !state.events.is_empty() {
                state.is_busy = true;
                return Some(mem::take(&mut state.events));
            }
            if !state.missed.is_empty() {
                state.is_busy = true;
                let missed = mem::take(&mut state.missed);
                state.waiting += EVENT * missed.len();
                return Some(missed.into_iter().map(|(connection, missed)| missed_event(connection, missed)).collect());
            }
            self.settled.notify_all();
            if state.is_closed {
                return None;
            }
            state = match deadline {
                None => self.changed.wait(state).even_poisoned(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Some(VecDeque::new());
                    }
                    self.changed.wait_timeout(state, left).even_poisoned().0
                }
            };
        }
    }

    /// Frees the memory of an event that was taken and handled.
    pub fn done(&self, event: &Event) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(event.cost());
    }

    /// Counts an event as missed that was taken and could not be handled.
    pub fn lose(&self, event: &Event) {
        self.state().all_missed.add(event);
    }

    /// Ends the looking: what waits and what comes is counted as missed.
    pub fn give_up(&self) {
        let mut state = self.state();
        state.is_given_up = true;
        let events = mem::take(&mut state.events);
        events.iter().for_each(|event| state.all_missed.add(event));
        state.waiting = 0;
        state.missed.clear();
        drop(state);
        self.changed.notify_all();
        self.settled.notify_all();
    }

    /// Waits until everything that was put before was handled, or nobody looks any more; at most `limit`. Returns true if so.
    pub fn settle(&self, limit: Duration) -> bool {
        let state = self.state();
        let waits =
            |state: &mut State| !state.is_given_up && (state.is_busy || !state.events.is_empty() || !state.missed.is_empty());
        let (_state, timeout) = self.settled.wait_timeout_while(state, limit, waits).even_poisoned();
        !timeout.timed_out()
    }

    /// Takes no more events. Those that wait are still handed out.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Returns the figures of all that was left out so far.
    pub fn missed(&self) -> Missed {
        self.state().all_missed
    }
}

fn missed_event(connection: ConnectionKey, Missed { events, bytes }: Missed) -> Event {
    Event::now(connection, EventKind::Missed { events, bytes })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{taps::event::Place, words::direction::Direction};

    fn data(connection: u64, bytes: usize) -> Event {
        let (direction, place) = (Direction::ToUpstream, Place::In);
        Event::now(
            ConnectionKey::of(connection),
            EventKind::Data { direction, place, offset: 0, bytes: Bytes::from(vec![0; bytes]) },
        )
    }

    fn taken(queue: &Queue) -> Vec<(u64, usize, u64)> {
        let events = queue.take(Some(Instant::now())).unwrap_or_default();
        events.iter().for_each(|event| queue.done(event));
        let missed = |kind: &EventKind| if let EventKind::Missed { bytes, .. } = kind { *bytes } else { 0 };
        events.iter().map(|event| (event.connection.number, event.bytes(), missed(&event.kind))).collect()
    }

    #[test]
    fn what_finds_no_room_is_missed_by_its_connection_in_its_place() {
        let queue = Queue::new(4 * EVENT);
        queue.put(data(1, 10));
        queue.put(data(2, 2000));
        queue.put(data(2, 3000));
        queue.put(data(1, 20));
        assert_eq!(taken(&queue), [(1, 10, 0), (1, 20, 0)]);
        queue.put(data(2, 1));
        assert_eq!(taken(&queue), [(2, 0, 5000), (2, 1, 0)]);
        assert_eq!(queue.missed(), Missed { events: 2, bytes: 5000 });
    }

    #[test]
    fn what_was_missed_is_missed_by_the_connection_of_its_server() {
        let queue = Queue::new(EVENT);
        for (server, bytes) in [(1, 10), (2, 20)] {
            let connection = ConnectionKey { number: 1, server };
            queue.put(Event { connection, ..data(1, bytes) });
        }
        assert_eq!(queue.missed(), Missed { events: 2, bytes: 30 });
        let mut missed: Vec<_> = queue.take(Some(Instant::now())).unwrap_or_default().into();
        missed.sort_by_key(|event| event.connection);
        let of = |event: &Event| (event.connection.server, matches!(event.kind, EventKind::Missed { events: 1, .. }));
        assert_eq!(missed.iter().map(of).collect::<Vec<_>>(), [(1, true), (2, true)]);
    }

    #[test]
    fn what_was_missed_is_said_also_if_nothing_comes_behind_it() {
        let queue = Queue::new(EVENT);
        queue.put(data(3, 1));
        assert_eq!(taken(&queue), [(3, 0, 1)]);
        assert_eq!(taken(&queue), []);
    }

    #[test]
    fn memory_counts_until_an_event_was_handled() {
        let queue = Queue::new(2 * EVENT);
        queue.put(data(1, 10));
        let events = queue.take(None).expect("it is open");
        queue.put(data(1, 300));
        queue.done(&events[0]);
        queue.put(data(1, 5));
        assert_eq!(taken(&queue), [(1, 0, 300), (1, 5, 0)]);
    }

    #[test]
    fn a_queue_that_nobody_reads_keeps_nothing() {
        let queue = Queue::default();
        queue.put(data(1, 10));
        queue.give_up();
        queue.put(data(1, 20));
        assert!(queue.is_given_up());
        assert_eq!((queue.missed(), queue.state().waiting), (Missed { events: 2, bytes: 30 }, 0));
    }

    #[test]
    fn what_waits_is_handed_out_after_the_close() {
        let queue = Queue::default();
        queue.put(data(1, 10));
        queue.close();
        queue.put(data(1, 20));
        assert_eq!(taken(&queue), [(1, 10, 0)]);
        assert!(queue.take(None).is_none());
    }
}
