//! What a direction passes between being read and being written: the hooks, where somebody wants them.

use super::pump::BUFFER;
use crate::{
    hooks::{Attendant, EndVerdict, Failed, Interest, Verdict},
    registry::Shared,
    stats::Direction,
};

/// The hooks of one direction for the length of a turn.
pub(super) struct Stage<'a> {
    attendant: Option<&'a Attendant>,
    direction: Direction,
    chunks: bool,
    end: bool,
    /// The opposite direction waits for its destination.
    opposite_stalled: bool,
}

impl<'a> Stage<'a> {
    /// Nobody looks.
    pub(super) fn native(direction: Direction) -> Self {
        Self { attendant: None, direction, chunks: false, end: false, opposite_stalled: false }
    }

    pub(super) fn of(attendant: &'a Attendant, direction: Direction, opposite_stalled: bool) -> Self {
        let interest = attendant.interest();
        let (chunks, end) = (interest.has(Interest::recv(direction)), interest.has(Interest::EOF));
        Self { attendant: Some(attendant), direction, chunks, end, opposite_stalled }
    }

    /// Whether a hook is asked at all.
    pub(super) fn asks(&self) -> bool {
        self.chunks || self.end
    }

    /// Whether no more is to be read now. A hook may answer a chunk into the opposite direction: while that holds
    /// answers enough, or stands still and holds any, no more is asked for.
    pub(super) fn is_held(&self, shared: &Shared) -> bool {
        let opposite = self.direction.opposite();
        self.chunks && (shared.has_injected_enough(opposite) || self.opposite_stalled && shared.has_injected(opposite))
    }

    /// What of the thread's buffer one read may fill.
    pub(super) fn room<'b>(&self, buffer: &'b mut [u8]) -> &'b mut [u8] {
        match self.attendant {
            Some(attendant) if self.chunks => &mut buffer[..attendant.hooked.chunk.min(BUFFER)],
            _ => buffer,
        }
    }

    pub(super) fn chunk(&self, data: &[u8]) -> Result<Verdict, Failed> {
        match self.attendant {
            Some(attendant) if self.chunks => {
                // Asked anew for each chunk: a hook may just have let the rest pass.
                if !attendant.interest().has(Interest::recv(self.direction)) {
                    return Ok(Verdict::Pass);
                }
                attendant.hooked.hooks.on_recv(&attendant.connection, self.direction, data)
            }
            _ => Ok(Verdict::Pass),
        }
    }

    pub(super) fn end(&self) -> Result<EndVerdict, Failed> {
        match self.attendant {
            Some(attendant) if self.end && attendant.interest().has(Interest::EOF) => {
                attendant.hooked.hooks.on_eof(&attendant.connection, self.direction)
            }
            _ => Ok(EndVerdict::Pass(Vec::new())),
        }
    }
}
