//! Bytes on their way to the destination of a direction: in a pipe, not taken yet, or for later.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;

use super::{
    scratch,
    splice::{Emptied, Splicer},
    turn::{Ends, Fault},
    waiting_bytes::{Next, Parked},
};
use crate::{
    hooks::Failed,
    inspect::{
        Outbox,
        outbox::{Finish, SLICES},
    },
    words::chunk::Chunk,
};

/// The bytes that a direction has taken and its destination has not.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// `None` while the destination keeps up and no piece is delayed.
    parked: Option<Box<Parked>>,
    pub splicer: Splicer,
}

impl Delivery {
    #[cfg(test)]
    pub(super) fn holding(splicer: Splicer) -> Self {
        Self { splicer, parked: None }
    }

    /// Returns true while it keeps the direction from being read.
    pub(super) fn is_blocked(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| parked.is_blocking()) || self.splicer.holds() > 0
    }

    /// Returns true if something waits for its time or for the destination, outside of a pipe.
    pub(super) fn has_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Returns true if it holds nothing.
    pub(super) fn is_written(&self) -> bool {
        self.parked.as_ref().is_none_or(|parked| parked.is_written()) && self.splicer.holds() == 0
    }

    /// Returns the next action for the parked pieces. Wakes the task when that changes with the time.
    #[inline]
    pub(super) fn next(&mut self, cx: &mut Context<'_>) -> Next {
        match &mut self.parked {
            None => Next::Nothing,
            Some(parked) => parked.next(cx),
        }
    }

    /// Returns how the direction ends, once that is due.
    pub(super) fn take_finish(&mut self) -> Option<Finish> {
        self.parked.take().and_then(|mut parked| parked.take_finish())
    }

    /// Drops all pieces. Returns the number of bytes.
    pub(super) fn give_up(&mut self) -> usize {
        self.parked.take().map_or(0, |parked| parked.bytes()) + self.splicer.drop_held()
    }

    /// Prepares for another thread, which lacks this thread's timers and pipes.
    pub(super) fn leave_thread(&mut self) -> Result<(), Failed> {
        if let Some(held) = self.splicer.take_out()? {
            self.park(held);
        }
        if let Some(parked) = &mut self.parked {
            parked.leave_thread();
        }
        Ok(())
    }

    fn park(&mut self, bytes: Bytes) {
        self.parked.get_or_insert_default().push(bytes);
    }

    /// Delivers a chunk that passes: it is written from where it lies.
    #[inline]
    pub(super) fn deliver_chunk(
        &mut self,
        chunk: Chunk,
        ends: &mut Ends<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        let done = self.deliver(ends, &chunk, cx, |start| chunk.rest(start));
        scratch::recycle(chunk, |buffer| ends.hook.give_back(buffer));
        done
    }

    /// Delivers the bytes of a chunk behind its beginning, which is in the pipe.
    pub(super) fn deliver_rest(
        &mut self,
        chunk: Chunk,
        spliced: usize,
        ends: &mut Ends<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        if spliced == 0 {
            return self.deliver_chunk(chunk, ends, cx);
        }
        if spliced < chunk.len() {
            match chunk.rest(spliced) {
                Some(rest) => self.park(rest),
                None => return Poll::Ready(Err(Fault::no_memory(chunk.len() - spliced))),
            }
        }
        scratch::recycle(chunk, |buffer| ends.hook.give_back(buffer));
        Poll::Ready(Ok(0))
    }

    /// Delivers the output of stages. Parks pieces that the destination does not take, or that are delayed.
    pub(super) fn deliver_outbox(&mut self, out: &mut Outbox, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.parked.as_ref().is_some_and(|parked| parked.is_done()) {
            self.parked = None;
        }
        let is_clear = self.parked.as_ref().is_none_or(|parked| parked.is_written());
        while is_clear && !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let written = match out.fill(&mut slices, None) {
                0 => break,
                1 => ends.poll_write(cx, &slices[0]),
                count => ends.poll_write_pieces(cx, &slices[..count]),
            };
            match written {
                Poll::Ready(Ok(taken)) => out.taken(taken),
                Poll::Ready(Err(error)) => {
                    ends.meter().undeliverable(out.bytes());
                    return Err(Fault::Destination(error));
                }
                Poll::Pending => break,
            }
        }
        if out.is_done() {
            return Ok(());
        }
        if !out.make_lasting() {
            return Err(Fault::no_memory(out.bytes()));
        }
        match &mut self.parked {
            Some(parked) => parked.append(out),
            None => self.parked = Some(Box::new(Parked::new(out.split_off()))),
        }
        Ok(())
    }

    pub(super) fn deliver_spliced(&mut self, ends: &mut Ends<'_>, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match ready!(self.splicer.poll_empty(ends.destination, cx)) {
            Ok(Emptied::Bytes(0)) => Poll::Ready(Err(Fault::Destination(io::ErrorKind::WriteZero.into()))),
            Ok(Emptied::Bytes(bytes)) => {
                ends.meter().delivered(bytes);
                Poll::Ready(Ok(bytes))
            }
            Ok(Emptied::Copied(bytes)) => {
                self.park(bytes);
                Poll::Ready(Ok(0))
            }
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }

    /// Writes `data`. Calls `keep` to make lasting bytes of the rest that the destination does not take, if there is memory
    /// for that.
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
                    self.park(kept);
                    // Delivered bytes are progress even so; the next step finds the destination busy and waits.
                    return Poll::Ready(Ok(start));
                }
            }
        }
        Poll::Ready(Ok(start))
    }

    pub(super) fn deliver_parked(
        &mut self,
        now: Option<Instant>,
        ends: &mut Ends<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        let Some(parked) = &mut self.parked else { return Poll::Ready(Ok(0)) };
        let mut slices = [IoSlice::new(&[]); SLICES];
        let written = match parked.fill(&mut slices, now) {
            1 => ends.poll_write(cx, &slices[0]),
            count => ends.poll_write_pieces(cx, &slices[..count]),
        };
        let bytes = ready!(written).map_err(Fault::Destination)?;
        parked.taken(bytes);
        while let Some(spent) = parked.take_spent() {
            scratch::recycle(spent, |buffer| ends.hook.give_back(buffer));
        }
        if parked.is_done() {
            self.parked = None;
        }
        Poll::Ready(Ok(bytes))
    }
}
