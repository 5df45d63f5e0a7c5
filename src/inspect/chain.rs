//! The stages of one direction, in order, with the hook's place among them.

mod anew;
mod link;
mod replaced;

use std::{mem, time::Instant};

use bytes::Bytes;

use self::link::{Link, LinkState};
use crate::{
    inspect::{
        framing::{ReplacedMessages, message_stage::MessageStage},
        outbox::{Finish, Outbox, Piece},
        stage::{End, Progress, Stage},
    },
    words::chunk::Chunk,
};

/// The stages of one direction: those before the hook, and those behind it.
pub type FilterStages = (Vec<Box<dyn Stage>>, Vec<Box<dyn Stage>>);

/// The stages of one direction: those that see the bytes as they were read (a mirror), those before the hook (a framer, then
/// filters), the hook's place, those behind it (faults).
///
/// Between two stages lies at most what one of them has made of one call: the direction is not read while something lies
/// there, and a stage is called only while all stages behind it take more and have nothing to do. So a framer cuts a message
/// once everything behind it has acted on the one before.
#[derive(Debug)]
pub struct Stages {
    links: Vec<Link>,
    /// The number of stages at the source, before which no framer stands.
    at_source: usize,
    /// The hook's place among the links.
    hook: usize,
    /// The framer's place, if there is one.
    framer: Option<usize>,
    /// The numbers of filters directly before and directly behind the hook.
    filters: (usize, usize),
    /// The rules of the framer, for stages that replace messages.
    messages: Option<ReplacedMessages>,
    /// The end of the connection that a stage has asked for, behind what the stages behind it still have.
    reset: Option<(Finish, Option<Instant>)>,
    /// The number of bytes that the hook has been asked about and has not answered.
    asked: usize,
}

/// The next thing to do.
#[derive(Debug)]
enum Due {
    Feed(usize, Piece, End),
    Resume(usize),
    Nothing,
}

impl Default for Stages {
    fn default() -> Self {
        let links = vec![Link::default()];
        Self { links, at_source: 0, hook: 0, framer: None, filters: (0, 0), messages: None, reset: None, asked: 0 }
    }
}

impl Stages {
    /// Adds a stage before the hook, behind those that stand there.
    #[must_use]
    pub fn before_hook(mut self, stage: impl Stage + 'static) -> Self {
        self.insert(self.hook, Box::new(stage));
        self
    }

    /// Adds a stage behind the hook, behind those that stand there.
    #[must_use]
    pub fn after_hook(mut self, stage: impl Stage + 'static) -> Self {
        self.insert(self.links.len(), Box::new(stage));
        self
    }

    /// Inserts a stage before all others, also before a framer that comes later: it is fed what was read, as it was read.
    pub(crate) fn insert_at_source(&mut self, stage: Box<dyn Stage>) {
        self.insert(0, stage);
        self.at_source += 1;
    }

    /// Inserts a stage at a place: 0 is the first; the hook's place counts, and one beyond the last is behind that. Takes effect
    /// from the next feed on.
    pub fn insert(&mut self, at: usize, stage: Box<dyn Stage>) {
        let at = at.min(self.links.len());
        let mut link = Link { stage: Some(stage), ..Link::default() };
        if let (Some(stage), Some(messages), Some(framer)) = (&mut link.stage, &self.messages, self.framer)
            && at > framer
        {
            stage.framed(Some(messages));
        }
        if let Some(displaced) = self.links.get_mut(at) {
            // Bytes that wait there have not been fed to any stage behind the place.
            (link.queue, link.end, link.end_due) =
                (mem::take(&mut displaced.queue), mem::take(&mut displaced.end), displaced.end_due.take());
            if displaced.state == LinkState::Ended {
                link.state = LinkState::Ended;
            }
        }
        self.links.insert(at, link);
        if at < self.at_source {
            self.at_source += 1;
        }
        if at <= self.hook {
            self.hook += 1;
        }
        self.framer = self.framer.map(|framer| if at <= framer { framer + 1 } else { framer });
    }

