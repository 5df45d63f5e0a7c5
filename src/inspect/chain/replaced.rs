//! Filters and faults of a live direction, replaced by others.

use std::mem;

use super::{FilterStages, Stages, link::Link};
use crate::inspect::stage::Stage;

impl Stages {
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

    /// Puts the stages of faults behind all others, each with the number of its fault. A stage whose fault has one already stays
    /// as it is; those of other faults are taken out.
    pub fn set_faults(&mut self, wanted: Vec<(u64, Box<dyn Stage>)>) {
        let is_wanted = |link: &Link| link.fault.is_none_or(|fault| wanted.iter().any(|(number, _)| *number == fault));
        while let Some(at) = self.links.iter().position(|link| !is_wanted(link)) {
            self.remove(at);
        }
        let mut behind = self.links.iter().position(|link| link.fault.is_some()).unwrap_or(self.links.len());
        for (number, stage) in wanted {
            match self.links.iter().position(|link| link.fault == Some(number)) {
                Some(at) => behind = at + 1,
                None => {
                    let at = behind.min(self.links.len());
                    self.insert(at, stage);
                    self.links[at].fault = Some(number);
                    behind = at + 1;
                }
            }
        }
    }
}
