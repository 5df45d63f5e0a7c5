//! One direction of a relay.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    aside::Aside,
    coalesce::Coalescer,
    inspected::Stage,
    splice::{Filled, Splicer},
};
use crate::{
    config::MOST_CHUNK,
    hooks::Failed,
    io::stream::Stream,
    registry::Shared,
    stats::{Direction, Meter},
};

/// One read's most, and so the most a stalled direction holds: half the system calls per GiB of 64 KiB, and
/// no better beyond. The buffer belongs to the worker thread, not to the connection.
pub(super) const BUFFER: usize = MOST_CHUNK;

/// Bytes moved before other connections of the thread get their turn.
const TURN: usize = 4 * BUFFER;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The source may send more.
    Open,
    /// The source has ended, and a hook withholds that from the destination.
    Withheld,
    /// The source has ended: what is pending is delivered, then the end itself is.
    Ending,
    /// Everything read was delivered, and the end was passed on.
    Ended,
    /// The destination failed: nothing can be delivered any more.
    Cut,
}

/// What failed a pump: one of its sockets, or a hook.
#[derive(Debug)]
pub(super) enum Fault {
    Source(io::Error),
    Destination(io::Error),
    Hook(Failed),
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
    /// To be delivered, but not taken by the destination yet. Empty, without memory, while the destination keeps up.
    pending: Aside,
    splicer: Splicer,
    coalescer: Coalescer,
    /// Bytes that have come from the source in this turn.
    came: usize,
    /// The last chunk was as large as one can be: the next is likely to be, too.
    pub(super) chunk_was_full: bool,
    /// The source has nothing more to read.
    source_ended: bool,
}

/// The sockets of a turn, and whose they are.
pub(super) struct Ends<'a> {
    pub source: &'a mut Stream,
    pub destination: &'a mut Stream,
    pub direction: Direction,
    pub shared: &'a Shared,
}

