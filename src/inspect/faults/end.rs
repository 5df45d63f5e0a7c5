//! The end of a direction that comes later.

use std::time::Duration;

use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// Delays the end, and nothing else.
#[derive(Debug)]
pub struct SlowEnd(pub(super) Duration);

impl Stage for SlowEnd {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        out.push(chunk);
        if end == End::Finished {
            let due = out.now() + self.0;
            out.end_at(due);
        }
        Progress::Moved
    }
}
