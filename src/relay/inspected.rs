//! What a direction passes between being read and being written: the hooks, where somebody wants them.

use std::{
    cell::Cell,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::{
    outbox::Outbox,
    pump::{Ends, Fault, Phase, Pump},
    scratch,
};
use crate::{
    hooks::{Attendant, EndVerdict, Failed, Verdict},
    io::stream::Stream,
    live::shared::Shared,
    settings::config::{Coalesce, Splice},
    words::{
        chunk::{Chunk, Memory, Room},
        direction::Direction,
        interest::Interest,
    },
};

/// The hooks of one direction for the length of a turn.
pub(super) struct Stage<'a> {
    attendant: Option<&'a Attendant>,
    /// Who may come to want the direction seen while this turn lasts, and is asked on another thread.
    elsewhere: Option<&'a Attendant>,
    direction: Direction,
    chunks: bool,
    end: bool,
    apart: bool,
    /// The opposite direction waits for its destination.
    opposite_stalled: bool,
    /// When the first chunk of the turn was shown.
    began: Cell<Option<Instant>>,
    /// Whether what nobody looks at may be spliced.
    pub splice: Splice,
    pub coalesce: Coalesce,
}

impl<'a> Stage<'a> {
    /// Nobody looks.
    pub(super) fn native(elsewhere: Option<&'a Attendant>, direction: Direction, splice: Splice, coalesce: Coalesce) -> Self {
        let (chunks, end, apart, opposite_stalled) = (false, false, false, false);
        let began = Cell::new(None);
        Self { attendant: None, elsewhere, direction, chunks, end, apart, opposite_stalled, began, splice, coalesce }
    }

    pub(super) fn of(attendant: &'a Attendant, direction: Direction, opposite_stalled: bool, coalesce: Coalesce) -> Self {
        let interest = attendant.interest();
        let (chunks, end) = (interest.has(Interest::recv(direction)), interest.has(Interest::EOF));
        // A lane's thread may have SIGPIPE open, which a splice to a peer that has gone would raise.
        let (splice, apart) = (Splice::Never, attendant.hooked.apart);
        let (elsewhere, began) = (None, Cell::new(None));
        Self { attendant: Some(attendant), elsewhere, direction, chunks, end, apart, opposite_stalled, began, splice, coalesce }
    }

    /// Whether a hook is asked at all.
    pub(super) fn asks(&self) -> bool {
        self.chunks || self.end
    }

    /// Whether no more is to be read now. A hook may have ended the direction, or all: then nothing more is shown, and
    /// the task was woken to see to it. Or as much as may waits for those that it sends to. Where nobody looks, somebody may
    /// just have been given: the task was woken to move to where that one is asked.
    pub(super) fn is_held(&self, shared: &Shared) -> bool {
        let seen = Interest::recv(self.direction).with(Interest::EOF);
        if self.elsewhere.is_some_and(|attendant| attendant.interest().has(seen)) {
            return true;
        }
        let control = &shared.control;
        let ended = || control.command().is_some() || control.ended.has(self.direction);
        self.asks() && (ended() || self.is_paused(shared) || self.has_sent_enough(shared))
    }

    /// Returns true while hooks that have each socket carried alone read nothing from this one.
    fn is_paused(&self, shared: &Shared) -> bool {
        self.apart && shared.control.paused.has(self.direction)
    }

    /// A hook answers chunks into the opposite direction: while that holds answers enough, or stands still and holds any, no
    /// more is asked for. Where each socket is carried alone, what waits there is others', and so may its answers be.
    fn has_sent_enough(&self, shared: &Shared) -> bool {
        if self.apart {
            return self.attendant.is_some_and(|attendant| attendant.connection.waits(self.direction));
        }
        let answered = || self.chunks && shared.has_injected_enough(self.direction.opposite());
        self.opposite_stalled && self.has_answers(shared) || answered()
    }

    /// Whether what a hook may have answered waits for the opposite direction.
    pub(super) fn has_answers(&self, shared: &Shared) -> bool {
        self.chunks && shared.has_injected(self.direction.opposite())
    }

    /// Returns the time that the hooks have taken in this turn.
    pub(super) fn spent(&self) -> Duration {
        match (self.began.get(), self.attendant) {
            (Some(began), Some(attendant)) => attendant.hooked.hooks.now().saturating_duration_since(began),
            _ => Duration::ZERO,
        }
    }

    /// The most of one chunk, if chunks are shown.
    pub(super) fn chunk_size(&self) -> Option<usize> {
        self.attendant.filter(|_| self.chunks).map(|attendant| attendant.hooked.chunk.min(Outbox::most()))
    }

    /// Memory of the hooks' own for the next chunk.
    fn room(&self, size: usize) -> Option<Arc<dyn Room>> {
        self.attendant?.hooked.hooks.room(size)
    }

    fn leave(&self, room: Arc<dyn Room>) {
        if let Some(attendant) = self.attendant {
            attendant.hooked.hooks.leave(room);
        }
    }

