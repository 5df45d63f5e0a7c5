//! The filter that rewrites what passes.

use std::sync::Arc;

use super::{Filter, Position, rewrite::Rewrite, rewrite_stage::RewriteStage};
use crate::{
    inspect::Stage,
    taps::event::Place,
    words::direction::{Both, Direction},
};

/// Rewrites what passes, before the hook.
#[derive(Debug)]
pub struct Replace {
    pub rewrite: Arc<Rewrite>,
    /// The directions that are rewritten.
    pub directions: Both<bool>,
}

impl Filter for Replace {
    fn stage(&self, at: Position) -> Option<Box<dyn Stage>> {
        let is_here = at.place == Place::In && self.directions[at.direction];
        is_here.then(|| Box::new(RewriteStage::new(Arc::clone(&self.rewrite))) as Box<dyn Stage>)
    }

    fn changes(&self) -> bool {
        true
    }

    fn wants_messages(&self, direction: Direction) -> bool {
        self.directions[direction]
    }
}
