//! Connections that come back to this process: how far a client has come, and targets that are our own listener.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::sleep;

use crate::{
    connection::context::ServerShared,
    io::hops::{Hop, Hops, MOST_HOPS},
    live::shared::{Shared, SideNames},
    words::{addr::SocketName, outcome::Outcome},
};

/// How long a connection to ourselves is remembered: it waits in our own backlog, so it is accepted soon.
const CIRCLE_MEMORY: Duration = Duration::from_secs(1);

/// How many listeners of this process the client has passed, unless they are too many.
pub(super) fn refuse_circle(server: &ServerShared, hops: &Hops, shared: &Shared) -> Result<u8, Outcome> {
    let passed = hops.passed(&shared.client.peer, &shared.client.local);
    shared.passed.store(passed, Relaxed);
    refuse_long_way(server, passed)
}

/// Refuses what has `passed` too many listeners of this process.
pub(crate) fn refuse_long_way(server: &ServerShared, passed: u8) -> Result<u8, Outcome> {
    if passed < MOST_HOPS {
        return Ok(passed);
    }
    Err(Outcome::loop_detected(&server.address, &format!("the client passed {passed} listeners of this process before")))
}

/// Makes the upstream's names known, and refuses one that is our own listener.
pub(super) fn note_names(
    server: &ServerShared,
    shared: &Shared,
    (peer, local): (SocketName, SocketName),
    hop: Option<Hop>,
) -> Result<Option<Hop>, Outcome> {
    let is_here = |(peer, local): (SocketAddr, SocketAddr)| {
        server.is_own_wildcard(peer) && (peer.ip() == local.ip() || peer.ip().to_canonical().is_loopback())
    };
    if peer == server.address || peer.inet().zip(local.inet()).is_some_and(is_here) {
        if let Some(hop) = hop {
            hop.raise(MOST_HOPS);
            // Our listener accepts this connection too, and must know it for what it is, not connect once more.
            tokio::spawn(async move {
                sleep(CIRCLE_MEMORY).await;
                drop(hop);
            });
        }
        return Err(Outcome::loop_detected(&peer, "the target is this server's own listener"));
    }
    let _ = shared.upstream.set(Some(Box::new(SideNames { peer, local })));
    Ok(hop)
}
