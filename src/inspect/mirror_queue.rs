//! A stage that copies what it is fed, and lets everything pass.
//!
//! The copy waits in a bounded queue for the task that writes it to a second target. That task never holds up the stage:
//! bytes for which there is no room end the copy, because a stream with a gap means nothing to its reader.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Context,
};

use atomic_waker::AtomicWaker;
use bytes::Bytes;

use crate::{
    inspect::{
        outbox::Outbox,
        stage::{End, Progress, Stage},
    },
    words::{chunk::Chunk, lock::EvenPoisoned, pieces::Pieces, stats::MirrorMeter},
};

/// Maximum bytes of one connection that wait for its second target. Twice what a relay moves in one turn, so that a target
/// as quick as the first one misses nothing.
pub(crate) const MOST_BEHIND: usize = 2 * 1024 * 1024;

/// The memory of all copies of the process.
static ROOM: Room = Room { most: MOST_OF_ALL, waiting: AtomicUsize::new(0) };

/// Maximum bytes that wait in all copies of the process.
pub(crate) const MOST_OF_ALL: usize = 64 * 1024 * 1024;

/// A bound that copies share.
#[derive(Debug)]
struct Room {
    most: usize,
    /// Bytes that wait in all of them.
    waiting: AtomicUsize,
}

impl Room {
    /// Reserves as many of `bytes` as there is room for. Returns their number.
    fn take(&self, bytes: usize) -> usize {
        let others = self.waiting.fetch_add(bytes, Relaxed);
        let fits = bytes.min(self.most.saturating_sub(others));
        self.give_back(bytes - fits);
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Relaxed);
    }
}

/// The end of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyEnd {
    /// The source has ended in order.
    Finished,
    /// The source was read no more, for whatever reason.
    Stopped,
    /// More bytes of it waited than may of one copy.
    Behind,
    /// More bytes waited than may in all copies of the process.
    NoRoom,
    /// Nobody writes the copy any more.
    GivenUp,
}

/// A copy of one direction's bytes, between the stage and the task that writes it.
#[derive(Debug)]
pub(crate) struct Copy {
    state: Mutex<State>,
    room: &'static Room,
    meter: Arc<MirrorMeter>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    pieces: Pieces,
    /// Bytes that were copied and not written yet; some of them may have been taken.
    waiting: usize,
    end: Option<CopyEnd>,
}

impl State {
    /// Appends `bytes`, or fails with the end of the copy if there is no room for all of them.
    fn put(&mut self, bytes: &[u8], room: &Room) -> Result<(), CopyEnd> {
        if bytes.len() > MOST_BEHIND.saturating_sub(self.waiting) {
            return Err(CopyEnd::Behind);
        }
        let taken = room.take(bytes.len());
        if taken < bytes.len() {
            room.give_back(taken);
            return Err(CopyEnd::NoRoom);
        }
        self.pieces.push_copy(bytes);
        self.waiting += bytes.len();
        Ok(())
    }

    /// Forgets all bytes that wait. Returns their number.
    fn forget(&mut self, room: &Room) -> usize {
        self.pieces.take();
        room.give_back(self.waiting);
        mem::take(&mut self.waiting)
    }
}

