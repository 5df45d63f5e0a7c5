//! The faults of a live connection.

use std::{sync::Arc, time::Duration};

use crate::{
    inspect::{
        Stages,
        faults::{
            entering,
            set::{self, Fault, Place},
        },
    },
    live::shared::Shared,
    words::{direction::Direction, outcome::Failed},
};

impl Shared {
    /// Returns true if `direction` has faults of its own, and not the server's.
    pub(crate) fn has_own_faults(&self, direction: Direction) -> bool {
        self.seldom.get().is_some_and(|seldom| seldom.own_faults.has(direction))
    }

    /// Keeps the server's faults from `direction`.
    pub(super) fn own_faults(&self, direction: Direction) {
        self.seldom.get_or_init(Box::default).own_faults.add(direction);
    }

    /// Puts faults in the places of those before. For the connection's task.
    pub(crate) fn put_faults(&self, direction: Direction, faults: &[Arc<Fault>], stages: &mut Stages) {
        if set::want_messages(faults, direction) {
            self.control.filtered.add(direction);
        }
        // What hooks and filters have added and dropped counts: faults stand behind them.
        let ledger = self.meters[direction].ledger();
        let come = (ledger.read + ledger.added).saturating_sub(ledger.dropped);
        stages.set_faults(set::stages_of(faults, &self.place(direction)), come);
    }

    /// Returns how long faults delay the connecting of the upstream.
    pub(crate) fn connect_delay(&self, faults: &[Arc<Fault>]) -> Result<Duration, Failed> {
        entering::connect_delay(faults, &self.place(Direction::ToUpstream))
    }

    fn place(&self, direction: Direction) -> Place {
        let witnesses = self.seldom.get().and_then(|seldom| seldom.witnesses.get()).cloned().unwrap_or_default();
        Place { draws: Arc::clone(&self.draws), connection: self.key(), direction, witnesses }
    }
}
