//! The output of stages: pieces in order, each due now or at an instant, and the end of the direction behind them.

use std::{collections::VecDeque, io::IoSlice, time::Instant};

use bytes::Bytes;

use crate::words::{chunk::Chunk, outcome::Failed, pieces::Pieces};

/// Maximum number of pieces of one write. More are no gain: small ones were joined before.
pub(crate) const SLICES: usize = 16;

/// Number of bytes that are written before more messages are cut.
const ENOUGH: usize = 256 * 1024;

/// Bytes of memory that a piece costs beyond its contents.
const PIECE: usize = 256;

/// The end of a direction, behind its last piece.
#[derive(Debug)]
pub enum Finish {
    /// FIN to the destination.
    Fin,
    /// FIN to both sides, behind every piece. The connection's end is this one.
    Close(Failed),
    /// RST to both sides, once the destination's system has acknowledged every piece. The connection's end is this one.
    Reset(Failed),
}

/// Bytes that go out together, not before they are due.
#[derive(Debug)]
pub(crate) struct Piece {
    pub bytes: Chunk,
    pub due: Option<Instant>,
}

/// The output of the stages of one direction, in order: a piece never overtakes another, whatever their instants.
///
/// The first piece lies in place: one chunk that passes costs no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    first: Option<Piece>,
    /// The pieces behind `first`. Empty without it.
    rest: VecDeque<Piece>,
    bytes: usize,
    finish: Option<(Finish, Option<Instant>)>,
    wake: Option<Instant>,
    /// Number of bytes that did not come from the source.
    added: usize,
    /// Number of bytes of the source that go no further.
    dropped: usize,
    /// A chunk that was handled, whose memory the next read may use.
    spent: Option<Chunk>,
    /// More of these, if there are. Apart, because there seldom are.
    more_spent: Vec<Chunk>,
    now: Option<Instant>,
    /// The instant at which the piece that is being fed is due: no piece made from it is due earlier.
    floor: Option<Instant>,
    /// True if stages stand behind it, for which the borders of pieces have a meaning.
    is_between: bool,
    /// True if the relay is to act before a stage writes more.
    pauses: bool,
    /// True if the direction is ended from outside, and waits for its stages.
    is_ending: bool,
}

impl Outbox {
    /// Returns an empty outbox, for which it is `now`.
    pub fn at(now: Instant) -> Self {
        Self { now: Some(now), ..Self::default() }
    }

    /// Returns the time. A stage that stands behind a delay is fed at once, and finds the time at which its bytes are due.
    pub fn now(&self) -> Instant {
        let now = self.now.unwrap_or_else(Instant::now);
        self.floor.map_or(now, |floor| floor.max(now))
    }

    /// Sends bytes of the source on, as they came.
    pub fn push(&mut self, chunk: impl Into<Chunk>) {
        self.put(chunk.into(), self.floor);
    }

    /// Sends bytes of the source on at an instant.
    pub fn push_at(&mut self, chunk: impl Into<Chunk>, due: Instant) {
        self.put(chunk.into(), Some(self.floor.map_or(due, |floor| floor.max(due))));
    }

    /// Sends bytes that are not the source's.
    pub fn add(&mut self, bytes: impl Into<Chunk>) {
        let bytes = bytes.into();
        self.added += bytes.len();
        self.put(bytes, self.floor);
    }

    /// Sends bytes that are not the source's, small pieces joined.
    pub fn add_all(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        let mut pieces = pieces.into_iter();
        let (first, second) = (pieces.next(), pieces.next());
        let Some(second) = second else {
            first.into_iter().for_each(|only| self.add(only));
            return;
        };
        let mut joined = Pieces::default();
        first.into_iter().chain([second]).chain(pieces).for_each(|bytes| joined.push(bytes));
        joined.take().into_iter().for_each(|bytes| self.add(bytes));
    }

    /// Drops bytes of the source.
    pub fn drop(&mut self, chunk: impl Into<Chunk>) {
        let chunk = chunk.into();
        self.dropped += chunk.len();
        self.spend(chunk);
    }

