//! The stages of one direction, in order, with the hook's place among them.

use std::{collections::VecDeque, mem, time::Instant};

use bytes::Bytes;

use crate::{
    inspect::{
        outbox::{Finish, Outbox, Piece},
        stage::{End, Progress, Stage},
    },
    words::chunk::Chunk,
};

/// The stages of one direction: those before the hook (a framer, then filters), the hook's place, those behind it (faults).
///
/// Between two stages lies at most what one of them has made of one feed: the direction is not read while something lies
/// there.
#[derive(Debug)]
pub struct Stages {
    links: Vec<Link>,
    /// The hook's place among the links.
    hook: usize,
    /// A reset that a stage has asked for, behind what still lies between the stages.
    reset: Option<(Finish, Option<Instant>)>,
}

/// A stage, and the queue of pieces that it is to be fed next.
#[derive(Debug, Default)]
struct Link {
    /// `None` in the hook's place.
    stage: Option<Box<dyn Stage>>,
    queue: VecDeque<Piece>,
    /// The end behind the queue, and the instant at which it is due.
    end: End,
    end_due: Option<Instant>,
    state: LinkState,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LinkState {
    #[default]
    Open,
    Waiting,
    /// The stage waits, and was fed the end of this kind.
    WaitingAtEnd(End),
    /// The stage was fed the end.
    Ended,
}

impl Link {
    /// Returns the next piece for the stage and the end behind it, unless the stage waits.
    fn next(&mut self) -> Option<(Piece, End)> {
        if self.state != LinkState::Open || self.queue.is_empty() && self.end == End::Open {
            return None;
        }
        let piece = self.queue.pop_front().unwrap_or_else(|| Piece { bytes: Bytes::new().into(), due: self.end_due });
        let end = if self.queue.is_empty() { mem::take(&mut self.end) } else { End::Open };
        Some((piece, end))
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, LinkState::Waiting | LinkState::WaitingAtEnd(_))
    }

    /// Returns true if nothing waits for the stage.
    fn is_at_rest(&self) -> bool {
        !self.is_waiting() && (self.state == LinkState::Ended || self.queue.is_empty() && self.end == End::Open)
    }
}

impl Default for Stages {
    fn default() -> Self {
        Self { links: vec![Link::default()], hook: 0, reset: None }
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

    /// Inserts a stage at a place: 0 is the first; the hook's place counts, and one beyond the last is behind that. Takes effect
    /// from the next feed on.
    pub fn insert(&mut self, at: usize, stage: Box<dyn Stage>) {
        let at = at.min(self.links.len());
        let mut link = Link { stage: Some(stage), ..Link::default() };
        if let Some(displaced) = self.links.get_mut(at) {
            // Bytes that wait there have not been fed to any stage behind the place.
            (link.queue, link.end, link.end_due) =
                (mem::take(&mut displaced.queue), mem::take(&mut displaced.end), displaced.end_due.take());
            if displaced.state == LinkState::Ended {
                link.state = LinkState::Ended;
            }
        }
        self.links.insert(at, link);
        if at <= self.hook {
            self.hook += 1;
        }
    }

    /// Takes the stage at a place out. Bytes that it keeps, those that wait for it, and an end that it was fed and waits with go
    /// to the one behind it. Returns None for the hook's place, and for one that does not exist.
    pub fn remove(&mut self, at: usize) -> Option<Box<dyn Stage>> {
        if at == self.hook || at >= self.links.len() {
            return None;
        }
        let mut link = self.links.remove(at);
        if at < self.hook {
            self.hook -= 1;
        }
        let mut stage = link.stage.take()?;
        let kept = stage.release();
        if !kept.is_empty() {
            link.queue.push_front(Piece { bytes: kept.into(), due: None });
        }
        if let LinkState::WaitingAtEnd(end) = link.state
            && link.end == End::Open
        {
            link.end = end;
        }
        if at == self.links.len() {
            // The outbox is behind the last stage. Remaining pieces reach it through an empty place.
            if !link.queue.is_empty() || link.end != End::Open {
                link.stage = Some(Box::new(Nothing));
                link.state = LinkState::Open;
                self.links.push(link);
            }
        } else if let Some(next) = self.links.get_mut(at) {
            next.queue.append(&mut link.queue);
            if link.end != End::Open {
                (next.end, next.end_due) = (link.end, link.end_due);
            }
        }
        Some(stage)
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

    /// Feeds all stages bytes of the source and what lies behind them. `hook` stands in its place.
    pub fn feed(&mut self, hook: &mut dyn Stage, chunk: impl Into<Chunk>, end: End, out: &mut Outbox) -> Progress {
        let chunk = chunk.into();
        if let Some(link) = self.links.iter_mut().find(|link| !matches!(link.state, LinkState::Ended)) {
            if !chunk.is_empty() {
                link.queue.push_back(Piece { bytes: chunk, due: None });
            }
            link.end = end;
        }
        self.run(hook, out)
    }

    /// Returns false while a stage behind the hook waits: then bytes that the hook does not see wait as well.
    pub(crate) fn takes_injected(&self) -> bool {
        self.links[self.hook + 1..].iter().all(Link::is_at_rest)
    }

    /// Feeds the stages behind the hook bytes that the hook has not seen, such as injected ones.
    pub fn inject(&mut self, hook: &mut dyn Stage, bytes: Bytes, out: &mut Outbox) -> Progress {
        match self.links.get_mut(self.hook + 1) {
            Some(link) if link.state != LinkState::Ended => {
                out.note_figures((bytes.len(), 0));
                link.queue.push_back(Piece { bytes: bytes.into(), due: None });
            }
            _ => out.add(bytes),
        }
        self.run(hook, out)
    }

    /// Lets every stage go on that waits or acts because of the time, then feeds what lies between the stages.
    pub fn resume(&mut self, hook: &mut dyn Stage, out: &mut Outbox) -> Progress {
        for at in 0..self.links.len() {
            let progress = self.call(at, hook, out, |stage, out| stage.resume(out));
            if let Some(failed) = self.note(at, progress, End::Open) {
                return failed;
            }
        }
        self.run(hook, out)
    }

    /// Feeds what lies between the stages, as far as they take it.
    fn run(&mut self, hook: &mut dyn Stage, out: &mut Outbox) -> Progress {
        for at in 0..self.links.len() {
            while let Some((Piece { bytes, due }, end)) = self.links[at].next() {
                out.set_floor(due);
                let progress = self.call(at, hook, out, |stage, out| stage.feed(bytes, end, out));
                out.set_floor(None);
                if let Some(failed) = self.note(at, progress, end) {
                    return failed;
                }
            }
        }
        if !self.links.iter().all(Link::is_at_rest) {
            return Progress::Waiting;
        }
        if let Some(reset) = self.reset.take() {
            out.set_finish(reset);
        }
        Progress::Moved
    }

    /// Records a stage's progress, behind which lies `end`. Returns a failure.
    fn note(&mut self, at: usize, progress: Progress, end: End) -> Option<Progress> {
        let state = self.links[at].state;
        let end = match (state, end) {
            (LinkState::WaitingAtEnd(end), End::Open) => end,
            _ => end,
        };
        self.links[at].state = match (progress, end) {
            (failed @ Progress::Failed(_), _) => return Some(failed),
            _ if state == LinkState::Ended => LinkState::Ended,
            (Progress::Waiting, End::Open) => LinkState::Waiting,
            (Progress::Waiting, end) => LinkState::WaitingAtEnd(end),
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
            Some(reset) => self.reset = Some(reset),
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
