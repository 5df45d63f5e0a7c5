//! Requests from outside to the task that owns a connection.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use atomic_waker::AtomicWaker;

use crate::words::{direction::Direction, outcome::CloseReason};

/// A requested end. A stronger request replaces a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Command {
    /// Delivers all bytes that were read, then sends FIN both ways.
    Close = 1,
    /// Delivers all bytes that were read, then sends RST: the connection that this side, carried alone, is paired with has
    /// failed.
    Fail = 2,
    /// Sends RST both ways now.
    Abort = 3,
    /// Sends RST both ways now, because the server stops.
    Stop = 4,
}

/// The end of a connection that is demanded from outside: the strongest [`Command`] so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// As [`Command::Close`].
    Close,
    /// As [`Command::Fail`].
    Fail,
    /// RST both ways now, with this close reason.
    Abort(CloseReason),
}

/// A set of directions that any thread may add to.
#[derive(Debug, Default)]
pub(crate) struct Directions(AtomicU8);

impl Directions {
    const fn bit(direction: Direction) -> u8 {
        1 << direction as u8
    }

    pub(crate) fn has(&self, direction: Direction) -> bool {
        self.0.load(Ordering::Acquire) & Self::bit(direction) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Returns the directions in it now.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Direction> + use<> {
        let bits = self.0.load(Ordering::Acquire);
        Direction::ALL.into_iter().filter(move |direction| bits & Self::bit(*direction) != 0)
    }

    pub(crate) fn add(&self, direction: Direction) {
        self.0.fetch_or(Self::bit(direction), Ordering::AcqRel);
    }

    pub(crate) fn remove(&self, direction: Direction) {
        self.0.fetch_and(!Self::bit(direction), Ordering::AcqRel);
    }

    /// Adds or removes a direction. Writes only if that changes something.
    pub(crate) fn set(&self, direction: Direction, has: bool) {
        match (self.has(direction), has) {
            (false, true) => self.add(direction),
            (true, false) => self.remove(direction),
            _ => {}
        }
    }
}

/// Requests for checks that the peers still acknowledge the bytes sent to them. The server's upkeep requests them, so that a
/// connection needs no clock of its own.
#[derive(Debug, Default)]
pub(crate) struct KeepaliveChecks {
    asked: AtomicBool,
    /// Bytes delivered both ways at the last call of [`ask`](Self::ask).
    delivered: AtomicU64,
    /// True if the last check found unacknowledged bytes.
    found: AtomicBool,
    /// True once a check was requested.
    before: AtomicBool,
}

impl KeepaliveChecks {
    /// Requests a keepalive check. Skipped when the last check found nothing in flight and nothing was delivered since.
    /// Returns whether a check was requested.
    pub(crate) fn ask(&self, delivered: u64) -> bool {
        let moved = self.delivered.swap(delivered, Ordering::Relaxed) != delivered;
        let first = !self.before.swap(true, Ordering::Relaxed);
        let due = moved || first || self.found.load(Ordering::Relaxed);
        if due {
            self.asked.store(true, Ordering::Relaxed);
        }
        due
    }

    /// Returns true if a check is requested, and clears the request.
    pub(crate) fn take(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::Relaxed)
    }

    /// Records whether a check found unacknowledged bytes.
    pub(crate) fn found(&self, under_way: bool) {
        self.found.store(under_way, Ordering::Relaxed);
    }
}

