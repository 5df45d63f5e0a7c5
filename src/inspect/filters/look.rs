//! A filter that only looks.

use std::sync::Arc;

use super::{Filter, Position, tap::TapStage};
use crate::{
    inspect::Stage,
    taps::{event::Place, grep::Target, queue::Queue},
    words::direction::{Both, Direction},
};

/// Shows connections to a tap.
#[derive(Debug)]
pub struct Look {
    /// The queue of the tap.
    pub queue: Arc<Queue>,
    /// The directions whose bytes are shown.
    pub directions: Both<bool>,
    /// The places at which they are shown.
    pub places: Vec<Place>,
}

impl Look {
    fn is_at(&self, place: Place, direction: Direction) -> bool {
        self.directions[direction] && self.places.contains(&place)
    }
}

impl Filter for Look {
    fn stage(&self, at: Position) -> Option<Box<dyn Stage>> {
        self.is_at(at.place, at.direction).then(|| Box::new(TapStage::new(Arc::clone(&self.queue), at)) as Box<dyn Stage>)
    }

    fn target(&self) -> Option<Target> {
        Some(Target { queue: Arc::clone(&self.queue), directions: self.directions, places: self.places.clone() })
    }

    fn queue(&self) -> Option<&Arc<Queue>> {
        Some(&self.queue)
    }
}
