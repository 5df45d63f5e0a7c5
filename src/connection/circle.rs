//! Connections that come back to this process: the hops of a client, and targets that are our own listener.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{
    connection::context::ServerShared,
    io::{
        hops::{Hop, Hops, MOST_HOPS},
        stream::{Socket, Stream},
    },
    live::shared::Shared,
    words::{
        addr::SocketName,
        outcome::{CloseReason, Outcome},
    },
};

/// How long a connection to ourselves is remembered: it waits in our own backlog, so it is accepted soon.
const MEMORY: Duration = Duration::from_secs(1);

/// How long clients of this machine are suspected after a circle was found.
const DOUBT: Duration = Duration::from_secs(1);

/// Finds the socket of a client without a name, if it is one of this process. Refuses one that is and has closed it already
/// without a word, where a circle was just found: nobody knows it any more, and it may be one more of that.
pub(super) fn identify(hops: &Hops, client: Option<&Stream>, shared: &Shared) -> Result<(), Outcome> {
    if !matches!(&shared.client.peer, SocketName::Unix(name) if name.is_empty()) {
        return Ok(());
    }
    let Some(client) = client else { return Ok(()) };
    match client.transport().and_then(Socket::inode_of_client) {
        Some(0) if hops.last_circle.is_recent() && !client.has_unread_bytes() => {
            Err(Outcome::explained(CloseReason::ClientGone, "the client closed its socket before it had sent anything"))
        }
        inode => {
            shared.inode.store(inode.unwrap_or(0), Relaxed);
            Ok(())
        }
    }
}

/// Returns the number of listeners of this process that the client has passed. Fails if there are too many.
pub(super) fn refuse(server: &ServerShared, hops: &Hops, shared: &Shared) -> Result<u8, Outcome> {
    let passed = hops.passed(shared.ends());
    shared.passed.store(passed, Relaxed);
    refuse_long_way(server, hops, passed)
}

/// Refuses a connection that has `passed` too many listeners of this process.
pub(crate) fn refuse_long_way(server: &ServerShared, hops: &Hops, passed: u8) -> Result<u8, Outcome> {
    if passed < MOST_HOPS {
        return Ok(passed);
    }
    server.last_circle.found();
    hops.last_circle.found();
    Err(Outcome::loop_detected(&server.address, &format!("the client passed {passed} listeners of this process before")))
}

/// Returns true for a client that may be one more of a circle that was just found, and is not known for it yet: a socket of a
/// script's own is known from when the script enters it, which may be later than its client is accepted here.
pub(super) fn may_be_late(server: &ServerShared, shared: &Shared) -> bool {
    if !server.last_circle.is_recent() {
        return false;
    }
    let ends = shared.ends();
    match (ends.from.inet(), ends.to.inet()) {
        (Some(from), Some(to)) => from.ip() == to.ip() || from.ip().to_canonical().is_loopback(),
        _ => ends.is_of_this_process(),
    }
}

/// Waits until the client is known to have come round, but not for long: it may as well belong to another program.
pub(super) async fn wait_in_doubt(hops: &Hops, shared: &Shared) -> Result<(), Outcome> {
    let _ = timeout(DOUBT, hops.is_found_out(shared.ends())).await;
    Ok(())
}

/// Refuses an upstream whose socket's names are those of our own listener.
pub(super) fn refuse_own_listener(
    server: &ServerShared,
    (peer, local): (&SocketName, &SocketName),
    hop: Option<Hop>,
) -> Result<Option<Hop>, Outcome> {
    let is_here = |(peer, local): (SocketAddr, SocketAddr)| {
        server.is_own_wildcard(peer) && (peer.ip() == local.ip() || peer.ip().to_canonical().is_loopback())
    };
    if *peer == server.address || peer.inet().zip(local.inet()).is_some_and(is_here) {
        if let Some(hop) = hop {
            hop.raise(MOST_HOPS);
            // Our listener accepts this connection too, and must recognise it instead of connecting once more.
            tokio::spawn(async move {
                sleep(MEMORY).await;
                drop(hop);
            });
        }
        return Err(Outcome::loop_detected(peer, "the target is this server's own listener"));
    }
    Ok(hop)
}
