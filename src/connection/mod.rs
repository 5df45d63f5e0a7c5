//! One connection: arrive, reach its upstream, relay, end once.

pub(crate) mod apart;
mod arrive;
pub(crate) mod circle;
pub(crate) mod context;
mod decision;
pub(crate) mod entry;
mod hello;
mod mirror_writer;
pub(crate) mod permits;
mod preread;
mod reach;
mod reads_before_relay;
mod steps;
mod unserved;
pub(crate) mod watching;

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    connection::{
        apart::Apart,
        arrive::Arrived,
        entry::{Entry, Slot},
        reach::{Departure, Reached},
        unserved::Unserved,
    },
    io::{
        hops::Hop,
        ready::Accepted,
        stream::{Stream, Unregistered},
    },
    relay::{self, Done},
    threads::workers::Workers,
    words::{
        direction::Direction,
        log_target,
        outcome::{CloseReason, Outcome},
    },
};

/// The state of a connection's task, wherever it runs.
struct Task {
    entry: Entry,
    workers: Workers,
    slot: Slot,
    on_lane: bool,
    /// Marks the connection as one of this process, if it stays on this machine.
    hop: Option<Hop>,
}

/// Carries an accepted client to its end. Runs on the worker of the slot's seat, or on the entry's lane if the slot has no
/// seat.
///
/// Not an `async fn`, and its parts box state that is over before the relay starts: an idle connection has memory for the
/// relay only.
pub(crate) fn run(entry: Entry, workers: Workers, accepted: Accepted, slot: Slot) -> impl Future<Output = ()> + Send {
    let shared = &entry.shared;
    log::debug!(target: log_target::CONNECTION, "{}: accepted from {}", shared.id, shared.client.peer);
    if let Some(limit) = entry.context.unlike_listener {
        accepted.set_unacknowledged_limit(limit);
    }
    let client = accepted.into_unregistered(&entry.context.options);
    let on_lane = slot.seat.is_none();
    let mut task = Task { entry, workers, slot, on_lane, hop: None };
    async move {
        match task.carry(client).await {
            Ok(done) => task.follow(done),
            // Reported already; injected bytes may have been delivered to the client since.
            Err(outcome) => task.entry.end(outcome, task.slot),
        }
    }
}

/// Carries an upstream's socket alone to its end, on its lane.
pub(crate) fn spawn_apart(apart: Apart) {
    if let Some(lane) = apart.entry.hooks.as_ref().and_then(|hooks| hooks.lane().cloned()) {
        lane.spawn(run_apart(apart));
    }
}

fn run_apart(apart: Apart) -> impl Future<Output = ()> + Send {
    let Apart { entry, workers, socket, hop } = apart;
    let slot = Slot { _permit: None, seat: None, reserve: None };
    let task = Task { entry, workers, slot, on_lane: true, hop };
    async move {
        let done = match socket.attach() {
            Ok(upstream) => relay::run(Stream::nobody(), upstream, task.order()).await,
            Err(error) => Done::Over(Outcome::from_registering(&error)),
        };
        task.follow(done);
    }
}

impl Task {
    /// Returns the end of the relay, or the outcome of a connection that had none.
    async fn carry(&mut self, client: Unregistered) -> Result<Done, Outcome> {
        let relay = match Box::pin(self.connect(client)).await {
            Ok((client, upstream)) => relay::run(client, upstream, self.order()),
            Err(outcome) => return Err(outcome),
        };
        Ok(relay.await)
    }

    /// Returns both sides, or the outcome without an upstream, of which the client has been informed.
    async fn connect(&mut self, client: Unregistered) -> Result<(Stream, Stream), Outcome> {
        let client = client.attach();
        let client = client.map_err(|error| {
            let outcome = Outcome::from_registering(&error);
            self.entry.context.server.report_failure(&self.entry.shared, &outcome);
            outcome
        })?;
        let mut client = Unserved(Some(client));
        let outcome = match self.open(&mut client).await {
            Ok(upstream) => match client.0.take() {
                Some(client) => return Ok((client, upstream)),
                None => Outcome::plain(CloseReason::InternalError),
            },
            Err(outcome) => outcome,
        };
        let Entry { context, shared, .. } = &self.entry;
        if outcome.reason == CloseReason::FdExhausted {
            context.server.short_of_descriptors.store(true, Relaxed);
        }
        context.server.report_failure(shared, &outcome);
        // Words that a hook has sent in a dialogue would be lost to a client that is reset before it has read them.
        let has_words = shared.has_injected(Direction::ToClient) || shared.meters.to_client.ledger().delivered > 0;
        if (has_words || outcome.reason == CloseReason::Closed)
            && let Some(stream) = &mut client.0
            && Box::pin(relay::say_goodbye(stream, shared, &context.timeouts)).await
        {
            client.0 = None;
        }
        Err(outcome)
    }

