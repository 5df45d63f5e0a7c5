//! One connection's way: connect, relay, end once.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use crate::{
    addr::SocketName,
    error::reason_text,
    hops::{Hop, MOST_HOPS},
    io::{
        connector::{self, Connected},
        listener::Accepted,
        stream::Stream,
    },
    outcome::{CloseReason, Outcome},
    registry::{Command, Registry, Shared, SideNames},
    relay,
    server::Core,
    workers::{Commons, Seat},
};

/// How long a connection to ourselves is remembered: it waits in our own backlog, so it is accepted soon.
const CIRCLE_MEMORY: Duration = Duration::from_secs(1);

/// What a connection holds of the server's bounds until it has ended.
#[derive(Debug)]
pub(crate) struct Admission {
    pub _permit: OwnedSemaphorePermit,
    pub _seat: Seat,
    pub reserved: Option<Reserved>,
}

/// A descriptor kept for the upstream's socket.
#[derive(Debug)]
pub(crate) struct Reserved {
    #[cfg(unix)]
    _file: std::fs::File,
}

impl Reserved {
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        std::fs::File::open("/dev/null").map(|file| Self { _file: file })
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {})
    }
}

/// Carries an accepted client to its end. Runs on the worker that the admission's seat is on.
pub(crate) async fn run(entry: Entry, commons: Commons, accepted: Accepted, mut admission: Admission) {
    let (core, shared) = (Arc::clone(&entry.core), &entry.shared);
    log::debug!(target: "interpose::connection", "{}: accepted from {}", shared.id, shared.client.peer);
    let outcome = match accepted.into_stream(&core.options) {
        Ok(client) => carry(&core, commons, shared, client, admission.reserved.take()).await,
        Err(error) => Outcome::explained(CloseReason::ClientGone, reason_text(&error)),
    };
    entry.end(outcome);
    drop(admission);
}

async fn carry(core: &Core, commons: Commons, shared: &Shared, client: Stream, reserved: Option<Reserved>) -> Outcome {
    drop(reserved);
    // Boxed: what connecting needs in memory is gone before the relay starts.
    match Box::pin(open(core, commons, shared, Unserved(Some(client)))).await {
        Ok((client, upstream, _hop)) => relay::run(client, upstream, shared, &core.config.timeouts).await,
        Err(outcome) => {
            if outcome.reason == CloseReason::FdExhausted {
                core.short_of_descriptors.store(true, Relaxed);
            }
            core.report_failure(shared, &outcome);
            outcome
        }
    }
}

/// A client without an upstream. Nothing was sent to it, so the RST that it gets when this is dropped tells it as
/// much as a direct connection would have: there is none.
struct Unserved(Option<Stream>);

impl Unserved {
    fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.0.as_ref().map_or(Poll::Pending, |client| client.poll_failure(cx))
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(client) = &self.0 {
            client.abort_on_close();
        }
    }
}

/// The two sides of a connection, and the memory of it if it stays on this machine.
type Sides = (Stream, Stream, Option<Hop>);

/// Connects the upstream, unless the client or the outside ends the connection first.
async fn open(core: &Core, commons: Commons, shared: &Shared, mut client: Unserved) -> Result<Sides, Outcome> {
    refuse_circle(core, &commons, shared)?;
    let mut connecting = pin!(connector::connect(&core.config.forward, &commons.resolver, &core.options));
    let connected = poll_fn(|cx| {
        shared.control.register(cx);
        match shared.control.command() {
            Some(Command::Close) => return Poll::Ready(Err(Outcome::plain(CloseReason::Closed))),
            Some(Command::Abort) => return Poll::Ready(Err(Outcome::plain(CloseReason::Aborted))),
            Some(Command::Stop) => return Poll::Ready(Err(Outcome::plain(CloseReason::Stopped))),
            None => {}
        }
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected);
        }
        // Only RST is leaving. A FIN may be a client that has said all it wants to, and bytes stay in the kernel.
        client.poll_failure(cx).map(|error| Err(Outcome::explained(CloseReason::ClientGone, reason_text(&error))))
    })
    .await?;
    let Connected { stream: upstream, peer, local } = connected;
    let names = note_names(core, &commons, shared, &upstream, (peer, local))?;
    // Once more: the connection that led here may have been remembered only after it was accepted here.
    let passed = refuse_circle(core, &commons, shared).inspect_err(|_| upstream.abort_on_close())?;
    let hop = names.and_then(|(peer, local)| commons.hops.remember(local, peer, passed));
    match client.0.take() {
        Some(client) => Ok((client, upstream, hop)),
        None => Err(Outcome::plain(CloseReason::InternalError)),
    }
}