impl Ends<'_> {
    pub(super) fn meter(&self) -> &Meter {
        self.shared.meter(self.direction)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.destination.poll_write(cx, data) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(bytes)) => {
                if self.destination.is_nowhere() {
                    self.meter().dropped(bytes);
                } else {
                    self.meter().delivered(bytes);
                }
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

impl Pump {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Open,
            failed_source: false,
            pending: Aside::default(),
            splicer: Splicer::default(),
            coalescer: Coalescer::default(),
            came: 0,
            chunk_was_full: false,
            source_ended: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Cut)
    }

    /// Whether its source is being read, so that a read would tell of the source's failure.
    pub(super) fn is_reading(&self) -> bool {
        self.phase == Phase::Open && !self.is_stalled()
    }

    /// Whether it waits for its destination.
    pub(super) fn is_stalled(&self) -> bool {
        !self.pending.is_empty() || self.splicer.holds() > 0
    }

    /// The opposite direction has moved something. Gives whether there may be something to read now.
    pub(super) fn answered(&mut self, source: &mut Stream) -> bool {
        self.coalescer.answered(source)
    }

    /// Gets ready to go on elsewhere, where this thread's timers and pipes are not. Another thread may have SIGPIPE open,
    /// which a splice to a peer that has gone would raise.
    pub(super) fn leave_thread(&mut self) -> io::Result<()> {
        self.coalescer = Coalescer::default();
        if let Some(held) = self.splicer.take_out()? {
            self.pending.push(held);
        }
        Ok(())
    }

    /// The source has failed. An end in order that was read before stands and is true, unless a hook withholds it:
    /// then there is nobody left who could end the direction in order.
    pub(super) fn source_failed(&mut self, behind_fin: bool) {
        self.failed_source |= !behind_fin || self.phase == Phase::Withheld;
        if self.phase == Phase::Withheld {
            self.phase = Phase::Ending;
        }
    }

    /// Reads no more; what is pending is still delivered.
    pub(super) fn end(&mut self) {
        if matches!(self.phase, Phase::Open | Phase::Withheld) {
            self.phase = Phase::Ending;
        }
    }

    /// The destination takes nothing any more.
    pub(super) fn cut(&mut self, shared: &Shared, direction: Direction) {
        if !self.is_over() {
            let held = self.pending.give_up() + self.splicer.drop_held();
            shared.meter(direction).undeliverable(held);
            shared.end_inbox(direction);
            self.phase = Phase::Cut;
        }
    }

    /// Moves what can be moved now. Without a fault and without `more`, the sockets wake the task.
    pub(super) fn turn(&mut self, mut ends: Ends<'_>, stage: &Stage<'_>, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let (mut moved, mut dry) = (0, false);
        self.came = 0;
        while !self.is_over() {
            match self.step(&mut ends, stage, buffer, cx) {
                Poll::Pending => {
                    dry = self.is_reading() && !stage.is_held(ends.shared);
                    break;
                }
                Poll::Ready(Ok(bytes)) => {
                    turn.moved = true;
                    moved += bytes;
                }
                Poll::Ready(Err(fault)) => {
                    turn.fault = Some(fault);
                    break;
                }
            }
            // What a hook has answered goes out before it is asked again: so the inbox need not hold more.
            if moved >= TURN || stage.has_answers(ends.shared) {
                turn.more = true;
                break;
            }
        }
        self.splicer.turn_over(moved);
        turn.more |= self.coalescer.turn_over(stage.coalesce, self.came, dry, ends.source, cx);
        turn
    }

    /// Reads what cannot be delivered any more, after [`cut`](Self::cut).
    pub(super) fn discard(&mut self, source: &mut Stream, meter: &Meter, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let mut read = 0;
        source.clear_low_water();
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

    fn step(
        &mut self,
        ends: &mut Ends<'_>,
        stage: &Stage<'_>,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        if self.splicer.holds() > 0 {
            return self.deliver_spliced(ends, cx);
        }
        if !self.pending.is_empty() {
            return self.deliver_pending(ends, cx);
        }
        if ends.shared.has_injected(ends.direction) {
            return Poll::Ready(Ok(self.take_injected(ends)));
        }
        match self.phase {
            Phase::Open if stage.is_held(ends.shared) => return Poll::Pending,
            Phase::Open => {}
            Phase::Ending => return Poll::Ready(self.pass_end(ends)),
            Phase::Withheld | Phase::Ended | Phase::Cut => return Poll::Pending,
        }
        if self.splicer.wants(stage.splice, ends.source, ends.destination) {
            match ready!(self.splicer.poll_fill(ends.source, cx)) {
                Ok(Filled::Copy) => {}
                filled => return self.took(filled.map(Filled::bytes), ends, stage).map_ok(|_| 0),
            }
        }
        if let Some(size) = stage.chunk_size() {
            return self.show_chunk(ends, stage, size, cx);
        }
        let read = ready!(ends.source.poll_read(cx, &mut buffer[..Aside::most()]));
        match ready!(self.took(read, ends, stage)) {
            Ok(0) => Poll::Ready(Ok(0)),
            Ok(bytes) => self.deliver(ends, &buffer[..bytes], cx, |start| Bytes::copy_from_slice(&buffer[start..bytes])),
            failed => Poll::Ready(failed),
        }
    }

    /// What a read from the source came to: bytes, its end, or its failure.
    pub(super) fn took(&mut self, read: io::Result<usize>, ends: &Ends<'_>, stage: &Stage<'_>) -> Poll<Result<usize, Fault>> {
        match read {
            Ok(0) => {
                self.source_ended = true;
                self.source_end(ends, stage)
            }
            Ok(bytes) => {
                ends.meter().read(bytes);
                self.came += bytes;
                Poll::Ready(Ok(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Ok(0)),
            Err(error) => {
                self.source_ended = true;
                self.phase = Phase::Ending;
                Poll::Ready(Err(Fault::Source(error)))
            }
        }
    }

    fn deliver_spliced(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match ready!(self.splicer.poll_empty(ends.destination, cx)) {
            Ok(0) => Poll::Ready(Err(Fault::Destination(io::ErrorKind::WriteZero.into()))),
            Ok(bytes) => {
                ends.meter().delivered(bytes);
                Poll::Ready(Ok(bytes))
            }
            Err(error) => Poll::Ready(Err(Fault::Destination(error))),
        }
    }

    /// Puts bytes that were not read behind what is pending.
    pub(super) fn add(&mut self, ends: &Ends<'_>, data: impl IntoIterator<Item = Bytes>) -> usize {
        let mut added = 0;
        for bytes in data {
            added += bytes.len();
            self.pending.push(bytes);
        }
        ends.meter().added(added);
        added
    }

    fn take_injected(&mut self, ends: &Ends<'_>) -> usize {
        let injected = ends.shared.inbox(ends.direction).map(crate::inbox::Inbox::take);
        self.add(ends, injected.into_iter().flatten())
    }

    /// Writes `data`; `keep` gives what the destination does not take of it, to be kept.
    pub(super) fn deliver(
        &mut self,
        ends: &mut Ends<'_>,
        data: &[u8],
        cx: &mut Context<'_>,
        keep: impl FnOnce(usize) -> Bytes,
    ) -> Poll<Result<usize, Fault>> {
        let mut start = 0;
        while start < data.len() {
            match ends.poll_write(cx, &data[start..]) {
                Poll::Ready(Ok(bytes)) => start += bytes,
                Poll::Ready(Err(error)) => {
                    ends.meter().undeliverable(data.len() - start);
                    return Poll::Ready(Err(Fault::Destination(error)));
                }
                Poll::Pending => {
                    self.pending.push(keep(start));
                    // Delivered bytes are progress even so; the next step finds the destination busy and waits.
                    return Poll::Ready(Ok(start));
                }
            }
        }
        Poll::Ready(Ok(start))
    }

    fn deliver_pending(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match ends.poll_write(cx, self.pending.first()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) => {
                self.pending.taken(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Destination(error))),
        }
    }

    fn pass_end(&mut self, ends: &mut Ends<'_>) -> Result<usize, Fault> {
        // What was injected until now goes out before the end; what comes later is refused.
        let late = ends.shared.finish_inbox(ends.direction);
        if self.add(ends, late) > 0 {
            return Ok(0);
        }
        if !self.failed_source {
            ends.destination.half_close().map_err(Fault::Destination)?;
        }
        self.phase = Phase::Ended;
        Ok(0)
    }
}
