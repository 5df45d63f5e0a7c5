//! Plays stages by hand: feeds bytes, an end or time, and compares the actions that result. No socket, no clock.

use std::{
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{End, Outbox, Progress, Stage, Stages, chain::Nothing, framing::message_stage::MessageStage, outbox::Finish};
use crate::words::{chunk::Chunk, outcome::CloseReason};

/// An action of a direction, seen from its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Write(Bytes),
    Fin,
    Reset(CloseReason),
    /// FIN to both sides.
    Close(CloseReason),
    /// The stages have failed: the connection ends at once.
    Fail(CloseReason),
}

/// The stages of one direction, their output, and a clock for them.
#[derive(Debug)]
pub(crate) struct Playbook {
    stages: Stages,
    hook: Box<dyn Stage>,
    out: Outbox,
    now: Instant,
    waits: bool,
    finish: Option<(Finish, Option<Instant>)>,
    seen: Vec<Action>,
    /// The number of bytes that were fed or added, without those that were dropped.
    come: u64,
}

impl Playbook {
    /// Returns a playbook of stages without a hook among them.
    pub(crate) fn of(stages: Stages) -> Self {
        Self::with_hook(stages, Nothing)
    }

    /// Returns a playbook of stages with `hook` in the hook's place.
    pub(crate) fn with_hook(stages: Stages, hook: impl Stage + 'static) -> Self {
        let now = Instant::now();
        Self { stages, hook: Box::new(hook), out: Outbox::at(now), now, waits: false, finish: None, seen: Vec::new(), come: 0 }
    }

    /// Feeds bytes behind which more may come.
    #[track_caller]
    pub(crate) fn feed(&mut self, bytes: impl Into<Bytes>) -> &mut Self {
        self.feed_with(bytes, End::Open)
    }

    /// Feeds the last bytes (or none), with the source's FIN.
    #[track_caller]
    pub(crate) fn finish(&mut self, bytes: impl Into<Bytes>) -> &mut Self {
        self.feed_with(bytes, End::Finished)
    }

    /// Feeds the last bytes (or none) of a direction that is ended from outside.
    #[track_caller]
    pub(crate) fn stop(&mut self, bytes: impl Into<Bytes>) -> &mut Self {
        self.feed_with(bytes, End::Stopped)
    }

    #[track_caller]
    fn feed_with(&mut self, bytes: impl Into<Bytes>, end: End) -> &mut Self {
        assert!(!self.waits, "a direction whose stages wait is not read");
        let bytes = bytes.into();
        self.come += bytes.len() as u64;
        // As the relay does: bytes that pass all stages are not fed, unless some wait for their time.
        let is_short = end == End::Open && self.out.is_done();
        let first = if is_short { self.stages.pass(&mut *self.hook, &bytes) } else { Some(0) };
        let Some(first) = first else {
            self.seen.push(Action::Write(bytes));
            return self;
        };
        let progress = self.stages.feed_from(first, &mut *self.hook, bytes.into(), end, &mut self.out);
        self.note(progress)
    }

    /// Wakes the connection from outside.
    pub(crate) fn wake(&mut self) -> &mut Self {
        let progress = self.stages.resume(&mut *self.hook, &mut self.out);
        self.note(progress)
    }

