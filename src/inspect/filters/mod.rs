//! Filters: native stages that watch or change what passes.

use std::{fmt, sync::Arc};

use super::Stage;
use crate::{
    taps::{event::Place, queue::Queue},
    words::direction::Direction,
};

pub mod tap;

/// A filter of a server, which makes a stage for each direction of each connection.
pub trait Filter: Send + Sync + fmt::Debug {
    /// Returns the stage of a direction, before ([`Place::In`]) or behind ([`Place::Out`]) the hook; None if the filter has
    /// none there.
    fn stage(&self, connection: u64, direction: Direction, place: Place) -> Option<Box<dyn Stage>>;

    /// Returns the queue that gets the other events of connections, if the filter only looks.
    fn queue(&self) -> Option<&Arc<Queue>> {
        None
    }
}

/// The filters of a server, in their order.
pub type Filters = Arc<[Arc<dyn Filter>]>;
