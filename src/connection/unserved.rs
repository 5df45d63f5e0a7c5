//! A side whose opposite one is not there yet.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    task::{Context, Poll},
};

use crate::{
    io::stream::Stream,
    live::{control::Demand, shared::Shared},
    words::{
        error::reason_text,
        outcome::{CloseReason, Outcome},
    },
};

/// A side whose opposite side is not there yet. The drop resets it: nothing was sent to it, so RST is what a failed direct
/// connection would have sent.
pub(super) struct Unserved(pub(super) Option<Stream>);

impl Unserved {
    fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.0.as_ref().map_or(Poll::Pending, |client| client.poll_failure(cx))
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(side) = &mut self.0 {
            side.abort_on_close();
        }
    }
}

/// Completes with the outcome of `work`, unless the outside ends the connection first, or the client leaves, where that can
/// be watched beside `work`.
pub(super) async fn unless_ended<T>(
    work: impl Future<Output = Result<T, Outcome>>,
    shared: &Shared,
    client: Option<&Unserved>,
) -> Result<T, Outcome> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(reason) = shared.control.poll_abort(cx) {
            return Poll::Ready(Err(Outcome::plain(reason)));
        }
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if shared.control.demand() == Some(Demand::Close) {
            return Poll::Ready(Err(Outcome::plain(CloseReason::Closed)));
        }
        // Only RST means that the client has left. A FIN may come from a client that has sent everything, and bytes stay in
        // the kernel.
        let failure = client.map_or(Poll::Pending, |client| client.poll_failure(cx));
        failure.map(|error| Err(Outcome::explained(CloseReason::ClientGone, reason_text(&error))))
    })
    .await
}