    /// Lets time pass. Stages are resumed at each instant that they have requested.
    pub(crate) fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some(at) = self.out.wakes_at().filter(|at| *at <= end) {
            self.set_now(at.max(self.now));
            self.out.woken();
            self.wake();
        }
        self.set_now(end);
        self.collect();
        self
    }

    /// Expects these actions since the last call, no other, and in this order.
    #[track_caller]
    pub(crate) fn expect(&mut self, actions: impl IntoIterator<Item = Action>) -> &mut Self {
        let expected: Vec<_> = actions.into_iter().collect();
        assert_eq!(mem::take(&mut self.seen), expected);
        self
    }

    /// Takes the actions since the last call.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        mem::take(&mut self.seen)
    }

    /// Expects that the stages wait, so that the direction is not read; or that it is.
    #[track_caller]
    pub(crate) fn expect_waiting(&mut self, waits: bool) -> &mut Self {
        assert_eq!(self.waits, waits);
        self
    }

    /// Puts another framer in its place.
    pub(crate) fn set_framer(&mut self, framer: Option<MessageStage>, read: u64) -> &mut Self {
        self.stages.set_framer(framer, read);
        self.wake()
    }

    /// Changes the stages of the live direction.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Stages)) -> &mut Self {
        edit(&mut self.stages);
        self.wake()
    }

    /// Puts others in the places of the faults, as the relay does.
    pub(crate) fn set_faults<M: FnOnce(u64) -> Box<dyn Stage>>(&mut self, wanted: Vec<(u64, M)>) -> &mut Self {
        let come = self.come;
        self.edit(|stages| stages.set_faults(wanted, come))
    }

    /// Ends the direction from outside: stages that wait may let go.
    pub(crate) fn end_from_outside(&mut self) -> &mut Self {
        self.out.set_ending(true);
        self.wake()
    }

    /// Returns the bytes of memory that the stages keep.
    pub(crate) fn kept(&self) -> usize {
        self.stages.kept()
    }

    fn set_now(&mut self, now: Instant) {
        self.now = now;
        self.out.set_now(now);
    }

    fn note(&mut self, mut progress: Progress) -> &mut Self {
        // The relay writes what there is, then lets the stages go on.
        while matches!(progress, Progress::Again) {
            self.collect();
            progress = self.stages.resume(&mut *self.hook, &mut self.out);
        }
        self.waits = matches!(progress, Progress::Waiting);
        let (added, dropped) = self.out.take_figures();
        self.come = self.come + added as u64 - dropped as u64;
        self.collect();
        if let Progress::Failed(failed) = progress {
            self.seen.push(Action::Fail(failed.reason));
        }
        self
    }

    /// Writes the pieces that are due by now.
    fn collect(&mut self) {
        while !self.out.is_empty() && self.out.next_due().is_none_or(|due| due <= self.now) {
            let (bytes, _) = self.out.next_piece().expect("it is not empty");
            self.seen.push(Action::Write(bytes));
        }
        if self.finish.is_none() {
            self.finish = self.out.take_finish();
        }
        let due = |(_, due): &mut (Finish, Option<Instant>)| due.is_none_or(|due| due <= self.now);
        if self.out.is_empty()
            && let Some((finish, _)) = self.finish.take_if(due)
        {
            self.seen.push(match finish {
                Finish::Fin => Action::Fin,
                Finish::Reset(failed) => Action::Reset(failed.reason),
                Finish::Close(failed) => Action::Close(failed.reason),
            });
        }
    }
}

/// Bytes that the destination gets.
pub(crate) fn write(bytes: &'static [u8]) -> Action {
    Action::Write(Bytes::from_static(bytes))
}

/// Sends each piece on after a while.
#[derive(Debug)]
pub(crate) struct Later(pub Duration);

impl Stage for Later {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        let due = out.now() + self.0;
        out.push_at(chunk, due);
        if end == End::Finished {
            out.end_at(due);
        }
        Progress::Moved
    }
}

mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Says something of its own when nothing was fed for a while.
    #[derive(Debug)]
    struct Beat(Option<Instant>);

    impl Stage for Beat {
        fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
            self.0 = (end == End::Open).then(|| out.now() + 10 * MS);
            self.0.into_iter().for_each(|at| out.wake_at(at));
            Nothing.feed(chunk, end, out)
        }

        fn resume(&mut self, out: &mut Outbox) -> Progress {
            if self.0.take_if(|at| *at <= out.now()).is_some() {
                out.add(Bytes::from_static(b"!"));
            }
            // A requested instant is forgotten at the first resume, so each is requested again.
            self.0.into_iter().for_each(|at| out.wake_at(at));
            Progress::Moved
        }
    }

    #[test]
    fn without_stages_all_passes_at_once() {
        let mut book = Playbook::of(Stages::default());
        book.feed("ab").expect([write(b"ab")]).feed("c").finish("d").expect([write(b"c"), write(b"d"), Action::Fin]);
        book.pass(1000 * MS).expect([]).expect_waiting(false);
    }

    #[test]
    fn pieces_go_out_when_they_are_due_and_the_end_behind_them() {
        let mut book = Playbook::of(Stages::default().after_hook(Later(5 * MS)));
        book.feed("a").pass(3 * MS).finish("b").expect([]);
        book.pass(MS).expect([]).pass(MS).expect([write(b"a")]);
        book.pass(2 * MS).expect([]).pass(MS).expect([write(b"b"), Action::Fin]);
    }

    #[test]
    fn a_piece_that_is_due_waits_for_the_one_before_it() {
        let mut book = Playbook::of(Stages::default());
        book.out.push_at(Bytes::from_static(b"late"), book.now + 5 * MS);
        book.feed("soon").expect([]).pass(5 * MS).expect([write(b"late"), write(b"soon")]);
    }

    #[test]
    fn a_stage_is_woken_at_the_instant_that_it_asked_for() {
        let mut book = Playbook::of(Stages::default().before_hook(Beat(None)));
        book.feed("a").pass(9 * MS).expect([write(b"a")]).feed("b").pass(9 * MS).expect([write(b"b")]);
        book.pass(MS).expect([write(b"!")]).finish("").pass(100 * MS).expect([Action::Fin]);
    }

    #[test]
    fn a_direction_that_is_stopped_has_no_fin_of_a_stage() {
        Playbook::of(Stages::default().after_hook(Later(MS))).stop("ab").pass(MS).expect([write(b"ab")]);
    }
}
