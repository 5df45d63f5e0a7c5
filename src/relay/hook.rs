//! The hooks of a direction, as its pump sees them for a turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    hooks::{Answer, EndVerdict, Failed, Verdict, connection_hooks::ConnectionHooks},
    live::shared::Shared,
    settings::config::{Coalesce, MOST_CHUNK, Splice},
    words::{
        chunk::{Chunk, ChunkBuffer},
        direction::Direction,
        interest::Interest,
    },
};

/// The hooks of one direction for the length of a turn.
#[derive(Debug)]
pub(super) struct Hook<'a> {
    /// The hooks that are called on this thread, if there are any.
    hooks: Option<&'a ConnectionHooks>,
    /// The hooks that may come to want the direction during this turn, and that this thread does not call then.
    elsewhere: Option<&'a ConnectionHooks>,
    direction: Direction,
    pub chunks: bool,
    end: bool,
    apart: bool,
    /// True while the opposite direction waits for its destination.
    opposite_stalled: bool,
    /// The time at which the first chunk of the turn was shown.
    began: Option<Instant>,
    /// When bytes that no hook sees are spliced.
    pub splice: Splice,
    pub coalesce: Coalesce,
}

impl<'a> Hook<'a> {
    /// Returns the hooks of a direction that no hook sees.
    pub(super) fn native(
        elsewhere: Option<&'a ConnectionHooks>,
        direction: Direction,
        splice: Splice,
        coalesce: Coalesce,
    ) -> Self {
        let (chunks, end, apart, opposite_stalled) = (false, false, false, false);
        Self { hooks: None, elsewhere, direction, chunks, end, apart, opposite_stalled, began: None, splice, coalesce }
    }

    /// Returns the hooks of a direction that are called on this thread.
    pub(super) fn of(
        (hooks, on_lane): (&'a ConnectionHooks, bool),
        direction: Direction,
        opposite_stalled: bool,
        splice: Splice,
        coalesce: Coalesce,
    ) -> Self {
        let interest = hooks.interest();
        let (chunks, end) = (interest.has(Interest::recv(direction)), interest.has(Interest::EOF));
        let splice = if chunks { Splice::Never } else { splice };
        let (elsewhere, apart) = ((!on_lane).then_some(hooks), hooks.server.apart);
        let hooks = Some(hooks);
        Self { hooks, elsewhere, direction, chunks, end, apart, opposite_stalled, began: None, splice, coalesce }
    }

    /// Returns true if any hook is called.
    fn asks(&self) -> bool {
        self.chunks || self.end
    }

    /// Returns true while reading must pause: a hook has ended the direction or the connection, and the task was woken to act
    /// on it; or the answers queued for the other direction are over their limit; or, in a direction that no hook sees here,
    /// one was just set, and the task was woken to move to its thread.
    pub(super) fn is_held(&self, shared: &Shared) -> bool {
        if self.elsewhere.is_some_and(|hooks| self.has_moved(hooks.interest())) {
            return true;
        }
        let control = &shared.control;
        let ended = || control.command().is_some() || control.ended.has(self.direction);
        self.asks() && (ended() || self.is_paused(shared) || self.has_sent_enough(shared))
    }

    /// Returns true if hooks want the direction that this thread does not call.
    fn has_moved(&self, wanted: Interest) -> bool {
        let seen = Interest::recv(self.direction).with(Interest::EOF);
        let of_others = if self.hooks.is_some() { wanted.on_lane() } else { wanted };
        of_others.has(seen)
    }

    /// Returns true while hooks that have each socket carried alone pause this one.
    fn is_paused(&self, shared: &Shared) -> bool {
        self.apart && shared.control.paused.has(self.direction)
    }

    /// Returns true while too many answers of a hook wait in the opposite direction: at their limit, or any while that
    /// direction stands still. Where each socket is carried alone, the waiting bytes come from other connections, and so may
    /// answers to this one go to them.
    fn has_sent_enough(&self, shared: &Shared) -> bool {
        if self.apart {
            return self.hooks.is_some_and(|hooks| hooks.connection.waits(self.direction));
        }
        let answers_at_limit = || self.chunks && shared.has_injected_enough(self.direction.opposite());
        self.opposite_stalled && self.has_answers(shared) || answers_at_limit()
    }

    /// Returns true if bytes that a hook may have sent wait for the opposite direction.
    pub(super) fn has_answers(&self, shared: &Shared) -> bool {
        self.chunks && shared.has_injected(self.direction.opposite())
    }

    /// Returns the time that the hooks have taken in this turn.
    pub(super) fn spent(&self) -> Duration {
        match (self.began, self.hooks) {
            (Some(began), Some(hooks)) => hooks.server.hooks.now().saturating_duration_since(began),
            _ => Duration::ZERO,
        }
    }

    /// Returns the maximum bytes of one chunk.
    pub(super) fn chunk_size(&self) -> usize {
        self.hooks.map_or(MOST_CHUNK, |hooks| hooks.server.chunk).min(super::outbox::most())
    }

    /// Returns memory of the hooks for the next chunk.
    pub(super) fn chunk_buffer(&self, size: usize) -> Option<Arc<dyn ChunkBuffer>> {
        self.hooks.filter(|_| self.chunks)?.server.hooks.chunk_buffer(size)
    }

    /// Returns memory to the hooks.
    pub(super) fn give_back(&self, buffer: Arc<dyn ChunkBuffer>) {
        if let Some(hooks) = self.hooks {
            hooks.server.hooks.give_back(buffer);
        }
    }

    pub(super) fn chunk(&mut self, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        match self.hooks {
            // Read again for each chunk: a hook may just have let the rest pass.
            Some(hooks) if self.chunks && hooks.interest().has(Interest::recv(self.direction)) => {
                let called = &hooks.server.hooks;
                if self.began.is_none() {
                    self.began = Some(called.now());
                }
                called.on_recv(&hooks.connection, self.direction, chunk)
            }
            _ => Ok(Verdict::Pass.into()),
        }
    }

    pub(super) fn end(&self) -> Result<Answer<EndVerdict>, Failed> {
        match self.hooks {
            Some(hooks) if self.end && hooks.interest().has(Interest::EOF) => {
                hooks.server.hooks.on_eof(&hooks.connection, self.direction)
            }
            _ => Ok(EndVerdict::Pass(Vec::new()).into()),
        }
    }
}