    /// Ends the direction behind all pieces.
    pub fn end(&mut self) {
        self.finish.get_or_insert((Finish::Fin, self.floor));
    }

    /// Ends the direction behind all pieces, and not before an instant.
    pub fn end_at(&mut self, due: Instant) {
        self.finish.get_or_insert((Finish::Fin, Some(self.floor.map_or(due, |floor| floor.max(due)))));
    }

    /// Ends both sides in order behind all pieces. Nothing more is read.
    pub fn close(&mut self, end: Failed) {
        self.finish.get_or_insert((Finish::Close(end), self.floor));
    }

    /// Resets both sides behind all pieces. Nothing more is read.
    pub fn reset(&mut self, end: Failed) {
        self.finish.get_or_insert((Finish::Reset(end), self.floor));
    }

    /// Lets the relay act before a stage that has more to write is resumed.
    pub fn pause(&mut self) {
        self.pauses = true;
    }

    /// Returns true if the direction is ended from outside: a stage that waits for something else is not to hold that up.
    pub fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// Asks for [`Stage::resume`](crate::inspect::Stage::resume) at an instant.
    ///
    /// Of several instants the earliest counts, and it is forgotten then. A stage that is resumed before its own asks again.
    pub fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
    }
}

impl Outbox {
    fn put(&mut self, bytes: Chunk, due: Option<Instant>) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        match &mut self.first {
            None => self.first = Some(Piece { bytes, due }),
            Some(first) => {
                let last = self.rest.back_mut().unwrap_or(first);
                // Messages that pass are written together, where they lie.
                let apart = self.is_between || last.due != due;
                let bytes = if apart { Some(bytes) } else { last.bytes.append(bytes) };
                self.rest.extend(bytes.map(|bytes| Piece { bytes, due }));
            }
        }
    }

    pub(crate) fn set_ending(&mut self, is_ending: bool) {
        self.is_ending = is_ending;
    }

    pub(crate) fn go_on(&mut self) {
        self.pauses = false;
    }

    /// Returns true if the relay is to act before a stage writes more: something has asked for it, or there is enough for one
    /// write.
    pub(crate) fn is_paused(&self) -> bool {
        self.pauses || self.rest.len() >= SLICES || self.bytes >= ENOUGH
    }

    fn spend(&mut self, chunk: Chunk) {
        if self.spent.is_none() {
            self.spent = Some(chunk);
        } else if chunk.is_in_buffer() && self.more_spent.len() < SLICES {
            self.more_spent.push(chunk);
        }
    }

    /// Returns the number of bytes in it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the memory that it takes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes + PIECE * (usize::from(self.first.is_some()) + self.rest.len())
    }

    /// Returns true if it has no piece.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns true if nothing is left of it, neither a piece nor an end nor an instant to wake at.
    pub(crate) fn is_done(&self) -> bool {
        self.first.is_none() && self.finish.is_none() && self.wake.is_none()
    }

    /// Returns the instant before which nothing in it is due, if there is one.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        match (&self.first, &self.finish) {
            (Some(piece), _) => piece.due,
            (None, Some((_, due))) => *due,
            (None, None) => None,
        }
    }

    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.wake
    }

    pub(crate) fn woken(&mut self) {
        self.wake = None;
    }

    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// Borrows the pieces that go out next: those due by `now`, or those due at once if that is none. Returns their number.
    pub(crate) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES], now: Option<Instant>) -> usize {
        let due = |piece: &&Piece| piece.due.is_none_or(|due| now.is_some_and(|now| due <= now));
        let mut count = 0;
        for piece in self.first.iter().chain(&self.rest).take_while(due).take(SLICES) {
            slices[count] = IoSlice::new(&piece.bytes);
            count += 1;
        }
        count
    }

    /// Removes bytes that the destination has taken.
    pub(crate) fn taken(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(first) = &mut self.first {
            if bytes < first.bytes.len() {
                first.bytes.advance(bytes);
                return;
            }
            bytes -= first.bytes.len();
            if let Some(piece) = std::mem::replace(&mut self.first, self.rest.pop_front()) {
                self.spend(piece.bytes);
            }
        }
    }

    pub(crate) fn take_piece(&mut self) -> Option<Piece> {
        let piece = std::mem::replace(&mut self.first, self.rest.pop_front())?;
        self.bytes -= piece.bytes.len();
        Some(piece)
    }

    /// Makes its pieces independent of memory that the next read is to use. Returns false if there is no memory for that.
    pub(crate) fn make_lasting(&mut self) -> bool {
        for piece in self.first.iter_mut().chain(&mut self.rest) {
            if !piece.bytes.is_lasting() {
                let Some(kept) = piece.bytes.copy() else { return false };
                let lent = std::mem::replace(&mut piece.bytes, kept);
                self.spent.get_or_insert(lent);
            }
        }
        true
    }

    /// Appends the contents of another outbox.
    pub(crate) fn append(&mut self, more: &mut Self) {
        while let Some(Piece { bytes, due }) = more.take_piece() {
            self.put(bytes, due);
        }
        if let Some(finish) = more.finish.take() {
            self.finish.get_or_insert(finish);
        }
        more.wake.take().into_iter().for_each(|at| self.wake_at(at));
    }

    /// Returns all but the spent memory in another outbox.
    pub(crate) fn split_off(&mut self) -> Self {
        let (spent, more_spent) = (self.spent.take(), std::mem::take(&mut self.more_spent));
        std::mem::replace(self, Self { spent, more_spent, ..Self::default() })
    }

    /// Removes an end that is due behind the pieces and no later.
    pub(crate) fn forget_plain_end(&mut self) {
        self.finish.take_if(|finish| matches!(finish, (Finish::Fin, None)));
    }

    /// Returns memory that the next read may use.
    pub(crate) fn give_back(&mut self, chunk: Chunk) {
        self.spend(chunk);
    }

    /// Returns how the direction ends, once: [`Finish::Fin`], or a reset, with the instant of it.
    pub fn take_finish(&mut self) -> Option<(Finish, Option<Instant>)> {
        self.finish.take()
    }

    /// Returns true if the direction ends behind the pieces.
    pub fn has_finish(&self) -> bool {
        self.finish.is_some()
    }

    /// Returns an empty outbox for a stage that another one stands behind.
    pub(super) fn between(&self) -> Self {
        Self { now: self.now, floor: self.floor, is_between: true, is_ending: self.is_ending, ..Self::default() }
    }

    /// Takes over the parts that are not fed to the stage behind: figures, an instant to wake at, spent memory.
    pub(super) fn absorb(&mut self, mut between: Self) {
        let (added, dropped) = between.take_figures();
        self.note_figures((added, dropped));
        self.pauses |= between.pauses;
        between.wake.into_iter().for_each(|at| self.wake_at(at));
        std::iter::from_fn(|| between.take_spent()).for_each(|chunk| self.spend(chunk));
    }

    pub(crate) fn set_finish(&mut self, finish: (Finish, Option<Instant>)) {
        self.finish = Some(finish);
    }

    /// Returns the bytes added and dropped since the last call.
    pub fn take_figures(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.added), std::mem::take(&mut self.dropped))
    }

    pub(crate) fn note_figures(&mut self, (added, dropped): (usize, usize)) {
        self.added += added;
        self.dropped += dropped;
    }

    pub(crate) fn take_spent(&mut self) -> Option<Chunk> {
        self.more_spent.pop().or_else(|| self.spent.take())
    }

    pub(crate) fn set_floor(&mut self, floor: Option<Instant>) {
        self.floor = floor;
    }

    /// Removes the first piece, with its instant. For tests that play a stage by hand.
    pub fn next_piece(&mut self) -> Option<(Bytes, Option<Instant>)> {
        self.take_piece().map(|piece| (Bytes::copy_from_slice(&piece.bytes), piece.due))
    }
}
