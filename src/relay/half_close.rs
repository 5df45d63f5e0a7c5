//! The rule for half-closed connections: a direction ends behind its last byte, and leaves the other open.
//!
//! FIN from a source is FIN to its destination, after everything that was read before it; from then on `Timeouts::half_close`
//! limits how long the opposite direction may stand still. A source that has failed ends its direction without FIN, because
//! its end is an abort. Each direction has a phase of its own; a connection is over when both are `Ended` or `Cut`.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    stages::StageSlot,
    turn::{Ends, Fault},
};

/// How far a direction is with its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The source may send more.
    #[default]
    Open,
    /// The source has ended, and a stage withholds that from the destination, or has still to decide.
    Withheld,
    /// The source has ended, or was ended: held bytes are delivered, then the end is.
    Ending,
    /// Everything read was delivered, and the end was passed on.
    Ended,
    /// The destination failed: nothing can be delivered any more.
    Cut,
}

/// The next step of a direction that is `Ending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndStep {
    /// Bytes, or the answer of a stage, come before the end.
    Wait,
    /// The stages are fed the stop, and give up the bytes that they keep.
    StopStages,
    /// The end is passed on.
    PassOn,
}

/// The end of one direction, from its source to its destination.
#[derive(Debug, Default)]
pub(super) struct HalfClose {
    pub phase: Phase,
    /// True if the source has failed: the owner of the sockets passes its end on as an abort, not as FIN.
    failed_source: bool,
    /// True if the source has failed behind its end, and a stage has still to decide whether that end is withheld.
    failed_if_withheld: bool,
}

impl HalfClose {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Cut)
    }

    /// Lets the end come, behind held bytes. Returns true unless it is on its way already.
    pub(super) fn begin(&mut self) -> bool {
        let begins = matches!(self.phase, Phase::Open | Phase::Withheld);
        if begins {
            self.phase = Phase::Ending;
        }
        begins
    }

    /// Records the failure of the source. An orderly end that was read before stands, unless a stage withholds it: then
    /// nothing is left that could end the direction in order. `stages_wait`: a stage has still to decide.
    pub(super) fn source_failed(&mut self, behind_fin: bool, stages_wait: bool) {
        if behind_fin && self.phase == Phase::Withheld && stages_wait {
            self.failed_if_withheld = true;
            return;
        }
        self.failed_source |= !behind_fin || self.phase == Phase::Withheld;
        if self.phase == Phase::Withheld {
            self.phase = Phase::Ending;
        }
    }

    /// Ends a direction whose source has failed behind an end that the stages, as they have decided, withhold.
    pub(super) fn stages_decided(&mut self) {
        if self.failed_if_withheld && self.phase == Phase::Withheld {
            (self.failed_source, self.phase) = (true, Phase::Ending);
        }
    }

    /// Returns the next step of a direction that is `Ending`: its stages end first, and the bytes that they keep go out.
    pub(super) fn next_step(stages: &mut StageSlot, is_written: bool) -> EndStep {
        if stages.waits() {
            EndStep::Wait
        } else if stages.is_to_stop() {
            EndStep::StopStages
        } else if is_written {
            EndStep::PassOn
        } else {
            EndStep::Wait
        }
    }

    /// Passes the end on: as FIN, unless the source has failed. Returns the bytes that were injected until now: if there are
    /// any, they go out before the end. Later ones are refused.
    pub(super) fn poll_pass_on(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<VecDeque<Bytes>, Fault>> {
        let late = ends.shared.finish_inbox(ends.direction);
        if late.is_empty() {
            if !self.failed_source
                && let Err(error) = ready!(ends.destination.poll_end(cx))
            {
                return Poll::Ready(Err(Fault::Destination(error)));
            }
            self.phase = Phase::Ended;
        }
        Poll::Ready(Ok(late))
    }
}
