//! One direction of a relay.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;

pub(super) use super::turn::{Ends, Fault, Turn};
use super::{
    coalesce::Coalescer,
    inspected::Stage,
    outbox::{Outbox, SLICES},
    splice::{Emptied, Filled, Splicer},
};
use crate::{
    hooks::Failed,
    io::stream::{Socket, Stream},
    live::shared::Shared,
    settings::config::MOST_CHUNK,
    words::{direction::Direction, pieces::copied, stats::Meter},
};

/// One read's most, and so the most a stalled direction holds: half the system calls per GiB of 64 KiB, and
/// no better beyond. The buffer belongs to the worker thread, not to the connection.
pub(super) const BUFFER: usize = MOST_CHUNK;

/// Bytes moved before other connections of the thread get their turn.
const TURN: usize = 4 * BUFFER;

/// Steps, however little each moves, before other connections of the thread get their turn. A step is a read, a hook's
/// answer, a write: 64 take less than a millisecond beside what hooks do, and those are bounded in time as well.
const STEPS: usize = 64;

/// Time that hooks take before other connections of the lane get their turn: as long as Python's own threads hold the
/// interpreter.
const TIME: Duration = Duration::from_millis(5);

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

#[derive(Debug)]
pub(super) struct Pump {
    pub phase: Phase,
    /// The source has failed: its end is passed on as an abort, by whoever owns the sockets, not as FIN.
    pub failed_source: bool,
    /// To be delivered, but not taken by the destination yet. Empty, without memory, while the destination keeps up.
    pending: Outbox,
    splicer: Splicer,
    coalescer: Coalescer,
    /// Bytes that have come from the source in this turn.
    came: usize,
    /// The last chunk was as large as one can be: the next is likely to be, too.
    pub(super) chunk_was_full: bool,
    /// The source has nothing more to read.
    source_ended: bool,
}

impl Pump {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Open,
            failed_source: false,
            pending: Outbox::default(),
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

    #[cfg(test)]
    pub(super) fn holding(splicer: Splicer) -> Self {
        Self { splicer, ..Self::new() }
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
    pub(super) fn leave_thread(&mut self) -> Result<(), Failed> {
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

    /// Reads no more; what is pending is still delivered. Says whether the end is not on its way already.
    pub(super) fn end(&mut self) -> bool {
        let begins = matches!(self.phase, Phase::Open | Phase::Withheld);
        if begins {
            self.phase = Phase::Ending;
        }
        begins
    }

    /// The destination takes nothing any more.
    pub(super) fn cut(&mut self, shared: &Shared, direction: Direction) {
        if !self.is_over() {
            let held = self.pending.give_up() + self.splicer.drop_held();
            shared.meters[direction].undeliverable(held);
            shared.end_inbox(direction);
            self.phase = Phase::Cut;
        }
    }

    /// Moves what can be moved now. Without a fault and without `more`, the sockets wake the task.
    pub(super) fn turn(&mut self, mut ends: Ends<'_>, stage: &Stage<'_>, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let (mut moved, mut steps, mut dry) = (0, 0, false);
        self.came = 0;
        while !self.is_over() {
            steps += 1;
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
            turn.spent = stage.spent();
            turn.long = turn.spent >= TIME || moved >= TURN || steps >= STEPS;
            // What a hook has answered goes out before it is asked again: so the inbox need not hold more.
            if turn.long || stage.has_answers(ends.shared) {
                turn.more = true;
                break;
            }
        }
        turn.read = self.came > 0;
        self.splicer.turn_over(moved);
        turn.more |= self.coalescer.turn_over(stage.coalesce, self.came, dry, ends.source, cx);
        turn
    }

    /// Reads what cannot be delivered any more, after [`cut`](Self::cut).
    pub(super) fn discard(&mut self, source: &mut Stream, meter: &Meter, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let (mut read, mut steps) = (0, 0);
        source.raw().map(Socket::clear_low_water);
        while !self.source_ended {
            steps += 1;
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
            if read >= TURN || steps >= STEPS {
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
            Phase::Ending => return self.pass_end(ends, cx),
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
        let most = Outbox::most().min(buffer.len());
        let read = ready!(ends.source.poll_read(cx, &mut buffer[..most]));
        match ready!(self.took(read, ends, stage)) {
            Ok(0) => Poll::Ready(Ok(0)),
            Ok(bytes) => self.deliver(ends, &buffer[..bytes], cx, |start| copied(&buffer[start..bytes])),
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
            Ok(Emptied::Bytes(0)) => Poll::Ready(Err(Fault::Destination(io::ErrorKind::WriteZero.into()))),
            Ok(Emptied::Bytes(bytes)) => {
                ends.meter().delivered(bytes);
                Poll::Ready(Ok(bytes))
            }
            Ok(Emptied::Copied(bytes)) => {
                self.pending.push(bytes);
                Poll::Ready(Ok(0))
            }
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }

    /// Puts bytes that were not read behind what is pending.
    pub(super) fn add(&mut self, ends: &Ends<'_>, data: impl IntoIterator<Item = Bytes>) -> usize {
        let added = self.pending.extend(data);
        ends.meter().added(added);
        added
    }

    fn take_injected(&mut self, ends: &Ends<'_>) -> usize {
        let injected = ends.shared.inbox(ends.direction).map(crate::live::inbox::Inbox::take);
        self.add(ends, injected.into_iter().flatten())
    }

    /// Writes `data`; `keep` makes bytes to be kept of what the destination does not take, if there is memory for that.
    pub(super) fn deliver(
        &mut self,
        ends: &mut Ends<'_>,
        data: &[u8],
        cx: &mut Context<'_>,
        keep: impl FnOnce(usize) -> Option<Bytes>,
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
                    let Some(kept) = keep(start) else {
                        ends.meter().undeliverable(data.len() - start);
                        return Poll::Ready(Err(Fault::no_memory(data.len() - start)));
                    };
                    self.pending.push(kept);
                    // Delivered bytes are progress even so; the next step finds the destination busy and waits.
                    return Poll::Ready(Ok(start));
                }
            }
        }
        Poll::Ready(Ok(start))
    }

    fn deliver_pending(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let written = match self.pending.fill(&mut slices) {
            1 => ends.poll_write(cx, &slices[0]),
            count => ends.poll_write_pieces(cx, &slices[..count]),
        };
        match written {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) => {
                self.pending.taken(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Destination(error))),
        }
    }

    fn pass_end(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        // What was injected until now goes out before the end; what comes later is refused.
        let late = ends.shared.finish_inbox(ends.direction);
        if self.add(ends, late) > 0 {
            return Poll::Ready(Ok(0));
        }
        if !self.failed_source
            && let Err(error) = ready!(ends.destination.poll_end(cx))
        {
            return Poll::Ready(Err(Fault::Destination(error)));
        }
        self.phase = Phase::Ended;
        Poll::Ready(Ok(0))
    }
}
