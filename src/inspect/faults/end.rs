//! The end of a direction that comes later.

use std::time::{Duration, Instant};

use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// Delays the end, and nothing else.
#[derive(Debug)]
pub struct SlowEnd {
    delay: Duration,
    /// The instant of the end, once it has come.
    due: Option<Instant>,
}

impl SlowEnd {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, due: None }
    }
}

impl Stage for SlowEnd {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        out.push(chunk);
        self.due = (end == End::Finished).then(|| out.now() + self.delay);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        let Some(due) = self.due else { return Progress::Moved };
        if due > out.now() && !out.is_ending() {
            out.wake_at(due);
            return Progress::Waiting;
        }
        self.due = None;
        out.end();
        Progress::Moved
    }
}