    /// Lets the client arrive, and connects its upstream.
    async fn open(&mut self, client: &mut Unserved) -> Result<Stream, Outcome> {
        let Arrived { forward, inside } = arrive::arrive(&mut self.entry, self.on_lane, client).await?;
        // Its handshake waits for the upstream.
        let waiting = inside.is_some().then(|| Arc::clone(&self.entry.shared));
        let Self { entry, workers, slot, on_lane, .. } = self;
        let reserve = slot.reserve.take();
        let departure = Departure { entry, client, workers, forward, inside, reserve, on_lane: *on_lane };
        let reached = reach::reach(departure).await;
        let Reached { upstream, apart, hop } = reached.map_err(|outcome| match &waiting {
            Some(shared) => hello::refused_unless_shaken(shared, outcome),
            None => outcome,
        })?;
        self.hop = hop;
        let is_apart = apart.is_some();
        if let Some(apart) = apart {
            spawn_apart(apart);
        }
        watching::begin(&entry.context, &entry.shared);
        arrive::await_tls(&entry.context, client, is_apart);
        mirror_writer::begin(entry, workers, *on_lane);
        Ok(upstream)
    }

    fn order(&self) -> relay::RelayContext<'_> {
        relay::RelayContext {
            shared: &self.entry.shared,
            timeouts: &self.entry.context.timeouts,
            splice: self.entry.context.splice,
            coalesce: self.entry.context.coalesce,
            hooks: self.entry.hooks.as_ref(),
            on_lane: self.on_lane,
        }
    }

    /// Ends the connection, or continues it on the thread where it belongs.
    fn follow(mut self, done: Done) {
        let detached = match done {
            Done::Over(outcome) => {
                use CloseReason as Reason;
                // No system call of a peer explains these.
                if matches!(
                    outcome.reason,
                    Reason::FdExhausted
                        | Reason::InternalError
                        | Reason::MessageTooLong
                        | Reason::ProtocolError
                        | Reason::CallbackTimeout
                        | Reason::ClientTlsFailed
                        | Reason::UpstreamTlsFailed
                ) {
                    self.entry.context.server.report_failure(&self.entry.shared, &outcome);
                }
                self.entry.end(outcome, self.slot);
                return;
            }
            Done::Migrate(detached) => detached,
        };
        let lane = match &mut self.entry.hooks {
            Some(hooks) if !self.on_lane => {
                hooks.known = true;
                hooks.lane().cloned()
            }
            _ => None,
        };
        self.on_lane = lane.is_some();
        match lane {
            Some(lane) => {
                self.slot.seat = None;
                lane.spawn(self.go_on(detached));
            }
            None => {
                let (runtime, seat) = self.workers.seat();
                self.slot.seat = Some(seat);
                runtime.spawn(self.go_on(detached));
            }
        }
    }

    /// Returns the rest of the task on another thread. Boxed, because it ends in a task of the same kind.
    fn go_on(self, detached: Box<relay::Detached>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let done = relay::go_on(detached, self.order()).await;
            self.follow(done);
        })
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::{fs::File, net::SocketAddr, sync::Arc};

    use super::*;
    use crate::{
        connection::context::{ConnectionContext, ServerShared},
        inspect::faults::set::FaultSet,
        live::shared::SideNames,
        settings::{config::Config, forward::Forward},
        words::addr::SocketName,
    };

    /// A server, and the place of an upstream's socket in it.
    fn adopted() -> (Arc<ServerShared>, Entry) {
        let forward = Forward::to(SocketAddr::from(([127, 0, 0, 1], 1)));
        let config = Config::new("127.0.0.1:0".parse().unwrap(), forward);
        let name = || SocketName::Unix(String::new());
        let server = Arc::new(ServerShared::new(name(), None, FaultSet::default()));
        let context = ConnectionContext::new(Arc::clone(&server), &config);
        let entry = Entry::adopted(Arc::new(context), SideNames { peer: name(), local: name() });
        (server, entry)
    }

    #[tokio::test]
    async fn a_socket_that_cannot_be_watched_is_reported() {
        let ((server, entry), workers) = (adopted(), Workers::start(1).unwrap());
        let shared = Arc::clone(&entry.shared);
        // A file, which epoll_ctl(2) refuses.
        let refused = Unregistered::of_unix(std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()).into());
        run_apart(Apart { entry, workers, socket: refused, hop: None }).await;
        assert_eq!(shared.outcome.get().unwrap().reason, CloseReason::InternalError);
        assert!(server.connect_log.pass().is_none(), "it has said nothing this second");
    }

    #[tokio::test]
    async fn an_end_by_this_process_is_reported_before_a_move_too() {
        for (reason, is_reported) in
            [(CloseReason::InternalError, true), (CloseReason::CallbackTimeout, true), (CloseReason::ClientReset, false)]
        {
            let ((server, entry), workers) = (adopted(), Workers::start(1).unwrap());
            let slot = Slot { _permit: None, seat: None, reserve: None };
            let task = Task { entry, workers, slot, on_lane: false, hop: None };
            task.follow(Done::Over(Outcome::plain(reason)));
            assert_eq!(server.connect_log.pass().is_none(), is_reported, "{reason}");
        }
    }
}
