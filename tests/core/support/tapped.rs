//! Filters that only look.

use std::sync::Arc;

use interpose::{
    inspect::filters::{Filters, look::Look},
    taps::{event::Place, queue::Queue},
    words::direction::Both,
};

/// Returns filters of which one puts everything that it sees into `queue`.
pub fn tap_filters(queue: &Arc<Queue>, places: &[Place]) -> Filters {
    let directions = Both { to_upstream: true, to_client: true };
    Arc::new([Arc::new(Look {
        witness: queue.clone(),
        directions,
        places: places.to_vec(),
        out_if_changed: false,
        messages: false,
    })])
}
