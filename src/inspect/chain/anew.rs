//! Stages of a direction whose source begins to speak TLS: what a framer has not cut is not plain any more.

use super::Stages;
use crate::words::chunk::Chunk;

impl Stages {
    /// Returns true if all that was read has left the stages, but what the framer has not cut.
    pub(crate) fn has_only_uncut(&self) -> bool {
        self.links.iter().enumerate().filter(|(at, _)| Some(*at) != self.framer).all(|(_, link)| {
            let is_empty = link.stage.as_ref().is_none_or(|stage| stage.held() == 0);
            is_empty && link.is_at_rest()
        })
    }

    /// Takes the bytes out that the framer has not cut: no stage behind it has seen them.
    pub(crate) fn take_uncut(&mut self) -> Vec<Chunk> {
        let Some(link) = self.framer.and_then(|at| self.links.get_mut(at)) else { return Vec::new() };
        let mut uncut = link.stage.as_mut().map(|stage| stage.release()).unwrap_or_default();
        uncut.extend(link.queue.drain(..).map(|piece| piece.bytes));
        uncut.retain(|bytes| !bytes.is_empty());
        uncut
    }

    /// Lets the stages begin anew: what comes next is the beginning of another dialogue.
    pub(crate) fn begin_anew(&mut self) {
        self.links.iter_mut().filter_map(|link| link.stage.as_mut()).for_each(|stage| stage.begin_anew());
    }
}