    pub(super) fn chunk(&self, chunk: &Chunk) -> Result<Verdict, Failed> {
        match self.attendant {
            Some(attendant) if self.chunks => {
                // Asked anew for each chunk: a hook may just have let the rest pass.
                if !attendant.interest().has(Interest::recv(self.direction)) {
                    return Ok(Verdict::Pass);
                }
                let hooks = &attendant.hooked.hooks;
                if self.began.get().is_none() {
                    self.began.set(Some(hooks.now()));
                }
                hooks.on_recv(&attendant.connection, self.direction, chunk)
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

impl Pump {
    /// Reads a chunk, and does with it what its hook says.
    pub(super) fn show_chunk(
        &mut self,
        ends: &mut Ends<'_>,
        stage: &Stage<'_>,
        size: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        let room = if self.chunk_was_full { stage.room(size) } else { None };
        let (read, chunk) = match room {
            Some(room) => ready!(read_into_room(ends.source, stage, room, cx)),
            None => ready!(read_into_buffer(ends.source, size, cx)),
        };
        if matches!(&read, Err(error) if error.kind() == io::ErrorKind::OutOfMemory) {
            return Poll::Ready(Err(Fault::no_memory(size)));
        }
        match ready!(self.took(read, ends, stage)) {
            Ok(bytes) if bytes > 0 => self.chunk_was_full = bytes == size,
            nothing => return Poll::Ready(nothing),
        }
        let Some(chunk) = chunk else { return Poll::Ready(Ok(0)) };
        let done = self.chunk(ends, stage, &chunk, cx);
        match chunk.into_memory() {
            Memory::Buffer(buffer) => scratch::give_back(buffer),
            Memory::Room(room) => stage.leave(room),
            Memory::Bytes(_) => {}
        }
        done
    }

    fn chunk(
        &mut self,
        ends: &mut Ends<'_>,
        stage: &Stage<'_>,
        data: &Chunk,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        match stage.chunk(data) {
            Ok(Verdict::Pass) => self.deliver(ends, data, cx, |start| data.rest(start)),
            Ok(Verdict::Drop) => {
                ends.meter().dropped(data.len());
                Poll::Ready(Ok(data.len()))
            }
            Ok(Verdict::Replace(instead)) => {
                ends.meter().dropped(data.len());
                self.add(ends, instead);
                Poll::Ready(Ok(data.len()))
            }
            Err(failed) => {
                ends.meter().undeliverable(data.len());
                Poll::Ready(Err(Fault::Hook(failed)))
            }
        }
    }

    pub(super) fn source_end(&mut self, ends: &Ends<'_>, stage: &Stage<'_>) -> Poll<Result<usize, Fault>> {
        match stage.end() {
            Ok(EndVerdict::Pass(last)) => {
                self.add(ends, last);
                self.phase = Phase::Ending;
            }
            Ok(EndVerdict::Withhold) => self.phase = Phase::Withheld,
            Err(failed) => return Poll::Ready(Err(Fault::Hook(failed))),
        }
        Poll::Ready(Ok(0))
    }
}

/// How a read went, and its chunk, if any bytes came.
type Taken = (io::Result<usize>, Option<Chunk>);

fn read_into_buffer(source: &mut Stream, size: usize, cx: &mut Context<'_>) -> Poll<Taken> {
    let Some(mut buffer) = scratch::take_chunk(size) else { return Poll::Ready((Err(io::ErrorKind::OutOfMemory.into()), None)) };
    // Nobody else has it; if somebody had, the next step would take another.
    let Some(bytes) = Arc::get_mut(&mut buffer) else { return Poll::Ready((Err(io::ErrorKind::Interrupted.into()), None)) };
    match source.poll_read(cx, bytes) {
        Poll::Ready(Ok(bytes)) if bytes > 0 => Poll::Ready((Ok(bytes), Some(Chunk::new(buffer, bytes)))),
        nothing => {
            scratch::give_back(buffer);
            nothing.map(|read| (read, None))
        }
    }
}

/// Reads into a hook's own memory. It can show that only whole, so less is copied out of it.
fn read_into_room(source: &mut Stream, stage: &Stage<'_>, mut room: Arc<dyn Room>, cx: &mut Context<'_>) -> Poll<Taken> {
    let Some(memory) = Arc::get_mut(&mut room) else { return read_into_buffer(source, room.size(), cx) };
    let read = memory.fill(&mut |buffer| source.poll_receive(cx, buffer).map_ok(drop));
    if let Poll::Ready(Ok(bytes)) = read
        && bytes == room.size()
    {
        return Poll::Ready((Ok(bytes), Some(Chunk::within(room))));
    }
    let chunk = matches!(read, Poll::Ready(Ok(1..))).then(|| copied_into_buffer(room.filled(), room.size()));
    stage.leave(room);
    match chunk {
        Some(None) => Poll::Ready((Err(io::ErrorKind::OutOfMemory.into()), None)),
        chunk => read.map(|read| (read, chunk.flatten())),
    }
}

fn copied_into_buffer(bytes: &[u8], size: usize) -> Option<Chunk> {
    let mut buffer = scratch::take_chunk(size)?;
    Arc::get_mut(&mut buffer)?[..bytes.len()].copy_from_slice(bytes);
    Some(Chunk::new(buffer, bytes.len()))
}
