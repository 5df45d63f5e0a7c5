//! Failed sides, and the rest of the relay's work for them.

use std::{
    io,
    task::{Context, Poll},
};

use super::{
    peer_timeout,
    state::Relay,
    turn::{Fault, STEPS, TURN, Turn},
};
use crate::{
    io::{
        errno::is_behind_fin,
        stream::{Socket, Stream},
    },
    words::{
        direction::{Side, Sides},
        stats::Meter,
    },
};

impl Relay<'_> {
    /// Reads and drops the bytes that a side still sends to one that has failed. A side that is blocked in sending would not
    /// take the rest of its own bytes. Not counted as progress for a time limit.
    pub(super) fn discard(&mut self, scratch: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let alive = match (&self.failures.client, &self.failures.upstream) {
            (Some(_), None) => Side::Upstream,
            (None, Some(_)) => Side::Client,
            _ => return turn,
        };
        let direction = alive.sends();
        if self.pumps[direction.opposite()].is_over() {
            return turn;
        }
        let meter = &self.order.shared.meters[direction];
        let has_ended = &mut self.pumps[direction].source_ended;
        turn = discard(&mut self.streams[alive], has_ended, meter, scratch, cx);
        if let Some(Fault::Source(error)) = turn.fault.take() {
            turn.failed = self.side_failed(alive, error);
        }
        turn
    }

    /// Runs a requested check, and fails the sides whose peers have acknowledged nothing for too long.
    pub(super) fn check_peers(&mut self) -> bool {
        let checks = &self.order.shared.control.keepalive_checks;
        if !checks.take() {
            return false;
        }
        let lost = self.peer_timeout.check(checks, self.order.timeouts, &self.streams, &self.failures);
        for side in Side::ALL.into_iter().filter(|side| lost[*side]) {
            // The socket has not failed, so no read would ever report its end.
            self.pumps[side.sends()].end();
            self.side_failed(side, peer_timeout::error());
        }
        lost.client || lost.upstream
    }

    /// Checks for the failure of a side that is not being read.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        let mut failed = false;
        for side in Side::ALL {
            if !self.pumps[side.sends()].is_reading()
                && self.failures[side].is_none()
                && let Poll::Ready(error) = self.streams[side].poll_failure(cx)
            {
                failed |= self.side_failed(side, error);
            }
        }
        failed
    }

    /// Returns the sides that have failed.
    pub(super) fn failed_sides(&self) -> Sides<bool> {
        Sides { client: self.failures.client.is_some(), upstream: self.failures.upstream.is_some() }
    }

    /// Resets a side that had failed before this turn and whose socket still works: no read would ever report its end, and
    /// its peer must not wait for that either. Returns whether a pump has work because of it.
    pub(super) fn end_survivors(&mut self, failed_before: Sides<bool>) -> bool {
        let mut begins = false;
        for side in Side::ALL {
            let survives =
                failed_before[side] && self.failures[side].as_ref().is_some_and(|error| survives(&self.streams[side], error));
            if survives {
                self.streams[side].abort_on_close();
                begins |= self.pumps[side.sends()].end();
            }
        }
        begins
    }

    /// Fails this relay's empty side, because the side that another connection carries has failed.
    pub(super) fn fail_alone(&mut self) {
        if self.has_failed() {
            return;
        }
        let side = if self.streams.client.is_nowhere() { Side::Client } else { Side::Upstream };
        self.pumps[side.sends()].end();
        self.side_failed(side, io::ErrorKind::ConnectionReset.into());
    }

    /// Records the failure of a side. Nothing more reaches it; bytes that it sent before are still read and delivered, then
    /// the other side is aborted.
    pub(super) fn side_failed(&mut self, side: Side, error: io::Error) -> bool {
        if !self.has_failed() {
            self.failed_first = side;
        }
        let sends = side.sends();
        self.pumps[sends].source_failed(is_behind_fin(&error) && !survives(&self.streams[side], &error));
        self.failures[side].get_or_insert(error);
        self.pumps[sends.opposite()].cut(self.order.shared, sends.opposite());
        true
    }
}

/// Returns true if a side's socket still works after a call failed with `error`.
fn survives(stream: &Stream, error: &io::Error) -> bool {
    stream.transport().is_some_and(|socket| socket.survives(error))
}

/// Reads bytes that cannot be delivered any more.
fn discard(source: &mut Stream, has_ended: &mut bool, meter: &Meter, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
    let mut turn = Turn::default();
    let (mut read, mut steps) = (0, 0);
    source.raw().map(Socket::clear_low_water);
    while !*has_ended {
        steps += 1;
        match source.poll_read(cx, buffer) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => *has_ended = true,
            Poll::Ready(Ok(bytes)) => {
                meter.read(bytes);
                meter.undeliverable(bytes);
                read += bytes;
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => {
                *has_ended = true;
                turn.fault = Some(Fault::Source(error));
            }
        }
        if read >= TURN || steps >= STEPS {
            turn.more = true;
            break;
        }
    }
    turn
}
