//! Bytes injected into a live connection, until its relay takes them.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Condvar, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::words::{lock::EvenPoisoned, pieces::Pieces};

/// Bytes of memory that may wait before a sender has to wait as well. A call is taken whole while fewer wait.
pub const WAITING: usize = 256 * 1024;

/// The limit of waiting bytes for a sender that cannot wait, because the relay itself runs on its thread.
pub const WAITING_ON_LANE: usize = 1024 * 1024;

/// The reason why an injection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// That direction has ended.
    Ended,
    /// The limit of waiting bytes is reached.
    Full,
}

/// How long a sender waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Does not wait: the sender runs on the thread of the relay.
    OnLane,
    /// Waits at most this long; `None` is no limit.
    Wait(Option<Duration>),
}

/// A connection whose hook sends into another one's inbox.
pub(crate) trait Source: Send + Sync + fmt::Debug {
    /// Wakes the connection's task: an inbox that it waited for has room.
    fn wake(&self);
}

/// The injections of one direction that wait for its relay, in order.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// True if anything waits, so that a relay need not take the lock.
    flagged: AtomicBool,
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Pieces,
    ended: bool,
    /// Connections of the same lane that are not read before there is room.
    waiting_sources: Vec<Weak<dyn Source>>,
}

impl State {
    /// Registers `source` as waiting if the inbox is full. Returns whether it is.
    fn has_source_wait(&mut self, source: &Weak<dyn Source>) -> bool {
        let waits = self.waiting.cost() >= WAITING && !self.ended;
        if waits && !self.waiting_sources.iter().any(|known| known.ptr_eq(source)) {
            self.waiting_sources.push(Weak::clone(source));
        }
        waits
    }
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }

    /// Appends `data` once there is room. Empty data needs no room.
    pub(crate) fn put(&self, data: Bytes, patience: Patience) -> Result<(), Refused> {
        let (most, deadline) = match patience {
            Patience::OnLane => (WAITING_ON_LANE, Some(Instant::now())),
            Patience::Wait(limit) => (WAITING, limit.and_then(|limit| Instant::now().checked_add(limit))),
        };
        let mut state = self.state();
        while !state.ended && !data.is_empty() && state.waiting.cost() >= most {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Err(Refused::Full),
                Some(left) => self.room.wait_timeout(state, left).even_poisoned().0,
                None => self.room.wait(state).even_poisoned(),
            };
        }
        if state.ended {
            return Err(Refused::Ended);
        }
        if !data.is_empty() {
            state.waiting.push(data);
            self.flagged.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Appends `data`, which a hook sends in reply to bytes of `source`. Returns whether `source` must not be read before
    /// there is room: so each source adds no more than one call's data of its hook.
    pub(crate) fn put_from(&self, data: Bytes, source: &Weak<dyn Source>) -> Result<bool, Refused> {
        let mut state = self.state();
        if state.ended {
            return Err(Refused::Ended);
        }
        if data.is_empty() {
            return Ok(false);
        }
        if state.waiting.cost() >= WAITING_ON_LANE * (1 + state.waiting_sources.len()) {
            return Err(Refused::Full);
        }
        state.waiting.push(data);
        self.flagged.store(true, Ordering::Release);
        Ok(state.has_source_wait(source))
    }

    /// Returns true if `source` must not be read before there is room; it is woken then.
    pub(crate) fn holds_up(&self, source: &Weak<dyn Source>) -> bool {
        self.has_some() && self.state().has_source_wait(source)
    }

    /// Returns true if anything waits.
    pub(crate) fn has_some(&self) -> bool {
        self.flagged.load(Ordering::Acquire)
    }

    /// Returns true if a sender off the lane would have to wait.
    pub(crate) fn has_enough(&self) -> bool {
        self.has_some() && self.state().waiting.cost() >= WAITING
    }

    /// Takes all waiting bytes, and wakes the senders that wait for room.
    pub(crate) fn take(&self) -> VecDeque<Bytes> {
        let mut state = self.state();
        self.flagged.store(false, Ordering::Release);
        self.room.notify_all();
        let (waiting, sources) = (state.waiting.take(), std::mem::take(&mut state.waiting_sources));
        drop(state);
        sources.iter().filter_map(Weak::upgrade).for_each(|source| source.wake());
        waiting
    }

    /// Puts bytes that were taken back in front of those that wait.
    pub(crate) fn put_back(&self, pieces: VecDeque<Bytes>) {
        if pieces.is_empty() {
            return;
        }
        let mut state = self.state();
        let behind = state.waiting.take();
        pieces.into_iter().chain(behind).for_each(|bytes| state.waiting.push(bytes));
        self.flagged.store(true, Ordering::Release);
    }

    /// Refuses further injections. Returns the bytes that waited.
    pub(crate) fn end(&self) -> VecDeque<Bytes> {
        self.state().ended = true;
        self.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Patience {
        Patience::Wait(Some(Duration::ZERO))
    }

    #[test]
    fn a_call_is_taken_whole_while_less_than_the_bound_waits() {
        let inbox = Inbox::default();
        inbox.put(Bytes::from(vec![1; WAITING - 1]), now()).unwrap();
        inbox.put(Bytes::from(vec![2; 3 * WAITING]), now()).unwrap();
        assert_eq!(inbox.put(Bytes::from_static(b"x"), now()), Err(Refused::Full));
        let sizes: Vec<usize> = inbox.take().iter().map(Bytes::len).collect();
        assert_eq!(sizes, [WAITING - 1, 3 * WAITING]);
        assert!(!inbox.has_some());
        inbox.put(Bytes::from_static(b"x"), now()).unwrap();
    }

    #[test]
    fn a_sender_on_the_lane_has_more_room_and_never_waits() {
        let inbox = Inbox::default();
        inbox.put(Bytes::from(vec![0; WAITING]), Patience::OnLane).unwrap();
        inbox.put(Bytes::from(vec![0; WAITING_ON_LANE]), Patience::OnLane).unwrap();
        assert_eq!(inbox.put(Bytes::from_static(b"x"), Patience::OnLane), Err(Refused::Full));
    }

    #[test]
    fn nothing_is_always_taken_and_never_waits_to_be_sent() {
        let inbox = Inbox::default();
        inbox.put(Bytes::new(), Patience::Wait(None)).unwrap();
        assert!(!inbox.has_some());
        inbox.put(Bytes::from(vec![0; WAITING_ON_LANE]), now()).unwrap();
        for patience in [Patience::OnLane, now(), Patience::Wait(None)] {
            inbox.put(Bytes::new(), patience).unwrap();
        }
        assert_eq!(inbox.end().len(), 1);
        assert_eq!(inbox.put(Bytes::new(), now()), Err(Refused::Ended));
    }

    #[test]
    fn small_sends_are_bounded_by_their_bytes_and_lie_together() {
        let inbox = Inbox::default();
        let sent = (0..2 * WAITING).take_while(|_| inbox.put(Bytes::from_static(b"x"), now()).is_ok()).count();
        assert!((WAITING - 256..=WAITING).contains(&sent), "{sent} were taken");
        let pieces = inbox.take();
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), sent);
        assert!(pieces.len() <= 8, "{} pieces", pieces.len());
    }

    #[test]
    fn one_that_waits_is_let_go_by_room_and_by_the_end() {
        let inbox = Inbox::default();
        let full = || inbox.put(Bytes::from(vec![0; WAITING]), Patience::Wait(None));
        full().unwrap();
        std::thread::scope(|scope| {
            let waiting = std::thread::Builder::new().spawn_scoped(scope, full).unwrap();
            // The thread may wait already or come to wait: there is room in both cases.
            while !inbox.has_some() {}
            inbox.take();
            assert_eq!(waiting.join().unwrap(), Ok(()));
            let waiting = std::thread::Builder::new().spawn_scoped(scope, full).unwrap();
            inbox.end();
            assert_eq!(waiting.join().unwrap(), Err(Refused::Ended));
        });
    }
}
