//! A record of what happened, in memory: the last events, and a way to wait for the next.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    sync::{Condvar, Mutex, MutexGuard},
    task::{Poll, Waker},
    time::Duration,
};

use crate::{
    taps::{event::Event, queue::Missed},
    words::lock::EvenPoisoned,
};

/// Memory of an event beyond its bytes.
const EVENT: usize = 256;

/// Maximum number of tasks that wait for the next event. Those beyond take the place of the oldest, which looks again.
const MOST_WAKERS: usize = 1024;

/// Events in their order, counted from 0. Connections put them in on their own threads, before the bytes go on: a peer that has
/// got an answer through a connection finds it here. Beyond a bound of memory the oldest are forgotten, and counted.
#[derive(Debug)]
pub struct Transcript {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    /// The number of the first event that is kept.
    first: u64,
    /// Memory of those that are kept.
    kept: usize,
    /// Events that found no room any more.
    missed: Missed,
    wakers: VecDeque<Waker>,
}

impl State {
    /// Returns the number of events so far, which is the number of the next.
    fn count(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn forget_first(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.first += 1;
        self.kept = self.kept.saturating_sub(EVENT + event.bytes());
        Some(event)
    }
}

impl Transcript {
    /// Returns a record that takes at most `most` bytes of memory; at least the last event is kept.
    pub fn new(most: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), most }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }

    /// Puts an event at the end, and wakes all who wait for one.
    pub fn put(&self, event: Event) {
        let mut state = self.state();
        state.kept += EVENT + event.bytes();
        state.events.push_back(event);
        while state.kept > self.most && state.events.len() > 1 {
            if let Some(event) = state.forget_first() {
                state.missed.events += 1;
                state.missed.bytes += event.bytes() as u64;
            }
        }
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Returns the number of events so far, also of those that are not kept any more.
    pub fn count(&self) -> u64 {
        self.state().count()
    }

    /// Waits until there are more than `since` events, or `limit` is over. Returns the number of events so far.
    pub fn wait(&self, since: u64, limit: Duration) -> u64 {
        let state = self.state();
        let waits = |state: &mut State| state.count() <= since;
        self.changed.wait_timeout_while(state, limit, waits).even_poisoned().0.count()
    }

    /// Completes when there are more than `since` events, with their number.
    pub async fn changed(&self, since: u64) -> u64 {
        poll_fn(|context| {
            let mut state = self.state();
            let count = state.count();
            if count > since {
                return Poll::Ready(count);
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push_back(context.waker().clone());
            }
            let oldest = if state.wakers.len() > MOST_WAKERS { state.wakers.pop_front() } else { None };
            drop(state);
            if let Some(waker) = oldest {
                waker.wake();
            }
            Poll::Pending
        })
        .await
    }

    /// Returns the events from the number `from` on, as far as they are kept, with the number of the first of them.
    pub fn events(&self, from: u64) -> (u64, Vec<Event>) {
        let state = self.state();
        let first = from.max(state.first);
        let skipped = usize::try_from(first - state.first).unwrap_or(usize::MAX);
        (first, state.events.iter().skip(skipped).cloned().collect())
    }

    /// Returns the figures of the events that found no room.
    pub fn missed(&self) -> Missed {
        self.state().missed
    }

    /// Forgets the events so far, and what was missed of them. Those to come are counted on.
    pub fn forget(&self) {
        let mut state = self.state();
        while state.forget_first().is_some() {}
        state.missed = Missed::default();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, sync::Arc, task::Context, thread};

    use bytes::Bytes;

    use super::*;
    use crate::{
        taps::event::{ConnectionKey, EventKind, Place},
        words::direction::Direction,
    };

    fn data(bytes: usize) -> Event {
        let (direction, place) = (Direction::ToUpstream, Place::In);
        Event::now(ConnectionKey::of(1), EventKind::Data { direction, place, offset: 0, bytes: Bytes::from(vec![0; bytes]) })
    }

    fn lengths((first, events): (u64, Vec<Event>)) -> (u64, Vec<usize>) {
        (first, events.iter().map(Event::bytes).collect())
    }

    #[test]
    fn the_oldest_are_forgotten_and_counted() {
        let transcript = Transcript::new(3 * EVENT);
        for bytes in [1, 2, 3, 4] {
            transcript.put(data(bytes));
        }
        assert_eq!(lengths(transcript.events(0)), (2, vec![3, 4]));
        assert_eq!((transcript.count(), transcript.missed()), (4, Missed { events: 2, bytes: 3 }));
        transcript.put(data(5000));
        assert_eq!(lengths(transcript.events(0)), (4, vec![5000]));
    }

    #[test]
    fn what_was_forgotten_is_counted_on() {
        let transcript = Transcript::new(usize::MAX);
        transcript.put(data(1));
        transcript.forget();
        transcript.put(data(2));
        assert_eq!(lengths(transcript.events(0)), (1, vec![2]));
        assert_eq!(lengths(transcript.events(2)), (2, vec![]));
        assert_eq!(lengths(transcript.events(9)), (9, vec![]));
    }

    #[test]
    fn a_thread_waits_for_the_next() {
        let transcript = Arc::new(Transcript::new(usize::MAX));
        assert_eq!(transcript.wait(0, Duration::ZERO), 0);
        let other = Arc::clone(&transcript);
        let waiting = thread::Builder::new().spawn(move || other.wait(0, Duration::from_secs(60))).unwrap();
        transcript.put(data(1));
        assert_eq!(waiting.join().unwrap(), 1);
    }

    #[test]
    fn a_task_waits_for_the_next() {
        let transcript = Transcript::new(usize::MAX);
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = pin!(transcript.changed(0));
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
        transcript.put(data(1));
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(1));
    }
}
