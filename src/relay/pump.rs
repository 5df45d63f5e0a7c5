//! One direction of a relay.

use std::{
    io,
    task::{Context, Poll},
};

use crate::{io::stream::Stream, stats::Meter};

/// One read's most, and so the most a stalled direction holds: half the system calls per GiB of 64 KiB, and
/// no better beyond. The buffer belongs to the worker thread, not to the connection.
pub(super) const BUFFER: usize = 256 * 1024;

/// Bytes moved before other connections of the thread get their turn.
const TURN: usize = 4 * BUFFER;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The source may send more.
    Open,
    /// The source has ended: what is pending is delivered, then the end itself is.
    Ending,
    /// Everything read was delivered, and the end was passed on.
    Ended,
    /// The destination failed: nothing can be delivered any more.
    Cut,
}

/// Which socket failed a pump.
#[derive(Debug)]
pub(super) enum Fault {
    Source(io::Error),
    Destination(io::Error),
}

/// What a turn did.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Bytes, or an end, moved.
    pub moved: bool,
    /// There is more at once; others are let through first.
    pub more: bool,
    pub fault: Option<Fault>,
    /// The fault was taken note of.
    pub failed: bool,
}

#[derive(Debug)]
pub(super) struct Pump {
    pub phase: Phase,
    /// The source has failed: its end is passed on as an abort, by whoever owns the sockets, not as FIN.
    pub failed_source: bool,
    /// Read, but not taken by the destination yet. Empty, without memory, while the destination keeps up.
    pending: Vec<u8>,
    start: usize,
    /// The source has nothing more to read.
    source_ended: bool,
}

/// The sockets of a turn, and where its bytes are counted.
pub(super) struct Ends<'a> {
    pub source: &'a mut Stream,
    pub destination: &'a mut Stream,
    pub meter: &'a Meter,
}

impl Ends<'_> {
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.destination.poll_write(cx, data) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(bytes)) => {
                self.meter.delivered(bytes);
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

impl Pump {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Open, failed_source: false, pending: Vec::new(), start: 0, source_ended: false }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Cut)
    }

    /// Whether its source is being read, so that a read would tell of the source's failure.
    pub(super) fn is_reading(&self) -> bool {
        self.phase == Phase::Open && self.pending.is_empty()
    }

    /// Reads no more; what is pending is still delivered.
    pub(super) fn end(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Ending;
        }
    }

    /// The destination takes nothing any more.
    pub(super) fn cut(&mut self, meter: &Meter) {
        if !self.is_over() {
            meter.undeliverable(self.pending.len() - self.start);
            self.forget_pending();
            self.phase = Phase::Cut;
        }
    }

    fn forget_pending(&mut self) {
        self.pending = Vec::new();
        self.start = 0;
    }

    /// Moves what can be moved now. Without a fault and without `more`, the sockets wake the task.
    pub(super) fn turn(&mut self, mut ends: Ends<'_>, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let mut moved = 0;
        while !self.is_over() {
            match self.step(&mut ends, buffer, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(bytes)) => {
                    turn.moved = true;
                    moved += bytes;
                }
                Poll::Ready(Err(fault)) => {
                    turn.fault = Some(fault);
                    break;
                }
            }
            if moved >= TURN {
                turn.more = true;
                break;
            }
        }
        turn
    }

    /// Reads what cannot be delivered any more, after [`cut`](Self::cut).
    pub(super) fn discard(&mut self, source: &mut Stream, meter: &Meter, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let mut read = 0;
        while !self.source_ended {
            match source.poll_read(cx, buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.source_ended = true,
                Poll::Ready(Ok(bytes)) => {
                    meter.read(bytes);
                    meter.undeliverable(bytes);
                    read += bytes;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => {
                    self.source_ended = true;
                    turn.fault = Some(Fault::Source(error));
                }
            }
            if read >= TURN {
                turn.more = true;
                break;
            }
        }
        turn
    }

    fn step(&mut self, ends: &mut Ends<'_>, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if self.start < self.pending.len() {
            return self.deliver_pending(ends, cx);
        }
        if self.phase == Phase::Ending {
            return Poll::Ready(self.pass_end(ends));
        }
        match ends.source.poll_read(cx, buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => {
                self.source_ended = true;
                self.phase = Phase::Ending;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Ok(bytes)) => {
                ends.meter.read(bytes);
                self.deliver(ends, &buffer[..bytes], cx)
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Ok(0)),
            Poll::Ready(Err(error)) => {
                self.source_ended = true;
                self.phase = Phase::Ending;
                Poll::Ready(Err(Fault::Source(error)))
            }
        }
    }

    fn deliver(&mut self, ends: &mut Ends<'_>, data: &[u8], cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let mut start = 0;
        while start < data.len() {
            match ends.poll_write(cx, &data[start..]) {
                Poll::Ready(Ok(bytes)) => start += bytes,
                Poll::Ready(Err(error)) => {
                    ends.meter.undeliverable(data.len() - start);
                    return Poll::Ready(Err(Fault::Destination(error)));
                }
                Poll::Pending => {
                    // The buffer is the thread's; what stays must not.
                    self.pending = data[start..].to_vec();
                    self.start = 0;
                    // Delivered bytes are progress even so; the next step finds the destination busy and waits.
                    return Poll::Ready(Ok(start));
                }
            }
        }
        Poll::Ready(Ok(start))
    }

    fn deliver_pending(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match ends.poll_write(cx, &self.pending[self.start..]) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) => {
                self.start += bytes;
                if self.start == self.pending.len() {
                    self.forget_pending();
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Destination(error))),
        }
    }

    fn pass_end(&mut self, ends: &Ends<'_>) -> Result<usize, Fault> {
        if !self.failed_source {
            ends.destination.half_close().map_err(Fault::Destination)?;
        }
        self.phase = Phase::Ended;
        Ok(0)
    }
}
