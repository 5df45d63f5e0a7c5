//! Filters: native stages that watch or change what passes.

use std::{fmt, sync::Arc};

use super::{Stage, chain::FilterStages};
use crate::{
    taps::{
        event::{ConnectionKey, Place},
        grep::Target,
        witness::Witness,
    },
    words::direction::Direction,
};

pub mod gate;
pub mod look;
pub mod messages;
pub mod replace;
pub mod rewrite;
pub mod rewrite_stage;
pub mod tap;

/// A filter, which makes a stage for each direction of each connection.
pub trait Filter: Send + Sync + fmt::Debug {
    /// Returns the stage for a position; None if the filter has none there.
    fn stage(&self, at: Position) -> Option<Box<dyn Stage>>;

    /// Returns true if the filter wants whole messages of a direction, where the server has a framing.
    fn wants_messages(&self, direction: Direction) -> bool {
        let _ = direction;
        false
    }

    /// Returns true if the filter may change what passes.
    fn changes(&self) -> bool {
        false
    }

    /// Returns what another filter may show connections to, if the filter only looks.
    fn target(&self) -> Option<Target> {
        None
    }

    /// Returns the witness that gets the other events of connections, if the filter only looks.
    fn witness(&self) -> Option<&Arc<dyn Witness>> {
        None
    }
}

/// The position of a stage.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The connection.
    pub connection: ConnectionKey,
    /// The direction.
    pub direction: Direction,
    /// Before ([`Place::In`]) or behind ([`Place::Out`]) the hook.
    pub place: Place,
    /// The number of bytes of the direction that were read before the stage has its place.
    pub read: u64,
    /// True if filters, hooks or faults may change what passes on the connection.
    pub changes: bool,
}

/// The filters of a server, in their order.
pub type Filters = Arc<[Arc<dyn Filter>]>;

/// Returns true if a filter wants whole messages of a direction, where the server has a framing.
pub fn want_messages(filters: &[Arc<dyn Filter>], direction: Direction) -> bool {
    filters.iter().any(|filter| filter.wants_messages(direction))
}

/// Returns true if one of these filters may change what passes.
pub fn change(filters: &[Arc<dyn Filter>]) -> bool {
    filters.iter().any(|filter| filter.changes())
}

/// Returns the stages of filters for one direction of a connection: `at` with every place.
pub fn stages_of(filters: &[Arc<dyn Filter>], at: Position) -> FilterStages {
    let of = |place| filters.iter().filter_map(|filter| filter.stage(Position { place, ..at })).collect();
    (of(Place::In), of(Place::Out))
}
