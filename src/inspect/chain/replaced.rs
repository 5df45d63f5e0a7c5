//! Filters and faults of a live direction, replaced by others.

use std::mem;

use super::{
    FilterStages, Nothing, Stages,
    link::{Link, LinkState},
};
use crate::inspect::{
    outbox::Piece,
    stage::{End, Stage},
};

impl Stages {
    /// Takes the stage at a place out. Bytes that it keeps, those that wait for it, and an end that it was fed and waits with go
    /// to the one behind it, at once. Returns None for the hook's place, and for one that does not exist.
    pub fn remove(&mut self, at: usize) -> Option<Box<dyn Stage>> {
        if at == self.hook || at >= self.links.len() {
            return None;
        }
        let mut link = self.links.remove(at);
        if at < self.at_source {
            self.at_source -= 1;
        }
        if at < self.hook {
            self.hook -= 1;
        }
        self.framer = self.framer.filter(|framer| *framer != at).map(|framer| if at < framer { framer - 1 } else { framer });
        link.fault = None;
        let mut stage = link.stage.take()?;
        for bytes in stage.release().into_iter().rev().filter(|bytes| !bytes.is_empty()) {
            link.queue.push_front(Piece { bytes, due: None });
        }
        if let LinkState::Waiting(end) | LinkState::Again(end) = link.state
            && link.end == End::Open
        {
            link.end = end;
        }
        if at == self.links.len() {
            // The outbox is behind the last stage. Remaining pieces reach it through an empty place.
            if !link.queue.is_empty() || link.end != End::Open {
                link.stage = Some(Box::new(Nothing));
                (link.state, link.is_rest) = (LinkState::Open, true);
                self.links.push(link);
            }
        } else if let Some(next) = self.links.get_mut(at) {
            // What the stage has let go comes behind what waits for the next one already.
            next.queue.append(&mut link.queue);
            if link.end != End::Open {
                (next.end, next.end_due) = (link.end, link.end_due);
            }
        }
        Some(stage)
    }

    /// Puts filters in the places of those before: directly before the hook, and directly behind it. Bytes that the ones before
    /// keep go to the stages behind them.
    pub fn set_filters(&mut self, (before, behind): FilterStages) {
        let (old_before, old_behind) = mem::take(&mut self.filters);
        for _ in 0..old_behind {
            self.remove(self.hook + 1);
        }
        for _ in 0..old_before {
            self.remove(self.hook - 1);
        }
        self.filters = (before.len(), behind.len());
        for stage in before {
            self.insert(self.hook, stage);
        }
        for (number, stage) in behind.into_iter().enumerate() {
            self.insert(self.hook + 1 + number, stage);
        }
    }

    /// Puts the stages of faults behind all others, each by the number of its fault with what makes it: called with the number
    /// of bytes that are past its place, of the `come` bytes of the direction. A stage whose fault has one already stays as it
    /// is; those of other faults are taken out.
    pub fn set_faults<M: FnOnce(u64) -> Box<dyn Stage>>(&mut self, wanted: Vec<(u64, M)>, come: u64) {
        let is_wanted = |link: &Link| link.fault.is_none_or(|fault| wanted.iter().any(|(number, _)| *number == fault));
        while let Some(at) = self.links.iter().position(|link| !is_wanted(link)) {
            self.remove(at);
        }
        let mut behind = self.links.iter().position(|link| link.fault.is_some()).unwrap_or(self.links.len());
        for (number, make) in wanted {
            match self.links.iter().position(|link| link.fault == Some(number)) {
                Some(at) => behind = at + 1,
                None => {
                    let at = behind.min(self.links.len());
                    self.insert(at, make(come.saturating_sub(self.held_before(at) as u64)));
                    self.links[at].fault = Some(number);
                    behind = at + 1;
                }
            }
        }
    }

    /// Returns the number of bytes that a stage that comes to a place is still fed, of those that have come.
    fn held_before(&self, at: usize) -> usize {
        let kept: usize = self.links[..at].iter().filter_map(|link| link.stage.as_ref()).map(|stage| stage.held()).sum();
        let queued: usize = self.links.iter().take(at + 1).map(Link::queued).sum();
        kept + queued + if at > self.hook { self.asked } else { 0 }
    }

    /// Records the bytes that the hook has been asked about and has not answered: they are not past it.
    pub(crate) fn set_asked(&mut self, bytes: usize) {
        self.asked = bytes;
    }
}