    /// Puts a framer in the place of the one before, or at the first place behind the stages at the source. Bytes that the one before keeps go to the new
    /// one; without a new one they go to the stage behind it. `read` is the number of bytes of the source so far.
    pub(crate) fn set_framer(&mut self, framer: Option<MessageStage>, read: u64) {
        let at = self.framer.unwrap_or(self.at_source);
        if self.framer.is_some() {
            self.remove(at);
        }
        self.messages = framer.as_ref().map(MessageStage::replaced_messages);
        for stage in self.links.iter_mut().skip(self.at_source).filter_map(|link| link.stage.as_mut()) {
            stage.framed(self.messages.as_ref());
        }
        if let Some(framer) = framer {
            let waiting: usize = self.links.iter().take(at + 1).flat_map(|link| &link.queue).map(|piece| piece.bytes.len()).sum();
            self.insert(at, Box::new(framer.beginning_at(read.saturating_sub(waiting as u64))));
            self.framer = Some(at);
        }
    }

    /// Returns the number of places, the hook's included.
    pub fn places(&self) -> usize {
        self.links.len()
    }

    /// Returns the hook's place.
    pub fn hook_place(&self) -> usize {
        self.hook
    }

    /// Returns true if there is nothing but the hook's place, and nothing waits for that.
    pub(crate) fn has_only_the_hook(&self) -> bool {
        matches!(&self.links[..], [hook] if hook.is_at_rest())
    }

    /// Shows bytes behind which more may come to the stages, up to the first that they do not pass. Returns the place from which
    /// on they are to be fed; `None` if they pass all stages as they are.
    pub(crate) fn pass(&mut self, hook: &mut dyn Stage, bytes: &[u8]) -> Option<usize> {
        if self.reset.is_some() || !self.links.iter().all(Link::is_empty) {
            return Some(0);
        }
        self.links.iter_mut().position(|link| match &mut link.stage {
            Some(stage) => !stage.passes(bytes),
            None => !hook.passes(bytes),
        })
    }

    /// Feeds all stages bytes of the source and what lies behind them. `hook` stands in its place.
    pub fn feed(&mut self, hook: &mut dyn Stage, chunk: impl Into<Chunk>, end: End, out: &mut Outbox) -> Progress {
        self.feed_from(0, hook, chunk.into(), end, out)
    }

    /// Feeds the stages from a place on: bytes that those before it have let [pass](Self::pass).
    pub(crate) fn feed_from(&mut self, first: usize, hook: &mut dyn Stage, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        out.go_on();
        if let Some(link) = self.links[first..].iter_mut().find(|link| !matches!(link.state, LinkState::Ended)) {
            if !chunk.is_empty() {
                link.queue.push_back(Piece { bytes: chunk, due: None });
            }
            link.end = end;
        }
        self.run(0, hook, out)
    }

    /// Returns the bytes of memory that the stages keep.
    pub(crate) fn kept(&self) -> usize {
        self.links.iter().filter_map(|link| link.stage.as_ref()).map(|stage| stage.kept()).sum()
    }

