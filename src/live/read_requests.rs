//! The dialogue of a side before its bytes are relayed: reads that a handle requests, and the connection's task serves.
//!
//! Bytes that were read and not consumed stay here until the relay begins, which reads them first.

use std::{
    fmt, mem,
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use crate::{
    inspect::framing::{Cut, Framer, FramingPair, Passed},
    settings::config::MOST_READ,
    words::{
        direction::{Both, Direction},
        lock::EvenPoisoned,
    },
};

/// Bytes that are read at once where the end of what is wanted is not known.
const STEP: usize = 4 * 1024;

/// The end of what a read wants.
#[derive(Debug)]
pub enum Wanted {
    /// At least one byte and at most this many, or none at the end of the stream.
    AtMost(usize),
    /// This many bytes.
    Exactly(usize),
    /// All bytes up to the delimiter, with it.
    Until {
        /// The delimiter: at least one byte.
        delimiter: Bytes,
        /// Maximum bytes, with the delimiter.
        limit: usize,
    },
    /// One whole message of the connection's framing.
    Message {
        /// The framing, whose framers go on with the relay.
        framing: FramingPair,
        /// Maximum bytes.
        limit: usize,
    },
}

impl Wanted {
    /// Returns the number of bytes that the read needs at least.
    fn least(&self) -> usize {
        match self {
            Self::Exactly(length) => *length,
            Self::AtMost(_) | Self::Until { .. } | Self::Message { .. } => 0,
        }
    }
}

/// A request to read.
#[derive(Debug)]
pub struct Wish {
    /// The end of what is wanted.
    pub wanted: Wanted,
    /// True if the bytes stay to be read again, and to be relayed. Without effect for a message: its framer has passed it.
    pub peeks: bool,
    /// True if another read of that side is refused until the bytes of this one are noted as seen, or put back: what it took
    /// meanwhile would be behind them.
    pub holds: bool,
    /// The instant at which the read fails as late.
    pub deadline: Option<Instant>,
}

/// The reason why a read failed. The bytes that have come stay to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// No dialogue takes place: the side is not there yet, or its bytes are relayed.
    Closed,
    /// Another read of that side waits.
    Busy,
    /// The stream has ended after this many bytes.
    End(usize),
    /// More bytes than this came without the end of what is wanted.
    TooMuch(usize),
    /// The time was over.
    Late,
    /// The bytes break the protocol of the framing, as the text says.
    Broken(String),
    /// The direction has no framing.
    Unframed,
}

/// The function that takes the result of a read, on the thread of the connection.
pub type Answered = Box<dyn FnOnce(Result<Bytes, Unread>) + Send>;

/// The dialogues of both sides of a connection, by the direction in which the side sends.
#[derive(Debug, Default)]
pub(crate) struct Dialogues(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sides: Both<Dialogue>,
    /// Bytes that were consumed in dialogues that are over.
    consumed: Both<u64>,
    /// Made by the first read of a message.
    framers: Option<Both<Option<Box<dyn Framer>>>>,
}

/// The dialogue of one side.
#[derive(Debug, Default)]
pub(crate) struct Dialogue {
    /// Bytes that were read and not consumed.
    bytes: BytesMut,
    /// The number of bytes at the beginning of `bytes` that were searched for the end of what is wanted.
    seen: usize,
    /// The number of bytes at the beginning of `bytes` that are a message which the framer has passed.
    passed: usize,
    /// Bytes that were consumed.
    consumed: usize,
    ended: bool,
    /// The number of the last request.
    last: u64,
    asked: Option<Asked>,
    /// True while the bytes of a read that holds others are neither seen nor put back.
    is_answering: bool,
}

struct Asked {
    wish: Wish,
    answered: Answered,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wish.fmt(f)
    }
}

/// The bytes of a dialogue that is over.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Bytes that belong to the relay.
    pub unread: Bytes,
    /// The number of bytes that were consumed.
    pub consumed: usize,
}

