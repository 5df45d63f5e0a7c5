//! A filter that only looks.

use std::sync::Arc;

use super::{Filter, Position, tap::TapStage};
use crate::{
    inspect::Stage,
    taps::{event::Place, grep::Target, witness::Witness},
    words::direction::{Both, Direction},
};

/// Shows connections to a tap.
#[derive(Debug)]
pub struct Look {
    /// The queue of a tap, or another witness.
    pub witness: Arc<dyn Witness>,
    /// The directions whose bytes are shown.
    pub directions: Both<bool>,
    /// The places at which they are shown.
    pub places: Vec<Place>,
    /// True if bytes are shown as they are sent on only where something may change what passes.
    pub out_if_changed: bool,
    /// True if whole messages are shown where the server has a framing.
    pub messages: bool,
}

impl Look {
    fn is_at(&self, place: Place, direction: Direction) -> bool {
        self.directions[direction] && self.places.contains(&place)
    }
}

impl Filter for Look {
    fn stage(&self, at: Position) -> Option<Box<dyn Stage>> {
        let is_the_same = self.out_if_changed && at.place == Place::Out && !at.changes;
        (self.is_at(at.place, at.direction) && !is_the_same)
            .then(|| Box::new(TapStage::new(Arc::clone(&self.witness), at)) as Box<dyn Stage>)
    }

    fn wants_messages(&self, direction: Direction) -> bool {
        self.messages && self.is_at(Place::In, direction)
    }

    fn target(&self) -> Option<Target> {
        Some(Target { witness: Arc::clone(&self.witness), directions: self.directions, places: self.places.clone() })
    }

    fn witness(&self) -> Option<&Arc<dyn Witness>> {
        Some(&self.witness)
    }
}