/// The requests to the task that owns a connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    command: AtomicU8,
    /// Directions to be ended: no more is read, bytes that were read are delivered, then FIN.
    pub ended: Directions,
    /// Directions that no hook sees any more.
    pub passed_through: Directions,
    /// Directions whose stages are to be changed.
    pub edited: Directions,
    /// Directions whose source may be read by a handle: it is not relayed yet, and a hook is asked.
    pub dialogue: Directions,
    /// Directions whose bytes that a hook was shown last are no whole message.
    pub partial: Directions,
    /// Directions whose messages have a length field that is set for hooks.
    pub length_fields: Directions,
    /// Directions of which a filter wants whole messages.
    pub filtered: Directions,
    /// Directions that accept no injected bytes any more.
    pub over: Directions,
    /// Directions whose source is paused.
    pub paused: Directions,
    /// Directions whose source is not read until other connections have taken the bytes sent to them.
    pub waits: Directions,
    /// Directions whose destination is to begin TLS, behind what is written to it before. No source is read until then.
    pub tls_begins: Directions,
    pub keepalive_checks: KeepaliveChecks,
    /// The request of a server that ends idle connections to end if nothing is under way: 1 plus the time without a delivery,
    /// in units of 10 ms; 0 without a request.
    leave: AtomicU8,
    /// True once the server ends idle connections.
    left: AtomicBool,
    /// True once the connection is not to listen after its close.
    hurried: AtomicBool,
    /// True once the task acts on a request to close.
    closes: AtomicBool,
    waker: AtomicWaker,
}

impl Control {
    /// Returns the end that is demanded of the connection.
    pub(crate) fn demand(&self) -> Option<Demand> {
        match self.command.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Demand::Close),
            2 => Some(Demand::Fail),
            3 => Some(Demand::Abort(CloseReason::Aborted)),
            _ => Some(Demand::Abort(CloseReason::Stopped)),
        }
    }

    /// Returns true if an end of the connection at once is demanded.
    pub(crate) fn is_aborted(&self) -> bool {
        matches!(self.demand(), Some(Demand::Abort(_)))
    }

    /// Returns true if an end of the connection, or of `direction`, is demanded.
    pub(crate) fn demands_end(&self, direction: Direction) -> bool {
        self.demand().is_some() || self.ended.has(direction)
    }

    /// Completes with the close reason once an end at once is demanded. Until then the task of `cx` is woken at the next
    /// request.
    pub(crate) fn poll_abort(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        self.register(cx);
        match self.demand() {
            Some(Demand::Abort(reason)) => Poll::Ready(reason),
            _ => Poll::Pending,
        }
    }

    /// Wakes the task of `cx` at the next request.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Wakes the task, which reads all requests.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Forgets the task, which has ended: a handle that is kept would keep its thread's descriptors open.
    pub(crate) fn forget_task(&self) {
        drop(self.waker.take());
    }

    pub(crate) fn request(&self, command: Command) {
        self.command.fetch_max(command as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Asks the connection to end if nothing is under way. Nothing was delivered for `still`.
    pub(crate) fn leave(&self, still: Duration) {
        let units = u8::try_from(still.as_millis() / 10).unwrap_or(u8::MAX);
        self.left.store(true, Ordering::Relaxed);
        self.leave.store(units.saturating_add(1), Ordering::Release);
        self.waker.wake();
    }

    /// Returns true once the server ends idle connections.
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes the request to end if nothing is under way. Returns for how long nothing was delivered.
    pub(crate) fn take_leave(&self) -> Option<Duration> {
        if self.leave.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let units = self.leave.swap(0, Ordering::Acquire).checked_sub(1)?;
        Some(Duration::from_millis(10) * u32::from(units))
    }

    /// Asks the connection not to listen to its peers after its close.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
    }

    /// Returns true if the connection is not to listen to its peers after its close.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }

    /// Records that the task acts on a request to close: it sends FIN before it reads another request.
    pub(crate) fn set_closes(&self) {
        self.closes.store(true, Ordering::Release);
    }

    /// Returns true once the task acts on a request to close.
    pub(crate) fn closes(&self) -> bool {
        self.closes.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self, direction: Direction) {
        self.ended.add(direction);
        self.waker.wake();
    }

    pub(crate) fn pause(&self, direction: Direction) {
        self.paused.add(direction);
    }

    pub(crate) fn resume(&self, direction: Direction) {
        self.paused.remove(direction);
        self.waker.wake();
    }

    pub(crate) fn pass_through(&self, direction: Direction) {
        self.passed_through.add(direction);
        self.waker.wake();
    }
}