impl Dialogues {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().even_poisoned()
    }

    /// Ends the dialogue of the side that sends in `direction`: a read that waits is refused.
    pub(crate) fn close(&self, direction: Direction) -> Left {
        let over = {
            let mut state = self.state();
            let over = mem::take(&mut state.sides[direction]);
            state.consumed[direction] += over.consumed as u64;
            if let Some(framers) = &mut state.framers
                && over.passed > 0
                && let Some(framer) = framers[direction].take()
            {
                framers[direction] = Some(Box::new(Passed::new(over.passed, framer)));
            }
            over
        };
        // Not under the lock: the function belongs to the caller of the read.
        if let Some(Asked { answered, .. }) = over.asked {
            answered(Err(Unread::Closed));
        }
        Left { unread: over.bytes.freeze(), consumed: over.consumed }
    }

    /// Requests a read, unless `open` returns false under the lock. Returns its number, for [`cancel`](Self::cancel).
    pub(super) fn ask(
        &self,
        direction: Direction,
        wish: Wish,
        answered: Answered,
        open: impl FnOnce() -> bool,
    ) -> Result<u64, Unread> {
        if wish.wanted.least() > MOST_READ {
            return Err(Unread::TooMuch(MOST_READ));
        }
        let mut state = self.state();
        let side = &mut state.sides[direction];
        if !open() {
            return Err(Unread::Closed);
        }
        if side.asked.is_some() || side.is_answering {
            return Err(Unread::Busy);
        }
        side.asked = Some(Asked { wish, answered });
        side.seen = 0;
        side.last += 1;
        Ok(side.last)
    }

    /// Withdraws a request. Returns false if it was answered.
    pub(super) fn cancel(&self, direction: Direction, number: u64) -> bool {
        let mut state = self.state();
        let side = &mut state.sides[direction];
        let withdrawn = if side.last == number { side.asked.take() } else { None };
        drop(state);
        withdrawn.is_some()
    }

    /// Records that the bytes of a read have been seen: they are not put back any more.
    pub(super) fn seen(&self, direction: Direction) {
        self.state().sides[direction].is_answering = false;
    }

    /// Puts consumed bytes, which nobody has seen, back in front, unless `open` returns false under the lock. Those of a
    /// message are the next message again, which its framer is not asked for.
    pub(super) fn put_back(&self, direction: Direction, bytes: &[u8], is_message: bool, open: impl FnOnce() -> bool) {
        let mut state = self.state();
        let side = &mut state.sides[direction];
        side.is_answering = false;
        if open() {
            let behind = mem::replace(&mut side.bytes, BytesMut::from(bytes));
            side.bytes.extend_from_slice(&behind);
            side.consumed = side.consumed.saturating_sub(bytes.len());
            side.seen = 0;
            if is_message || side.passed > 0 {
                side.passed += bytes.len();
            }
        }
    }

    /// Returns the number of bytes that were consumed, of which the relay has seen none.
    pub(crate) fn consumed(&self, direction: Direction) -> u64 {
        self.state().consumed[direction]
    }

    /// Takes the framers that a dialogue has used, for the relay to go on with.
    pub(crate) fn take_framers(&self) -> Option<Both<Option<Box<dyn Framer>>>> {
        self.state().framers.take()
    }

    /// Adds bytes that were read.
    pub(crate) fn add(&self, direction: Direction, bytes: &[u8]) {
        self.state().sides[direction].bytes.extend_from_slice(bytes);
    }

    /// Records the end of the stream.
    pub(crate) fn end(&self, direction: Direction) {
        self.state().sides[direction].ended = true;
    }

    /// Answers the requested reads, as far as that is possible `now`. Returns the number of bytes that may be read for the
    /// next one; `None` if none is requested.
    pub(crate) fn serve(&self, direction: Direction, now: Instant) -> Option<usize> {
        loop {
            let mut state = self.state();
            let State { sides, framers, .. } = &mut *state;
            let side = &mut sides[direction];
            let is_late = side.asked.as_ref()?.wish.deadline.is_some_and(|deadline| deadline <= now);
            let answer = match side.find(framers, direction)? {
                Found::Length(length) => Ok(length),
                Found::Failed(failed) => Err(failed),
                Found::More(_) if is_late => Err(Unread::Late),
                Found::More(most) => return Some(most),
            };
            let Asked { wish, answered } = side.asked.take()?;
            let peeks = wish.peeks && !matches!(wish.wanted, Wanted::Message { .. });
            side.is_answering = wish.holds && !peeks && answer.is_ok();
            let answer = answer.map(|length| side.take(length, peeks));
            // Not under the lock: the function may request the next read.
            drop(state);
            answered(answer);
        }
    }

    /// Returns the earliest deadline of a read that is requested.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        Direction::ALL.into_iter().filter_map(|direction| state.sides[direction].asked.as_ref()?.wish.deadline).min()
    }
}

