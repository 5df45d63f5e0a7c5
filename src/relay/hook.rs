//! The hooks of a direction, as its pump sees them for a turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    hooks::{Answer, EndVerdict, Failed, Verdict, connection_hooks::ConnectionHooks},
    inspect::framing::TooLong,
    live::shared::Shared,
    settings::config::{Coalesce, MOST_CHUNK, Splice},
    words::{
        chunk::{Chunk, ChunkBuffer},
        direction::Direction,
        interest::Interest,
        log_target,
        outcome::CloseReason,
    },
};

/// Time of hooks before other connections of the lane run: as long as Python's own threads hold the interpreter.
pub(super) const TIME: Duration = Duration::from_millis(5);

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
    /// True while TLS is to begin: nothing is read.
    pub tls_begins: bool,
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
        let hooks = None;
        let (chunks, end, apart, tls_begins, opposite_stalled, began) = (false, false, false, false, false, None);
        Self { hooks, elsewhere, direction, chunks, end, apart, tls_begins, opposite_stalled, began, splice, coalesce }
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
        let (tls_begins, began) = (false, None);
        Self { hooks, elsewhere, direction, chunks, end, apart, tls_begins, opposite_stalled, began, splice, coalesce }
    }

    /// Returns true if any hook is called.
    fn asks(&self) -> bool {
        self.chunks || self.end
    }

    /// Returns true while reading must pause: a hook has ended the direction or the connection, and the task was woken to act
    /// on it, or has TLS begin; or the answers queued for the other direction are over their limit; or, in a direction that no hook sees here,
    /// one was just set, and the task was woken to move to its thread.
    #[inline]
    pub(super) fn is_held(&self, shared: &Shared) -> bool {
        if self.elsewhere.is_some_and(|hooks| self.has_moved(hooks.interest())) {
            return true;
        }
        self.tls_begins || self.asks() && self.is_held_by_hooks(shared)
    }

    /// Returns true while hooks that are called on this thread hold the reading.
    fn is_held_by_hooks(&self, shared: &Shared) -> bool {
        let control = &shared.control;
        let ends = control.demands_end(self.direction) || !control.tls_begins.is_empty();
        ends || self.is_paused(shared) || self.has_sent_enough(shared)
    }

    /// Returns true if hooks want the direction that this thread does not call.
    #[inline]
    fn has_moved(&self, wanted: Interest) -> bool {
        // First: most connections have no hooks.
        if wanted == Interest::NONE {
            return false;
        }
        let of_others = if self.hooks.is_some() { wanted.on_lane() } else { wanted };
        of_others.has(Interest::recv(self.direction)) || of_others.has(Interest::EOF)
    }

    /// Returns true if no more messages may be cut before the task has acted: on a request about the direction, which wakes
    /// it, or on what holds the direction, unless it is `ending`.
    pub(super) fn is_interrupted(&self, shared: &Shared, ending: bool) -> bool {
        let control = &shared.control;
        let passed = self.chunks && control.passed_through.has(self.direction);
        passed || control.is_aborted() || control.edited.has(self.direction) || !ending && self.is_held(shared)
    }

    /// Returns true if the turn is to be looked at before the next message is cut.
    pub(super) fn is_to_pause(&self) -> bool {
        self.hooks.is_some_and(|hooks| {
            let shared = hooks.connection.shared();
            let has_sent = self.chunks && shared.has_injected(self.direction);
            self.is_interrupted(shared, false) || has_sent || self.has_answers(shared) || self.spent() >= TIME
        })
    }

    /// Records whether the bytes that are shown next are a whole message.
    pub(super) fn set_partial(&self, is_partial: bool) {
        if let Some(hooks) = self.hooks {
            hooks.connection.shared().control.partial.set(self.direction, is_partial);
        }
    }

    /// Returns the end of a connection whose hook has answered a message that is too long. Logs and counts it.
    pub(super) fn refuse_answer(&self, too_long: TooLong) -> Failed {
        let error = format!("on_recv {} has answered {too_long}; answer a shorter one, or several", self.direction.word());
        let id = self.hooks.map_or(0, |hooks| {
            hooks.server.hooks.count_error();
            hooks.connection.id()
        });
        log::error!(target: log_target::CALLBACK, "{id}: {error}");
        Failed { reason: CloseReason::CallbackError, error }
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
        self.hooks.map_or(MOST_CHUNK, |hooks| hooks.server.chunk).min(super::waiting_bytes::most())
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
                if let Some(limit) = hooks.server.inspect_limit {
                    hooks.connection.show(self.direction, chunk.len(), limit);
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
