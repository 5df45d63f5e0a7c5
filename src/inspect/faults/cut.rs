//! Ends of connections.

use std::time::Instant;

use super::stall::Stalled;
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::{
        chunk::Chunk,
        outcome::{CloseReason, Failed},
    },
};

/// How a fault ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// In order: FIN to both sides, behind everything that was sent before.
    Fin,
    /// RST to both sides, once the destination's system has everything that was sent before.
    Reset,
    /// Not at all: nothing more is read or written in the direction.
    Stall,
}

fn failed(why: &str) -> Failed {
    Failed { reason: CloseReason::Fault, error: why.to_owned() }
}

/// Ends the connection, or the direction alone, and drops what comes behind.
#[derive(Debug)]
pub struct Cut {
    /// None for the direction alone.
    how: Option<(How, Failed)>,
    is_done: bool,
}

impl Cut {
    pub(super) fn new(how: How, why: &str) -> Self {
        Self { how: Some((how, failed(why))), is_done: false }
    }

    /// Returns the end of a direction, which leaves the other open.
    pub(super) fn half() -> Self {
        Self { how: None, is_done: false }
    }

    fn strike(&mut self, out: &mut Outbox) {
        if self.is_done {
            return;
        }
        self.is_done = true;
        match self.how.take() {
            None => out.end(),
            Some((How::Reset, failed)) => out.reset(failed),
            Some((_, failed)) => out.close(failed),
        }
    }
}

impl Stage for Cut {
    fn feed(&mut self, chunk: Chunk, _: End, out: &mut Outbox) -> Progress {
        out.drop(chunk);
        self.strike(out);
        Progress::Moved
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        self.strike(out);
        Progress::Moved
    }
}

/// Ends the connection at an instant. Everything passes before.
#[derive(Debug)]
pub struct Timed {
    at: Instant,
    how: How,
    cut: Cut,
    stalled: Stalled,
}

impl Timed {
    pub(super) fn new(at: Instant, how: How, why: &str) -> Self {
        Self { at, how, cut: Cut::new(how, why), stalled: Stalled::default() }
    }

    /// Returns what becomes of the direction, if it is time.
    fn look(&mut self, out: &mut Outbox) -> Option<Progress> {
        if out.now() < self.at {
            out.wake_at(self.at);
            return None;
        }
        if self.how == How::Stall {
            return Some(self.stalled.resume(out));
        }
        self.cut.strike(out);
        Some(Progress::Moved)
    }
}

impl Stage for Timed {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if out.now() >= self.at {
            if self.how == How::Stall {
                return self.stalled.feed(chunk, end, out);
            }
            out.drop(chunk);
        } else {
            out.push(chunk);
            if end == End::Finished {
                out.end();
            }
        }
        self.look(out).unwrap_or(Progress::Moved)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        self.look(out).unwrap_or(Progress::Moved)
    }

    fn release(&mut self) -> Vec<Chunk> {
        self.stalled.release()
    }

    fn held(&self) -> usize {
        self.stalled.held()
    }

    fn kept(&self) -> usize {
        self.stalled.kept()
    }
}
