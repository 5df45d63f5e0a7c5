//! The strikes of one fault in one direction of a connection, reported to those that look.

use std::sync::Arc;

use super::{fault::Fault, random::Random};
use crate::{
    taps::{
        event::{ConnectionKey, Event, EventKind},
        witness::Witnesses,
    },
    words::direction::Direction,
};

/// Asks a fault whether it strikes, and reports that it does.
#[derive(Debug, Clone)]
pub struct Strikes {
    pub fault: Arc<Fault>,
    pub connection: ConnectionKey,
    pub direction: Direction,
    pub witnesses: Witnesses,
}

impl Strikes {
    /// Records an occurrence of the fault's condition, and returns true if it strikes there.
    pub(super) fn occurs(&self, random: &mut Random) -> bool {
        let struck = self.fault.occurs(random);
        if struck {
            self.report();
        }
        struck
    }

    /// Counts a strike that no condition has, and reports it.
    pub(super) fn count(&self) {
        self.fault.count();
        self.report();
    }

    /// Reports that the fault has struck.
    pub(super) fn report(&self) {
        let Self { fault, direction, .. } = self;
        for witness in self.witnesses.iter() {
            let kind = EventKind::Struck { direction: *direction, fault: fault.name.as_str().into() };
            witness.put(Event::now(self.connection, kind));
        }
    }
}