impl Copy {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }

    fn put(&self, bytes: &[u8]) {
        let mut state = self.state();
        if matches!(state.end, Some(CopyEnd::Behind | CopyEnd::NoRoom | CopyEnd::GivenUp)) {
            drop(state);
            self.meter.missed(bytes.len());
            return;
        }
        if let Err(end) = state.put(bytes, self.room) {
            let missed = bytes.len() + state.forget(self.room);
            state.end = Some(end);
            drop(state);
            self.meter.missed(missed);
        } else {
            drop(state);
        }
        self.waker.wake();
    }

    fn finish(&self, end: CopyEnd) {
        self.state().end.get_or_insert(end);
        self.waker.wake();
    }

    /// Wakes the task of `cx` at the next change.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Returns the bytes that came since the last call, and the end behind them.
    pub(crate) fn take(&self) -> (VecDeque<Bytes>, Option<CopyEnd>) {
        let mut state = self.state();
        (state.pieces.take(), state.end)
    }

    pub(crate) fn end(&self) -> Option<CopyEnd> {
        self.state().end
    }

    /// Counts bytes that were taken, and that the second target's system has.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = self.state();
        // Those that were forgotten meanwhile are counted as missed.
        let known = bytes.min(state.waiting);
        state.waiting -= known;
        drop(state);
        self.room.give_back(known);
        self.meter.sent(known);
    }

    /// Counts all bytes that wait as missed, and those that are still to come. Returns true if any are.
    pub(crate) fn give_up(&self) -> bool {
        let mut state = self.state();
        let missed = state.forget(self.room);
        let more_to_come = state.end.is_none();
        if more_to_come {
            state.end = Some(CopyEnd::GivenUp);
        }
        drop(state);
        self.meter.missed(missed);
        missed > 0 || more_to_come
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The stage that makes a [`Copy`].
#[derive(Debug)]
pub(crate) struct Mirror(Arc<Copy>);

impl Mirror {
    /// Returns the stage, and the copy for the task that writes it.
    pub(crate) fn new(meter: Arc<MirrorMeter>) -> (Self, Arc<Copy>) {
        Self::within(&ROOM, meter)
    }

    fn within(room: &'static Room, meter: Arc<MirrorMeter>) -> (Self, Arc<Copy>) {
        let copy = Arc::new(Copy { state: Mutex::default(), room, meter, waker: AtomicWaker::new() });
        (Self(Arc::clone(&copy)), copy)
    }
}

impl Stage for Mirror {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if !chunk.is_empty() {
            self.0.put(&chunk);
        }
        out.push(chunk);
        match end {
            End::Open => {}
            End::Finished => {
                self.0.finish(CopyEnd::Finished);
                out.end();
            }
            End::Stopped => self.0.finish(CopyEnd::Stopped),
        }
        Progress::Moved
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.0.finish(CopyEnd::Stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror() -> (Mirror, Arc<Copy>, Arc<MirrorMeter>) {
        let meter = Arc::<MirrorMeter>::default();
        let (stage, copy) = Mirror::new(Arc::clone(&meter));
        (stage, copy, meter)
    }

    /// Feeds the stage, and returns the number of bytes that passed.
    fn feed(stage: &mut Mirror, bytes: usize, end: End) -> usize {
        let mut out = Outbox::default();
        let progress = stage.feed(Bytes::from(vec![7; bytes]).into(), end, &mut out);
        assert!(matches!(progress, Progress::Moved));
        assert_eq!(out.has_finish(), end == End::Finished);
        out.bytes()
    }

    #[test]
    fn everything_passes_and_its_copy_waits_with_the_end_behind_it() {
        let (mut stage, copy, meter) = mirror();
        assert_eq!(feed(&mut stage, 3, End::Open), 3);
        assert_eq!(feed(&mut stage, 4, End::Finished), 4);
        drop(stage);
        let (pieces, end) = copy.take();
        assert_eq!((pieces.iter().map(Bytes::len).sum::<usize>(), end), (7, Some(CopyEnd::Finished)));
        copy.written(7);
        assert!(!copy.give_up());
        assert_eq!(meter.counts(), (7, 0));
    }

    #[test]
    fn a_copy_that_is_too_far_behind_ends_and_the_rest_is_counted() {
        let (mut stage, copy, meter) = mirror();
        assert_eq!(feed(&mut stage, MOST_BEHIND, End::Open), MOST_BEHIND);
        assert_eq!((copy.end(), meter.counts()), (None, (0, 0)));
        let (taken, _) = copy.take();
        copy.written(10);
        assert_eq!(feed(&mut stage, 10, End::Open), 10);
        assert_eq!(feed(&mut stage, 1, End::Open), 1);
        assert_eq!(copy.end(), Some(CopyEnd::Behind));
        assert_eq!(meter.counts(), (10, MOST_BEHIND as u64 + 1));
        // Bytes that are under way at that moment are counted once.
        copy.written(taken.iter().map(Bytes::len).sum());
        assert_eq!(feed(&mut stage, 5, End::Finished), 5);
        assert_eq!(meter.counts(), (10, MOST_BEHIND as u64 + 6));
    }

    #[test]
    fn copies_that_leave_each_other_no_room_end_and_their_memory_is_free_again() {
        static ROOM: Room = Room { most: 100, waiting: AtomicUsize::new(0) };
        let mirror = || {
            let meter = Arc::<MirrorMeter>::default();
            let (stage, copy) = Mirror::within(&ROOM, Arc::clone(&meter));
            (stage, copy, meter)
        };
        let ((mut first, kept, _), (mut second, ended, meter)) = (mirror(), mirror());
        assert_eq!(feed(&mut first, 60, End::Open), 60);
        assert_eq!(feed(&mut second, 40, End::Open), 40);
        assert_eq!(ended.end(), None);
        assert_eq!(feed(&mut second, 1, End::Open), 1);
        assert_eq!((ended.end(), meter.counts()), (Some(CopyEnd::NoRoom), (0, 41)));
        // What the second had is free for the first.
        assert_eq!(feed(&mut first, 40, End::Open), 40);
        assert_eq!((kept.end(), ROOM.waiting.load(Relaxed)), (None, 100));
        kept.take();
        kept.written(30);
        assert_eq!(ROOM.waiting.load(Relaxed), 70);
        drop((first, kept));
        assert_eq!(ROOM.waiting.load(Relaxed), 0);
    }

    #[test]
    fn what_nobody_writes_is_missed_and_still_passes() {
        let (mut stage, copy, meter) = mirror();
        feed(&mut stage, 5, End::Open);
        assert!(copy.give_up());
        assert_eq!(feed(&mut stage, 6, End::Stopped), 6);
        assert_eq!((copy.end(), meter.counts()), (Some(CopyEnd::GivenUp), (0, 11)));
    }

    #[test]
    fn a_stage_that_is_dropped_ends_the_copy() {
        let (stage, copy, _) = mirror();
        drop(stage);
        assert_eq!(copy.end(), Some(CopyEnd::Stopped));
    }
}