/// How many listeners of this process the client has passed, unless they are too many.
fn refuse_circle(core: &Core, commons: &Commons, shared: &Shared) -> Result<u8, Outcome> {
    let passed = shared.client.peer.inet().map_or(0, |peer| commons.hops.passed(peer));
    if passed < MOST_HOPS {
        return Ok(passed);
    }
    Err(loop_detected(core, &format!("it passed {passed} listeners of this process before")))
}

/// Makes the upstream's names known, and refuses one that is our own listener. Gives the peer's and the local address.
fn note_names(
    core: &Core,
    commons: &Commons,
    shared: &Shared,
    upstream: &Stream,
    (peer, local): (SocketName, SocketName),
) -> Result<Option<(SocketAddr, SocketAddr)>, Outcome> {
    let inet = peer.inet().zip(local.inet());
    if peer == core.address || inet.is_some_and(|(peer, local)| core.is_own_wildcard(peer) && peer.ip() == local.ip()) {
        upstream.abort_on_close();
        if let Some(hop) = inet.and_then(|(peer, local)| commons.hops.remember(local, peer, MOST_HOPS)) {
            // Our listener accepts this connection too, and must know it for what it is, not connect once more.
            tokio::spawn(async move {
                sleep(CIRCLE_MEMORY).await;
                drop(hop);
            });
        }
        return Err(loop_detected(core, "the target is this server's own listener"));
    }
    let _ = shared.upstream.set(SideNames { peer, local });
    Ok(inet)
}

fn loop_detected(core: &Core, why: &str) -> Outcome {
    let target = &core.config.forward.address;
    Outcome::explained(
        CloseReason::LoopDetected,
        format!("connecting to {target} would go round in circles: {why}; forward to another address"),
    )
}

/// A connection's place in the registry. It ends there once, however its task ends.
pub(crate) struct Entry {
    core: Arc<Core>,
    shared: Arc<Shared>,
    outcome: Option<Outcome>,
}

impl Entry {
    /// Entered before the task exists, so that a stop in between knows of the connection.
    pub(crate) fn new(core: &Arc<Core>, accepted: &Accepted) -> Self {
        let names = SideNames { peer: accepted.peer(), local: core.client_local(accepted) };
        Self { core: Arc::clone(core), shared: core.registry.enter(names), outcome: None }
    }

    fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            // A task that is dropped went with its runtime; one that panicked is our defect.
            if std::thread::panicking() {
                log::error!(target: "interpose::connection", "{}: ended by a defect of interpose (panic)", self.shared.id);
                Outcome::plain(CloseReason::InternalError)
            } else {
                Outcome::plain(CloseReason::Stopped)
            }
        });
        let registry: &Registry = &self.core.registry;
        registry.leave(&self.shared, outcome);
        if log::log_enabled!(target: "interpose::connection", log::Level::Debug) {
            log_end(&self.shared);
        }
    }
}

fn log_end(shared: &Shared) {
    let (up, down) = (shared.to_upstream.ledger(), shared.to_client.ledger());
    let reason = shared.outcome.get().map_or("", |outcome| outcome.reason.word());
    log::debug!(
        target: "interpose::connection",
        "{}: closed ({reason}), to_upstream {} of {} bytes, to_client {} of {} bytes",
        shared.id, up.delivered, up.read, down.delivered, down.read,
    );
}