/// The beginning of what was read, as a request sees it.
#[derive(Debug)]
enum Found {
    /// The first bytes, this many, are what is wanted.
    Length(usize),
    /// At most this many bytes more are to be read.
    More(usize),
    Failed(Unread),
}

impl Dialogue {
    /// Looks for what is requested, and notes how far it has looked. `None` if nothing is requested.
    fn find(&mut self, framers: &mut Option<Both<Option<Box<dyn Framer>>>>, direction: Direction) -> Option<Found> {
        let has = self.bytes.len();
        let found = match &self.asked.as_ref()?.wish.wanted {
            Wanted::AtMost(most) if has > 0 || self.ended => return Some(Found::Length(has.min(*most))),
            Wanted::AtMost(most) => Found::More(*most),
            Wanted::Exactly(length) if has >= *length => return Some(Found::Length(*length)),
            Wanted::Exactly(length) => Found::More(length - has),
            Wanted::Until { delimiter, limit } => until(&self.bytes, self.seen, delimiter, *limit),
            Wanted::Message { .. } if self.passed > 0 => return Some(Found::Length(self.passed)),
            Wanted::Message { framing, limit } => match &mut framers.get_or_insert_with(|| framing.framers())[direction] {
                Some(framer) => message(&mut **framer, &self.bytes, self.seen, *limit),
                None => Found::Failed(Unread::Unframed),
            },
        };
        self.seen = has;
        Some(match found {
            Found::More(_) if self.ended => Found::Failed(Unread::End(has)),
            found => found,
        })
    }

    /// Returns the first bytes, this many.
    fn take(&mut self, length: usize, peeks: bool) -> Bytes {
        if peeks {
            return Bytes::copy_from_slice(&self.bytes[..length]);
        }
        self.consumed += length;
        self.passed = self.passed.saturating_sub(length);
        self.bytes.split_to(length).freeze()
    }
}

fn until(bytes: &[u8], seen: usize, delimiter: &[u8], limit: usize) -> Found {
    // The delimiter may begin in what was searched.
    let from = seen.saturating_sub(delimiter.len() - 1).min(bytes.len());
    let end = memchr::memmem::find(&bytes[from..], delimiter).map(|at| from + at + delimiter.len());
    match end {
        Some(end) if end <= limit => Found::Length(end),
        None if bytes.len() < limit => Found::More(STEP.min(limit - bytes.len())),
        _ => Found::Failed(Unread::TooMuch(limit)),
    }
}

fn message(framer: &mut dyn Framer, bytes: &[u8], seen: usize, limit: usize) -> Found {
    if bytes.is_empty() {
        return Found::More(STEP);
    }
    match framer.cut(bytes, seen) {
        Ok(Cut::Message(length)) if length <= limit => Found::Length(length),
        Ok(Cut::More { least }) if bytes.len() < limit && least.is_none_or(|least| least <= limit as u64) => {
            let left = least.and_then(|least| usize::try_from(least).ok()).map(|least| least.saturating_sub(bytes.len()));
            Found::More(left.filter(|left| *left > 0).unwrap_or(STEP).min(limit - bytes.len()))
        }
        Ok(Cut::Unframed) => Found::Failed(Unread::Unframed),
        Ok(_) => Found::Failed(Unread::TooMuch(limit)),
        Err(broken) => Found::Failed(Unread::Broken(format!(
            "{}: expected {} at byte {}",
            framer.protocol(),
            broken.expected,
            broken.offset
        ))),
    }
}
