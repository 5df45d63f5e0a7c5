//! One place of a chain: its stage, and what lies before it.

use std::{collections::VecDeque, mem, time::Instant};

use bytes::Bytes;

use crate::inspect::{
    outbox::Piece,
    stage::{End, Stage},
};

/// A stage, and the queue of pieces that it is to be fed next.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// `None` in the hook's place.
    pub stage: Option<Box<dyn Stage>>,
    /// The number of the fault whose stage it is.
    pub fault: Option<u64>,
    pub queue: VecDeque<Piece>,
    /// The end behind the queue, and the instant at which it is due.
    pub end: End,
    pub end_due: Option<Instant>,
    pub state: LinkState,
    /// True once the stage has ended the connection.
    pub has_reset: bool,
    /// True for a place behind all others that is only there until its queue is empty.
    pub is_rest: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum LinkState {
    #[default]
    Open,
    /// The stage waits, and was fed the end of this kind.
    Waiting(End),
    /// The stage has more to write, and was fed the end of this kind.
    Again(End),
    /// The stage was fed the end.
    Ended,
}

impl Link {
    /// Returns the next piece for the stage and the end behind it, unless the stage waits.
    pub(super) fn next(&mut self) -> Option<(Piece, End)> {
        if self.state != LinkState::Open || self.queue.is_empty() && self.end == End::Open {
            return None;
        }
        let piece = self.queue.pop_front().unwrap_or_else(|| Piece { bytes: Bytes::new().into(), due: self.end_due });
        let end = if self.queue.is_empty() { mem::take(&mut self.end) } else { End::Open };
        Some((piece, end))
    }

    /// Returns true if the stage is fed what comes next at once: it is open, and nothing lies before it.
    pub(super) fn is_empty(&self) -> bool {
        self.state == LinkState::Open && self.queue.is_empty() && self.end == End::Open
    }

    /// Returns the number of bytes that lie before the stage.
    pub(super) fn queued(&self) -> usize {
        self.queue.iter().map(|piece| piece.bytes.len()).sum()
    }

    /// Returns true if nothing waits for the stage.
    pub(super) fn is_at_rest(&self) -> bool {
        match self.state {
            LinkState::Waiting(_) | LinkState::Again(_) => false,
            LinkState::Ended => true,
            LinkState::Open => self.queue.is_empty() && self.end == End::Open,
        }
    }
}