    /// Returns true if no stage keeps bytes.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.links.iter().filter_map(|link| link.stage.as_ref()).all(|stage| stage.kept() == 0 && stage.held() == 0)
    }

    /// Makes what the stages keep independent of memory that the next read is to use. Returns false if there is no memory for
    /// that.
    pub(crate) fn make_lasting(&mut self) -> bool {
        self.links.iter_mut().filter_map(|link| link.stage.as_mut()).all(|stage| stage.make_lasting())
    }

    /// Returns false while a stage behind the hook waits: then bytes that the hook does not see wait as well.
    pub(crate) fn takes_injected(&self) -> bool {
        self.links[self.hook + 1..].iter().all(Link::is_at_rest)
    }

    /// Feeds the stages behind the hook bytes that the hook has not seen, such as injected ones.
    pub fn inject(&mut self, hook: &mut dyn Stage, bytes: Bytes, out: &mut Outbox) -> Progress {
        out.go_on();
        match self.links.get_mut(self.hook + 1) {
            Some(link) if link.state != LinkState::Ended => {
                out.note_figures((bytes.len(), 0));
                link.queue.push_back(Piece { bytes: bytes.into(), due: None });
            }
            _ => out.add(bytes),
        }
        // Those before have their turn once the hook may be called.
        self.run(self.hook + 1, hook, out)
    }

    /// Lets every stage go on that waits or acts because of the time, then feeds what lies between the stages.
    pub fn resume(&mut self, hook: &mut dyn Stage, out: &mut Outbox) -> Progress {
        out.go_on();
        for at in 0..self.links.len() {
            if matches!(self.links[at].state, LinkState::Again(_)) {
                continue;
            }
            let progress = self.call(at, hook, out, |stage, out| stage.resume(out));
            if let Some(failed) = self.note(at, progress, End::Open) {
                return failed;
            }
        }
        self.run(0, hook, out)
    }

    /// Returns the next action of the stages from `first` on: of the last that has something to do, unless one behind it
    /// waits.
    fn due(&mut self, first: usize) -> Due {
        for at in (first..self.links.len()).rev() {
            match self.links[at].state {
                LinkState::Waiting(_) => break,
                LinkState::Again(_) => return Due::Resume(at),
                LinkState::Open | LinkState::Ended => {}
            }
            if let Some((piece, end)) = self.links[at].next() {
                return Due::Feed(at, piece, end);
            }
        }
        Due::Nothing
    }

    /// Feeds what lies between the stages, and lets those go on that have more to write, as far as the stages take it and the
    /// relay need not act.
    fn run(&mut self, first: usize, hook: &mut dyn Stage, out: &mut Outbox) -> Progress {
        loop {
            let (at, progress, end) = match self.due(first) {
                Due::Feed(at, Piece { bytes, due }, end) => {
                    out.set_floor(due);
                    let progress = self.call(at, hook, out, |stage, out| stage.feed(bytes, end, out));
                    out.set_floor(None);
                    (at, progress, end)
                }
                Due::Resume(_) if out.is_paused() => return Progress::Again,
                Due::Resume(at) => (at, self.call(at, hook, out, |stage, out| stage.resume(out)), End::Open),
                Due::Nothing => break,
            };
            if let Some(failed) = self.note(at, progress, end) {
                return failed;
            }
        }
        let from = self.links.iter().rposition(|link| link.has_reset).map_or(0, |at| at + 1);
        if self.links[from..].iter().all(Link::is_at_rest)
            && let Some(reset) = self.reset.take()
        {
            out.set_finish(reset);
        }
        if !self.links.iter().all(Link::is_at_rest) {
            let waits = self.links.iter().any(|link| matches!(link.state, LinkState::Waiting(_)));
            return if waits { Progress::Waiting } else { Progress::Again };
        }
        self.links.retain(|link| !link.is_rest);
        Progress::Moved
    }

    /// Records a stage's progress, behind which lies `end`. Returns a failure.
    fn note(&mut self, at: usize, progress: Progress, end: End) -> Option<Progress> {
        let state = self.links[at].state;
        let end = match (state, end) {
            (LinkState::Waiting(end) | LinkState::Again(end), End::Open) => end,
            _ => end,
        };
        self.links[at].state = match (progress, end) {
            (failed @ Progress::Failed(_), _) => return Some(failed),
            _ if state == LinkState::Ended => LinkState::Ended,
            (Progress::Waiting, end) => LinkState::Waiting(end),
            (Progress::Again, end) => LinkState::Again(end),
            (Progress::Moved, End::Open) => LinkState::Open,
            (Progress::Moved, end) => {
                if end == End::Stopped
                    && let Some(next) = self.links.get_mut(at + 1)
                    && next.state != LinkState::Ended
                {
                    next.end = End::Stopped;
                }
                LinkState::Ended
            }
        };
        None
    }

    /// Calls one stage. The pieces of all but the last go into the next one's queue.
    fn call(
        &mut self,
        at: usize,
        hook: &mut dyn Stage,
        out: &mut Outbox,
        act: impl FnOnce(&mut dyn Stage, &mut Outbox) -> Progress,
    ) -> Progress {
        let is_last = at + 1 == self.links.len();
        let stage: &mut dyn Stage = match &mut self.links[at].stage {
            Some(stage) => &mut **stage,
            None => hook,
        };
        if is_last {
            return act(stage, out);
        }
        let mut between = out.between();
        let progress = act(stage, &mut between);
        let next = &mut self.links[at + 1];
        while let Some(piece) = between.take_piece() {
            next.queue.push_back(piece);
        }
        match between.take_finish() {
            None => {}
            Some((Finish::Fin, due)) => (next.end, next.end_due) = (End::Finished, due),
            Some(reset) => {
                self.reset = Some(reset);
                // The stages behind it let go what they keep, each at its time.
                if next.state != LinkState::Ended {
                    (next.end, next.end_due) = (End::Stopped, None);
                }
                self.links[at].has_reset = true;
            }
        }
        out.absorb(between);
        progress
    }
}

/// A place without a stage: every piece passes.
#[derive(Debug)]
pub struct Nothing;

impl Stage for Nothing {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        out.push(chunk);
        if end == End::Finished {
            out.end();
        }
        Progress::Moved
    }
}

#[cfg(test)]
mod tests;
