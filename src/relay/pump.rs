//! One direction of a relay.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    coalesce::Coalescer,
    delivery::Delivery,
    half_close::{EndStep, HalfClose, Phase},
    hook::TIME,
    look_ahead::{self, Seen},
    scratch,
    splice::Filled,
    stages::{Framing, StageSlot},
    turn::{Ends, Fault, STEPS, TURN, Turn},
    waiting_bytes::{Next, most},
};
use crate::{
    hooks::{Answer, EndVerdict, Failed, Verdict},
    inspect::{End, Outbox, Progress, Stages, outbox::Finish},
    io::stream::Stream,
    live::shared::Shared,
    words::{chunk::Chunk, direction::Direction, pieces::copied},
};

/// Moves the bytes of one direction: delivers held bytes, reads, feeds the stages, delivers their output.
#[derive(Debug, Default)]
pub(super) struct Pump {
    half_close: HalfClose,
    pub framing: Framing,
    /// True if the last chunk had the maximum size: the next is likely to have it, too.
    chunk_was_full: bool,
    /// True if the source has nothing more to read.
    pub source_ended: bool,
    pub delivery: Delivery,
    pub stages: StageSlot,
    coalescer: Coalescer,
}

impl Pump {
    pub(super) fn phase(&self) -> Phase {
        self.half_close.phase
    }

    pub(super) fn is_over(&self) -> bool {
        self.half_close.is_over()
    }

    #[cfg(test)]
    pub(super) fn holding(splicer: super::splice::Splicer) -> Self {
        Self { delivery: Delivery::holding(splicer), ..Self::default() }
    }

    /// Returns true if the source is being read, so that a read would meet its failure.
    pub(super) fn is_reading(&self) -> bool {
        self.phase() == Phase::Open && !self.is_stalled() && !self.stages.waits()
    }

    /// Returns true if the direction waits for its destination.
    pub(super) fn is_stalled(&self) -> bool {
        self.delivery.is_blocked()
    }

    /// Returns true if nothing is under way in the direction.
    pub(super) fn holds_nothing(&self) -> bool {
        self.delivery.is_written() && !self.stages.waits() && self.stages.keeps_nothing()
    }

    /// Changes the stages of a live direction.
    pub(super) fn edit_stages(&mut self, edit: impl FnOnce(&mut Stages)) {
        if !self.is_over() {
            self.stages.edit(edit);
        }
    }

    /// Records that the opposite direction has moved bytes. Returns true if there may be bytes to read now.
    pub(super) fn opposite_moved(&mut self, source: &mut Stream) -> bool {
        self.coalescer.opposite_moved(source)
    }

    /// Prepares for another thread: it has other timers and pipes, and may have unblocked SIGPIPE, which a splice can raise.
    pub(super) fn leave_thread(&mut self) -> Result<(), Failed> {
        self.coalescer = Coalescer::default();
        self.stages.leave_thread();
        self.delivery.leave_thread()
    }

    /// Records the failure of the source.
    pub(super) fn source_failed(&mut self, behind_fin: bool) {
        self.half_close.source_failed(behind_fin, self.stages.waits());
    }

    /// Stops reading; held bytes are still delivered. Returns true unless the end is on its way already.
    pub(super) fn end(&mut self) -> bool {
        self.half_close.begin()
    }

    /// Cuts the direction: the destination takes nothing any more.
    pub(super) fn cut(&mut self, shared: &Shared, direction: Direction) {
        if !self.is_over() {
            let held = self.delivery.give_up();
            // The drop cancels pending answers.
            self.stages = StageSlot::default();
            shared.meters[direction].undeliverable(held);
            shared.end_inbox(direction);
            self.half_close.phase = Phase::Cut;
        }
    }

