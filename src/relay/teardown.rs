//! The ends that are not a FIN both ways.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{
    rest,
    state::{End, Relay},
};
use crate::{
    io::{
        deadline::{self, Deadline},
        stream::{Socket, Stream},
    },
    live::shared::Shared,
    settings::config::Timeouts,
    words::{
        direction::{Direction, Side},
        outcome::{CloseReason, Outcome},
        stats::Meter,
    },
};

/// Limits of reading from a peer that still sends after an orderly close: the time, and the bytes of each side. A socket
/// closed with unread bytes sends RST, which can destroy bytes that the peer has not read yet. A silent peer is not waited
/// for once the server ends idle connections.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Pause between two checks for bytes that the kernel has not delivered yet: the first and the longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Ends both sockets as `end` demands. The drop of the relay aborts them, unless the relay is settled.
pub(super) async fn finish(mut relay: Relay<'_>, end: End) -> Outcome {
    for side in Side::ALL {
        relay.streams[side].raw().map(Socket::clear_low_water);
    }
    match end {
        End::Finished => Outcome::plain(CloseReason::Finished),
        End::Closed => {
            let cause = relay.order.shared.cause().cloned();
            if cause.is_some() {
                // What a fault lets through arrives, however much the peers still send.
                wait_delivered(&mut relay).await;
            }
            relay.settle();
            let (shared, streams) = (relay.order.shared, &mut relay.streams);
            let (of_client, of_upstream) = (&shared.meters.to_upstream, &shared.meters.to_client);
            let client = discard(&mut streams.client, of_client, LINGER_BYTES, |client| is_let_go(client, shared));
            let upstream = discard(&mut streams.upstream, of_upstream, LINGER_BYTES, |upstream| is_let_go(upstream, shared));
            let both = async { tokio::join!(client, upstream) };
            tokio::select! {
                _ = deadline::within(LINGER, both) => {}
                () = aborted(shared) => {}
            }
            cause.unwrap_or_else(|| Outcome::plain(CloseReason::Closed))
        }
        // No bytes were unread, so the close is the FIN that was sent, and nothing waits.
        End::Left => {
            relay.settle();
            Outcome::explained(CloseReason::Closed, "the server stopped while nothing was under way")
        }
        End::Abort(reason) => Outcome::plain(reason),
        End::Reset(failed) => {
            wait_delivered(&mut relay).await;
            failed.into()
        }
        End::Refused(failed) => Outcome::explained(failed.reason, failed.error),
        End::Moved | End::TlsBegins => Outcome::plain(CloseReason::InternalError),
        End::FailedLate => failure(&relay),
        End::Failed => {
            wait_delivered(&mut relay).await;
            failure(&relay)
        }
    }
}

/// Delivers injected bytes to a client without an upstream, then FIN, and reads for a while as after a `close()`. Returns
/// true if all of that was done; otherwise the socket is to be aborted.
pub(crate) async fn say_goodbye(client: &mut Stream, shared: &Shared, timeouts: &Timeouts) -> bool {
    let meter = &shared.meters.to_client;
    let words = shared.finish_inbox(Direction::ToClient);
    // Counted all at once: bytes that the client does not take are lost in any case.
    meter.added(words.iter().map(Bytes::len).sum());
    let deliver = async {
        for data in words {
            let mut rest = &data[..];
            while !rest.is_empty() {
                let taken = poll_fn(|cx| client.poll_write(cx, rest)).await?;
                meter.delivered(taken);
                rest = &rest[taken..];
            }
        }
        poll_fn(|cx| client.poll_end(cx)).await?;
        let lingering = discard(client, &shared.meters.to_upstream, LINGER_BYTES, |client| is_let_go(client, shared));
        let _ = deadline::within(LINGER, lingering).await;
        Ok::<(), io::Error>(())
    };
    let bounded = async {
        match timeouts.half_close {
            Some(limit) => deadline::within(limit, deliver).await.is_some_and(|delivered| delivered.is_ok()),
            None => deliver.await.is_ok(),
        }
    };
    tokio::select! {
        delivered = bounded => delivered,
        () = aborted(shared) => false,
    }
}

/// Completes once an end at once is demanded.
async fn aborted(shared: &Shared) {
    poll_fn(|cx| shared.control.poll_abort(cx)).await;
}

/// Returns true if the peer need not be read any more, because the close is not to take long, or because the server ends idle
/// connections and nothing is under way.
/// Called again at each request of the server.
fn is_let_go(stream: &Stream, shared: &Shared) -> bool {
    shared.control.is_hurried() || shared.control.is_left() && rest::is_silent(stream)
}

/// Reads and discards the bytes that a peer still sends, until it ends or has sent `most` bytes, or nothing waits to be
/// read and that is enough.
async fn discard(stream: &mut Stream, meter: &Meter, most: usize, is_enough: impl Fn(&Stream) -> bool) {
    let mut buffer = [0; 4096];
    let mut dropped = 0;
    // Without a socket neither bytes nor an end come.
    while dropped < most && !stream.is_nowhere() {
        let room = buffer.len().min(most - dropped);
        let read = poll_fn(|cx| match stream.poll_read(cx, &mut buffer[..room]) {
            Poll::Pending if is_enough(stream) => Poll::Ready(Ok(0)),
            polled => polled,
        });
        match read.await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => {
                meter.read(bytes);
                meter.undeliverable(bytes);
                dropped += bytes;
            }
        }
    }
}

/// Waits until the kernel has taken all bytes written to each side that has not failed.
async fn wait_delivered(relay: &mut Relay<'_>) {
    let (shared, limit) = (relay.order.shared, relay.order.timeouts.half_close);
    for side in Side::ALL {
        if relay.failures[side].is_none() {
            wait_acknowledged(&mut relay.streams[side], shared, &shared.meters[side.sends()], limit).await;
        }
    }
}

/// Waits until the peer's kernel has all bytes that were written: RST drops bytes in flight. Meanwhile the peer's own bytes
/// are read and dropped; a peer that is blocked in sending would never take the rest. Limited by `limit` without progress; a
/// request to abort, or the peer's own end, ends the wait.
async fn wait_acknowledged(stream: &mut Stream, shared: &Shared, meter: &Meter, limit: Option<Duration>) {
    if !stream.transport().is_some_and(Socket::is_tcp) {
        return;
    }
    let has_peer = |stream: &Stream| stream.transport().is_some_and(|socket| socket.peer_name().is_ok());
    let (mut pause, longest) = LOOK;
    let mut left = rest::unacknowledged(stream);
    let mut deadline = limit.map(Deadline::after);
    let mut sends = true;
    while left > 0 && has_peer(stream) && !shared.control.is_aborted() {
        if let Some(deadline) = &mut deadline {
            deadline.look_at(Instant::now() + pause);
        }
        if sends {
            sends = timeout(pause, discard(stream, meter, usize::MAX, |_| false)).await.is_err();
        } else {
            sleep(pause).await;
        }
        pause = longest.min(pause * 2);
        let now_left = rest::unacknowledged(stream);
        if let Some(deadline) = &mut deadline {
            if now_left < left {
                deadline.anew();
            }
            if deadline.is_over() {
                return;
            }
        }
        left = now_left;
    }
}

/// Returns the outcome of a failure: the side that failed first is the cause.
fn failure(relay: &Relay<'_>) -> Outcome {
    if let Some(cause) = relay.order.shared.cause() {
        return cause.clone();
    }
    match &relay.failures[relay.failed_first] {
        Some(error) => Outcome::from_side(relay.failed_first, error),
        None => Outcome::plain(CloseReason::InternalError),
    }
}
