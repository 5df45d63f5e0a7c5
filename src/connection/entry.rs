//! A connection's place in its server: entered when accepted, left once, whatever happens to its task.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::{
    connection::context::ConnectionContext,
    hooks::{Attendant, Hooked},
    io::{ready::Accepted, reserve::Reserve},
    live::{
        handle::Connection,
        shared::{Shared, SideNames},
    },
    threads::{lane::LaneHandle, workers::Seat},
    words::{
        interest::Interest,
        outcome::{CloseReason, Outcome},
    },
};

/// What a connection holds of the server's bounds until it has ended.
#[derive(Debug)]
pub(crate) struct Slot {
    /// None for an upstream that is carried alone: its client has one.
    pub _permit: Option<OwnedSemaphorePermit>,
    /// Its place on a thread of the native runtime; none while it is on a lane.
    pub seat: Option<Seat>,
    pub reserve: Option<Reserve>,
}

/// A connection's place in the registry. It ends there once, however its task ends.
pub(crate) struct Entry {
    pub context: Arc<ConnectionContext>,
    pub shared: Arc<Shared>,
    pub attendance: Option<Attendance>,
    left: bool,
}

/// A connection's share in the hooks of its server.
#[derive(Debug)]
pub(crate) struct Attendance {
    pub attendant: Attendant,
    /// Whether the hooks have been asked, or may have been: then they have to be told of the end.
    pub known: bool,
}

impl Attendance {
    fn new(hooked: &Arc<Hooked>, shared: &Arc<Shared>) -> Self {
        let attendant = Attendant::new(hooked, Connection::from(Arc::clone(shared)));
        Self { known: attendant.interest() != Interest::NONE && attendant.can_ask(), attendant }
    }

    /// Returns true if the hooks have each socket carried alone.
    pub(crate) fn is_apart(&self) -> bool {
        self.attendant.hooked.apart
    }

    /// Who is to be asked, if this is of interest now.
    pub(crate) fn wanted(&mut self, hook: Interest) -> Option<&Attendant> {
        let wanted = self.attendant.interest().has(hook) && self.attendant.can_ask();
        self.known |= wanted;
        wanted.then_some(&self.attendant)
    }
}

impl Entry {
    /// Entered before the task exists, so that a stop in between knows of the connection.
    pub(crate) fn new(context: Arc<ConnectionContext>, accepted: &Accepted) -> Self {
        let server = &context.server;
        let shared = server.registry.enter(SideNames { peer: accepted.peer(), local: server.client_local(accepted) });
        Self::of(context, shared)
    }

    /// The entry of an upstream's socket that is carried alone.
    pub(crate) fn adopted(context: Arc<ConnectionContext>, upstream: SideNames) -> Self {
        let shared = context.server.registry.adopt(upstream);
        Self::of(context, shared)
    }

    fn of(context: Arc<ConnectionContext>, shared: Arc<Shared>) -> Self {
        let attendance = context.server.hooked.get().map(|hooked| Attendance::new(hooked, &shared));
        Self { context, shared, attendance, left: false }
    }

    pub(crate) fn attendant(&self) -> Option<&Attendant> {
        self.attendance.as_ref().map(|attendance| &attendance.attendant)
    }

    /// The end. What the connection holds of the bounds is given back once its hooks know.
    pub(crate) fn end(mut self, outcome: Outcome, slot: Slot) {
        self.leave(outcome, Some(slot));
    }

    fn leave(&mut self, outcome: Outcome, mut slot: Option<Slot>) {
        self.left = true;
        let message = self.message(&mut slot);
        // Before it has left: what was said by then is in the log when the server is closed.
        if log::log_enabled!(target: "interpose::connection", log::Level::Debug) {
            log_end(&self.shared, outcome.reason);
        }
        self.context.server.registry.leave(&self.shared, outcome);
        if let Some(message) = message {
            message.send();
        }
    }

    /// What has to be told to the hooks, if anything. Whoever waits for the last connection waits for it too.
    fn message(&mut self, slot: &mut Option<Slot>) -> Option<Message> {
        let Attendance { attendant, known } = self.attendance.take()?;
        let wanted = attendant.hooked.interest().has(Interest::CLOSE);
        if !known && !wanted {
            return None;
        }
        let lane = attendant.lane().cloned();
        if lane.is_none() && attendant.is_on_lane() {
            return None;
        }
        self.context.server.registry.to_be_told();
        let told = Told { context: Arc::clone(&self.context), _slot: slot.take() };
        Some(Message { attendant, lane, wanted, told })
    }
}

/// A connection's end, on its way to the hooks.
struct Message {
    attendant: Attendant,
    /// None if the hooks are asked on any thread.
    lane: Option<LaneHandle>,
    wanted: bool,
    told: Told,
}

impl Message {
    /// Tells it, on the lane. What waits there is bounded by the permits that wait with it.
    fn send(self) {
        let Self { attendant, lane, wanted, told } = self;
        let tell = move || {
            attendant.hooked.hooks.on_close(&attendant.connection, wanted);
            drop(told);
            // Last: the lane may end when nobody has a place on it.
            drop(attendant);
        };
        match lane {
            Some(lane) => lane.tell(Box::new(tell)),
            None => tell(),
        }
    }
}

/// Dropped when the hooks were told, or with the lane that would have told them.
struct Told {
    context: Arc<ConnectionContext>,
    _slot: Option<Slot>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.context.server.registry.told();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // A task that is dropped went with its runtime; one that panicked is our defect.
        let outcome = if std::thread::panicking() {
            log::error!(target: "interpose::connection", "{}: ended by a defect of interpose (panic)", self.shared.id);
            Outcome::plain(CloseReason::InternalError)
        } else {
            Outcome::plain(CloseReason::Stopped)
        };
        self.leave(outcome, None);
    }
}

fn log_end(shared: &Shared, reason: CloseReason) {
    let (up, down) = (shared.meters.to_upstream.ledger(), shared.meters.to_client.ledger());
    log::debug!(
        target: "interpose::connection",
        "{}: closed ({}), to_upstream {} of {} bytes, to_client {} of {} bytes",
        shared.id, reason.word(), up.delivered, up.read, down.delivered, down.read,
    );
}
