//! Directions in which nothing comes out any more.

use std::mem;

use bytes::Bytes;

use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// Takes nothing more, so that the source meets backpressure. What it was fed goes out if it is taken away; it is dropped if
/// the connection ends.
#[derive(Debug, Default)]
pub struct Stalled {
    kept: Vec<u8>,
}

impl Stage for Stalled {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if end == End::Stopped {
            out.drop(chunk);
            return Progress::Moved;
        }
        self.kept.extend_from_slice(&chunk);
        Progress::Waiting
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        if !out.is_ending() {
            return Progress::Waiting;
        }
        out.drop(Bytes::from(mem::take(&mut self.kept)));
        Progress::Moved
    }

    fn release(&mut self) -> Vec<Chunk> {
        vec![Bytes::from(mem::take(&mut self.kept)).into()]
    }

    fn held(&self) -> usize {
        self.kept.len()
    }

    fn kept(&self) -> usize {
        self.kept.capacity()
    }
}

/// Takes everything, and sends nothing: neither bytes nor the end. The end comes if it is taken away.
#[derive(Debug, Default)]
pub struct Blackhole {
    has_ended: bool,
}

impl Stage for Blackhole {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        out.drop(chunk);
        self.has_ended = end == End::Finished;
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        // Nothing is read behind an end, so waiting holds nobody up.
        if self.has_ended && !out.is_ending() { Progress::Waiting } else { Progress::Moved }
    }
}
