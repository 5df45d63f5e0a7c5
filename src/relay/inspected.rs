//! What a direction passes between being read and being written: the hooks, where somebody wants them.

use crate::{
    config::Splice,
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
    /// Whether what nobody looks at may be spliced.
    pub splice: Splice,
}

impl<'a> Stage<'a> {
    /// Nobody looks.
    pub(super) fn native(direction: Direction, splice: Splice) -> Self {
        Self { attendant: None, direction, chunks: false, end: false, opposite_stalled: false, splice }
    }

    pub(super) fn of(attendant: &'a Attendant, direction: Direction, opposite_stalled: bool) -> Self {
        let interest = attendant.interest();
        let (chunks, end) = (interest.has(Interest::recv(direction)), interest.has(Interest::EOF));
        // A lane's thread may have SIGPIPE open, which a splice to a peer that has gone would raise.
        Self { attendant: Some(attendant), direction, chunks, end, opposite_stalled, splice: Splice::Never }
    }

    /// Whether a hook is asked at all.
    pub(super) fn asks(&self) -> bool {
        self.chunks || self.end
    }

    /// Whether no more is to be read now. A hook may have ended the direction, or all: then nothing more is shown, and
    /// the task was woken to see to it. Or it answers chunks into the opposite direction: while that holds answers
    /// enough, or stands still and holds any, no more is asked for.
    pub(super) fn is_held(&self, shared: &Shared) -> bool {
        let control = &shared.control;
        let ended = || control.command().is_some() || control.ended.has(self.direction);
        let answered = || self.chunks && shared.has_injected_enough(self.direction.opposite());
        self.asks() && (ended() || self.opposite_stalled && self.has_answers(shared) || answered())
    }

    /// Whether what a hook may have answered waits for the opposite direction.
    pub(super) fn has_answers(&self, shared: &Shared) -> bool {
        self.chunks && shared.has_injected(self.direction.opposite())
    }

    /// What of the thread's buffer one read may fill.
    pub(super) fn room<'b>(&self, buffer: &'b mut [u8]) -> &'b mut [u8] {
        match self.attendant {
            Some(attendant) if self.chunks => {
                let most = attendant.hooked.chunk.min(buffer.len());
                &mut buffer[..most]
            }
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
