//! Filters that only look.

use std::sync::Arc;

use interpose::{
    inspect::{
        Stage,
        filters::{Filter, Filters, tap::TapStage},
    },
    taps::{event::Place, queue::Queue},
    words::direction::Direction,
};

/// Looks at both directions in some places.
#[derive(Debug)]
struct Looks {
    queue: Arc<Queue>,
    places: Vec<Place>,
}

impl Filter for Looks {
    fn stage(&self, connection: u64, direction: Direction, place: Place) -> Option<Box<dyn Stage>> {
        let queue = Arc::clone(&self.queue);
        self.places.contains(&place).then(|| Box::new(TapStage::new(queue, connection, direction, place)) as Box<dyn Stage>)
    }

    fn queue(&self) -> Option<&Arc<Queue>> {
        Some(&self.queue)
    }
}

/// Returns filters of which one puts everything that it sees into `queue`.
pub fn tap_filters(queue: &Arc<Queue>, places: &[Place]) -> Filters {
    Arc::new([Arc::new(Looks { queue: Arc::clone(queue), places: places.to_vec() })])
}