    /// Moves bytes as far as possible now. Without a fault and without `more`, the sockets wake the task.
    pub(super) fn turn(&mut self, mut ends: Ends<'_>, buffer: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        let (mut moved, mut steps, mut drained) = (0, 0, false);
        while !self.is_over() {
            steps += 1;
            match self.step(&mut ends, buffer, cx) {
                Poll::Pending => {
                    drained = self.is_reading() && !ends.hook.is_held(ends.shared);
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
            turn.spent = ends.hook.spent();
            turn.long = turn.spent >= TIME || moved >= TURN || steps >= STEPS;
            // Bytes that a hook has sent go out before it is called again, so the inbox need not hold more.
            if turn.long || ends.hook.has_answers(ends.shared) {
                turn.more = true;
                break;
            }
        }
        turn.read = ends.received > 0;
        self.delivery.splicer.turn_over(moved);
        turn.more |= self.coalescer.turn_over(ends.hook.coalesce, ends.received, drained, ends.source, cx);
        turn
    }

    fn step(&mut self, ends: &mut Ends<'_>, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if self.delivery.splicer.holds() > 0 {
            return self.delivery.deliver_spliced(ends, cx);
        }
        let is_full = match self.delivery.next(cx) {
            Next::Pieces(now) => return self.delivery.deliver_parked(now, ends, cx),
            Next::Finish => return self.deliver_finish(ends, cx),
            Next::Wake => return self.resume(ends, cx).map_ok(|_| 0),
            Next::Full => true,
            Next::Later | Next::Nothing => false,
        };
        if !self.stages.is_empty() {
            // Bytes that a hook has sent for a message go out behind that, before the next one is cut.
            if self.stages.has_more() && ends.shared.has_injected(ends.direction) && self.stages.takes_injected() {
                return if is_full { Poll::Pending } else { self.take_injected(ends, cx) };
            }
            if self.stages.may_go_on(&ends.hook, ends.shared, self.phase() == Phase::Ending) && ready!(self.resume(ends, cx))? {
                return Poll::Ready(Ok(0));
            }
        }
        if is_full {
            return Poll::Pending;
        }
        if ends.shared.has_injected(ends.direction) && self.stages.takes_injected() {
            return self.take_injected(ends, cx);
        }
        match self.phase() {
            Phase::Open if self.stages.waits() || ends.hook.is_held(ends.shared) => return Poll::Pending,
            Phase::Open => {}
            Phase::Ending => return self.go_on_ending(ends, cx),
            Phase::Withheld | Phase::Ended | Phase::Cut => return Poll::Pending,
        }
        // Also behind what is for later: nothing overtakes that.
        let (is_staged, has_parked) = (self.stages.has_chain(), self.delivery.has_parked());
        if !has_parked && self.delivery.splicer.wants(ends.hook.splice, ends.source, ends.destination) {
            if is_staged {
                return self.look_ahead(ends, cx);
            }
            match ready!(self.delivery.splicer.poll_fill(ends.source, usize::MAX, cx)) {
                Ok(Filled::Copy) => {}
                filled => return self.took(filled.map(Filled::bytes), ends, cx).map_ok(|_| 0),
            }
        }
        if is_staged || has_parked || ends.hook.chunks {
            return self.feed_chunk(ends, cx);
        }
        let size = most().min(buffer.len());
        let read = ready!(ends.source.poll_read(cx, &mut buffer[..size]));
        match ready!(self.took(read, ends, cx)) {
            Ok(0) => Poll::Ready(Ok(0)),
            Ok(bytes) => self.delivery.deliver(ends, &buffer[..bytes], cx, |start| copied(&buffer[start..bytes])),
            failed => Poll::Ready(failed),
        }
    }

    /// Books a read from the source: bytes, its end, or its failure.
    fn took(&mut self, read: io::Result<usize>, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match read {
            Ok(0) => {
                self.source_ended = true;
                self.half_close.phase = Phase::Withheld;
                if !self.stages.is_empty() {
                    return self.feed((Bytes::new().into(), 0), End::Finished, ends, cx);
                }
                let answer = ends.hook.end();
                if matches!(&answer, Ok(Answer::Now(EndVerdict::Pass(last))) if last.is_empty()) {
                    self.half_close.phase = Phase::Ending;
                    return Poll::Ready(Ok(0));
                }
                let mut out = Outbox::default();
                let progress = self.stages.take_end_answer(&mut ends.hook, answer, &mut out);
                self.let_go(progress, &mut out, ends, cx).map_ok(|_| 0)
            }
            Ok(bytes) => {
                ends.meter().read(bytes);
                ends.received += bytes;
                Poll::Ready(Ok(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Ok(0)),
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                Poll::Ready(Err(Fault::no_memory(ends.hook.chunk_size())))
            }
            Err(error) => {
                self.source_ended = true;
                self.half_close.phase = Phase::Ending;
                Poll::Ready(Err(Fault::Source(error)))
            }
        }
    }

    /// Reads a chunk and feeds it to the stages.
    fn feed_chunk(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let size = ends.hook.chunk_size();
        let buffer = if self.chunk_was_full { ends.hook.chunk_buffer(size) } else { None };
        let (read, chunk) = ready!(scratch::read_chunk(ends.source, size, buffer, |buffer| ends.hook.give_back(buffer), cx));
        match (ready!(self.took(read, ends, cx)), chunk) {
            (Ok(bytes), Some(chunk)) if bytes > 0 => {
                self.chunk_was_full = bytes == size;
                if !self.stages.is_empty() || self.delivery.has_parked() {
                    // What waits for its time is not overtaken.
                    let held = self.delivery.has_parked().then_some(0);
                    if let Some(first) = held.or_else(|| self.stages.pass(&mut ends.hook, &chunk)) {
                        return self.feed((chunk, first), End::Open, ends, cx);
                    }
                    return self.delivery.deliver_chunk(chunk, ends, cx);
                }
                let answer = ends.hook.chunk(&chunk);
                if !matches!(answer, Ok(Answer::Now(Verdict::Pass))) {
                    let mut out = Outbox::default();
                    let progress = self.stages.take_answer(&mut ends.hook, answer, chunk, &mut out);
                    return self.let_go(progress, &mut out, ends, cx).map_ok(|_| bytes);
                }
                // The most frequent answer.
                self.delivery.deliver_chunk(chunk, ends, cx)
            }
            (nothing, _) => Poll::Ready(nothing),
        }
    }

    /// Shows bytes to the stages that are still in the socket: those that pass are spliced.
    fn look_ahead(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let size = ends.hook.chunk_size();
        let pass = |bytes: &[u8]| self.stages.pass(&mut ends.hook, bytes);
        let (read, seen) = ready!(look_ahead::poll((ends.source, &mut self.delivery.splicer), size, pass, cx));
        match (ready!(self.took(read, ends, cx)), seen) {
            (Ok(_), Some(Seen { chunk, first: Some(first), .. })) => self.feed((chunk, first), End::Open, ends, cx),
            (Ok(_), Some(Seen { chunk, spliced, .. })) => self.delivery.deliver_rest(chunk, spliced, ends, cx),
            (nothing, _) => Poll::Ready(nothing),
        }
    }

    /// Feeds the stages from a place on. Returns the number of bytes fed.
    #[inline(never)]
    fn feed(
        &mut self,
        (chunk, first): (Chunk, usize),
        end: End,
        ends: &mut Ends<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        let (bytes, mut out) = (chunk.len(), Outbox::default());
        let progress = self.stages.feed(&mut ends.hook, (chunk, first), end, &mut out);
        self.let_go(progress, &mut out, ends, cx).map_ok(|_| bytes)
    }

    /// Resumes the stages that wait, or whose time has come. Returns true if anything came of it.
    #[inline(never)]
    fn resume(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        let mut out = Outbox::default();
        out.set_ending(self.phase() == Phase::Ending);
        let progress = self.stages.resume(&mut ends.hook, &mut out, cx);
        let goes_on = !self.stages.waits() || self.stages.has_more() || !out.is_empty() || out.has_finish();
        ready!(self.let_go(progress, &mut out, ends, cx))?;
        // A new instant to wake at is looked at now, because nothing else does so before the task waits.
        Poll::Ready(Ok(goes_on || matches!(self.delivery.next(cx), Next::Wake)))
    }

    /// Delivers what stages have written, as far as the destination takes it now.
    #[inline(never)]
    fn let_go(
        &mut self,
        progress: Progress,
        out: &mut Outbox,
        ends: &mut Ends<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        ends.changed(out.take_figures());
        if let Progress::Failed(failed) = progress {
            return Poll::Ready(Err(Fault::Hook(failed)));
        }
        if out.has_finish() {
            self.half_close.phase = Phase::Ending;
            out.forget_plain_end();
        }
        if !self.stages.waits() {
            self.half_close.stages_decided();
        }
        let bytes = out.bytes();
        self.delivery.deliver_outbox(out, ends, cx)?;
        while let Some(spent) = out.take_spent() {
            scratch::recycle(spent, |buffer| ends.hook.give_back(buffer));
        }
        Poll::Ready(Ok(bytes))
    }

    fn take_injected(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let injected = ends.shared.inbox(ends.direction).map(crate::live::inbox::Inbox::take);
        self.add(injected.into_iter().flatten(), ends, cx)
    }

    /// Sends bytes that were not read. Returns their number.
    #[inline(never)]
    fn add(
        &mut self,
        data: impl IntoIterator<Item = Bytes>,
        ends: &mut Ends<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        let mut out = Outbox::default();
        let progress = self.stages.inject(&mut ends.hook, data, &mut out);
        self.let_go(progress, &mut out, ends, cx)
    }

    /// Ends the direction as a stage has requested, now that the end is due.
    fn deliver_finish(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match self.delivery.take_finish() {
            Some(Finish::Reset(end)) => Poll::Ready(Err(Fault::Reset(end))),
            Some(Finish::Close(end)) => {
                ends.shared.close_because(end.into());
                self.pass_end(ends, cx)
            }
            Some(Finish::Fin) | None => self.pass_end(ends, cx),
        }
    }

    /// Ends the stages, waits for the bytes that they keep, then passes the end on.
    fn go_on_ending(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match HalfClose::next_step(&mut self.stages, self.delivery.is_written()) {
            EndStep::Wait => Poll::Pending,
            EndStep::StopStages => self.feed((Bytes::new().into(), 0), End::Stopped, ends, cx),
            EndStep::PassOn => self.pass_end(ends, cx),
        }
    }

    fn pass_end(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let late = ready!(self.half_close.poll_pass_on(ends, cx))?;
        if !late.is_empty() {
            return self.add(late, ends, cx);
        }
        self.stages = StageSlot::default();
        Poll::Ready(Ok(0))
    }
}
