//! A connection's place in its server: entered when accepted, left once, whatever happens to its task.

use std::{fmt, sync::Arc};

use crate::{
    connection::{context::ConnectionContext, permits::Permit, watching},
    hooks::connection_hooks::ConnectionHooks,
    io::{ready::Accepted, reserve::Reserve},
    live::{
        handle::Connection,
        shared::{Shared, SideNames},
    },
    threads::{lane::LaneHandle, workers::Seat},
    words::{
        addr::SocketName,
        error::printable,
        interest::Interest,
        log_target,
        outcome::{CloseReason, Outcome},
    },
};

/// The share of the server's limits that a connection holds until it has ended.
#[derive(Debug)]
pub(crate) struct Slot {
    /// `None` for an upstream that is carried alone: its client has the permit.
    pub _permit: Option<Permit>,
    /// The connection's seat on an I/O thread; `None` while it is on a lane.
    pub seat: Option<Seat>,
    pub reserve: Option<Reserve>,
}

/// A connection's place in the registry. The connection leaves it once, however its task ends.
pub(crate) struct Entry {
    pub context: Arc<ConnectionContext>,
    pub shared: Arc<Shared>,
    pub hooks: Option<ConnectionHooks>,
    left: bool,
}

impl Entry {
    /// Enters an accepted client. Called before the task exists, so that a stop in between finds the connection.
    pub(crate) fn new(context: Arc<ConnectionContext>, accepted: &Accepted) -> Self {
        let server = &context.server;
        let shared = server.registry.enter(SideNames { peer: accepted.peer(), local: server.client_local(accepted) });
        watching::opened(&context, &shared);
        Self::of(context, shared)
    }

    /// Enters an upstream's socket that is carried alone.
    pub(crate) fn adopted(context: Arc<ConnectionContext>, upstream: SideNames) -> Self {
        let shared = context.server.registry.adopt(upstream);
        Self::of(context, shared)
    }

    fn of(context: Arc<ConnectionContext>, shared: Arc<Shared>) -> Self {
        let connection = || Connection::from(Arc::clone(&shared));
        let hooks = context.server.hooked.get().map(|hooked| ConnectionHooks::new(hooked, connection()));
        Self { context, shared, hooks, left: false }
    }

    /// Ends the connection. Its share of the limits is released once its hooks have seen the end.
    pub(crate) fn end(mut self, outcome: Outcome, slot: Slot) {
        self.leave(outcome, Some(slot));
    }

    fn leave(&mut self, outcome: Outcome, mut slot: Option<Slot>) {
        self.left = true;
        let notice = self.close_notice(&mut slot);
        // Before it leaves: lines logged by then are in the log when the server is closed.
        if log::log_enabled!(target: log_target::CONNECTION, log::Level::Debug) {
            log_end(&self.shared, outcome.reason);
        }
        if self.context.log_connections && !self.shared.is_adopted {
            log::info!(target: log_target::ACCESS, "{}", Access { shared: &self.shared, outcome: &outcome });
        }
        let seen = |outcome: &Outcome| watching::closed(&self.context, &self.shared, outcome);
        self.context.server.registry.leave(&self.shared, outcome, seen);
        if let Some(notice) = notice {
            notice.send();
        }
    }

    /// Returns the notice of the end for the hooks, if they need one. Waiting for the last connection includes waiting for
    /// its notice.
    fn close_notice(&mut self, slot: &mut Option<Slot>) -> Option<CloseNotice> {
        let hooks = self.hooks.take()?;
        let interest = hooks.server.interest();
        let wanted = interest.has(Interest::CLOSE);
        if !hooks.known && !wanted {
            return None;
        }
        let on_lane = interest.on_lane().has(Interest::CLOSE);
        // A lane that has called other hooks drops what it keeps for the connection.
        let lane = if on_lane { hooks.lane() } else { hooks.known_lane() }.cloned();
        if lane.is_none() && on_lane {
            return None;
        }
        self.context.server.registry.add_pending_close_hook();
        let guard = CloseNoticeGuard { context: Arc::clone(&self.context), _slot: slot.take() };
        Some(CloseNotice { hooks, lane, wanted, guard })
    }
}

/// The notice of a connection's end, on its way to the hooks.
struct CloseNotice {
    hooks: ConnectionHooks,
    /// `None` if no hook of the connection is called on a lane.
    lane: Option<LaneHandle>,
    wanted: bool,
    guard: CloseNoticeGuard,
}

impl CloseNotice {
    /// Calls on_close, on its lane if there is one. The number of waiting notices is bounded by the permits that wait with them.
    fn send(self) {
        let Self { hooks, lane, wanted, guard } = self;
        let tell = move || {
            hooks.server.hooks.close(&hooks.connection, wanted, Box::new(guard));
            // Dropped last: the lane may end once no connection has a place on it.
            drop(hooks);
        };
        match lane {
            Some(lane) => lane.notify(Box::new(tell)),
            None => tell(),
        }
    }
}

/// Counts as a pending on_close until dropped: after the call, or with the lane that would have made it.
struct CloseNoticeGuard {
    context: Arc<ConnectionContext>,
    _slot: Option<Slot>,
}

impl Drop for CloseNoticeGuard {
    fn drop(&mut self) {
        self.context.server.registry.remove_pending_close_hook();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // A dropped task went with its runtime; a panic is a defect of ours.
        let outcome = if std::thread::panicking() {
            log::error!(target: log_target::CONNECTION, "{}: ended by a defect of interpose (panic)", self.shared.id);
            Outcome::plain(CloseReason::InternalError)
        } else {
            Outcome::plain(CloseReason::Stopped)
        };
        self.leave(outcome, None);
    }
}

/// The line of an ended connection in the access log: keys and values, those with spaces in quotes.
struct Access<'a> {
    shared: &'a Shared,
    outcome: &'a Outcome,
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared, outcome } = self;
        let names = shared.client_names();
        write!(f, "id={} client={} listener={}", shared.id, Word(&names.peer), Word(&names.local))?;
        if let Some(Some(upstream)) = shared.upstream.get() {
            write!(f, " upstream={}", Word(&upstream.peer))?;
        }
        let (up, down) = (shared.meters.to_upstream.ledger().delivered, shared.meters.to_client.ledger().delivered);
        let seconds = shared.age().as_secs_f64();
        write!(f, " seconds={seconds:.3} to_upstream={up} to_client={down} reason={}", outcome.reason.word())?;
        match &outcome.error {
            Some(error) => write!(f, " error={:?}", printable(error)),
            None => Ok(()),
        }
    }
}

/// A socket's name as a value: in quotes where a path has a space or a quote.
struct Word<'a>(&'a SocketName);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        if text.contains([' ', '"', '=']) { write!(f, "{text:?}") } else { f.write_str(&text) }
    }
}

fn log_end(shared: &Shared, reason: CloseReason) {
    let (up, down) = (shared.meters.to_upstream.ledger(), shared.meters.to_client.ledger());
    log::debug!(
        target: log_target::CONNECTION,
        "{}: closed ({}), to_upstream {} of {} bytes, to_client {} of {} bytes",
        shared.id, reason.word(), up.delivered, up.read, down.delivered, down.read,
    );
}
