//! TLS that begins amid a relay, with one side or with both.
//!
//! No side is read while TLS is to begin. What was read goes out as it came, in plain, to the side that is to speak TLS: so
//! nothing that was said before TLS is taken for a part of what is said under it. What a framer has not cut by then belongs to
//! the session of the side that has sent it, as do the bytes that the kernel has.

use std::{future::poll_fn, pin::pin, task::Poll};

use super::state::{End, Relay};
use crate::{
    hooks::Failed,
    io::{
        handshake::{self, Handshake},
        stream::Socket,
    },
    tls::start::{ClientTls, Start},
    wire::hello::refusal::{INTERNAL_ERROR, alert_record},
    words::{
        direction::{Direction, Side},
        outcome::{CloseReason, Outcome},
    },
};

impl Relay<'_> {
    /// Returns true if TLS is to begin.
    #[inline]
    pub(super) fn tls_begins(&self) -> bool {
        !self.order.shared.control.tls_begins.is_empty() || self.streams.client.has_hello()
    }

    /// Returns true if each side that is to speak TLS has all that goes before it.
    pub(super) fn is_ready_for_tls(&self) -> bool {
        let (shared, has_hello) = (self.order.shared, self.streams.client.has_hello());
        let begins = |side: &Side| has_hello || shared.control.tls_begins.has(side.receives());
        Side::ALL.iter().filter(|side| begins(side)).all(|side| {
            let (direction, pump) = (side.receives(), &self.pumps[side.receives()]);
            pump.is_over() || pump.delivery.is_written() && pump.stages.has_passed_all() && !shared.has_injected(direction)
        })
    }

    /// Begins TLS with the sides that are to speak it. Returns the end of the relay if that fails.
    pub(super) async fn begin_tls(&mut self) -> Result<(), End> {
        let shared = self.order.shared;
        let mut start = shared.take_start();
        if start.client.is_some() || start.upstream.is_none() {
            // What a hook has asked for comes before what follows from the hello.
            let watched = self.streams.client.stop_watching().unwrap_or_default();
            start.client = start.client.or(watched.client);
            start.upstream = start.upstream.or(watched.upstream.filter(|_| self.can_begin_with_upstream()));
        }
        for direction in Direction::ALL {
            self.streams[direction.source()].raw().map(Socket::clear_low_water);
            self.pumps[direction].leave_thread().map_err(End::Refused)?;
        }
        if start.client.is_some() {
            self.take_back(Side::Client);
            self.streams.client.unread(std::mem::take(&mut start.early));
        }
        if start.upstream.is_some() {
            self.take_back(Side::Upstream);
        }
        let mut work = pin!(self.shake_hands(start));
        poll_fn(|cx| match shared.control.poll_abort(cx) {
            Poll::Ready(reason) => Poll::Ready(Err(End::Abort(reason))),
            Poll::Pending => work.as_mut().poll(cx),
        })
        .await
    }

    /// Returns true unless the upstream speaks TLS from its beginning, or there is none.
    fn can_begin_with_upstream(&self) -> bool {
        self.streams.upstream.tls().is_none() && !self.streams.upstream.is_nowhere()
    }

    /// Puts bytes of a side that no stage behind its framer has seen back in front of those that are still to be read.
    fn take_back(&mut self, side: Side) {
        let uncut = self.pumps[side.sends()].stages.chain_mut().map(|chain| chain.take_uncut()).unwrap_or_default();
        let bytes: Vec<u8> = uncut.iter().flat_map(|chunk| chunk[..].iter().copied()).collect();
        // They were read, and are to be read once more as what they hold.
        self.order.shared.meters[side.sends()].dropped(bytes.len());
        self.streams[side].unread(bytes.into());
    }

    async fn shake_hands(&mut self, start: Start) -> Result<(), End> {
        let host = self.order.shared.host();
        let asked = match &start.client {
            Some(tls @ ClientTls::LookInside(_)) => {
                Some(handshake::read_hello(&mut self.streams.client, tls.handshake_timeout()).await.map_err(failed)?)
            }
            _ => None,
        };
        if let Some(tls) = &start.upstream {
            let session = tls.session(host.as_deref(), asked.as_ref());
            let limit = tls.settings().handshake_timeout;
            let shaken = self.shake(Side::Upstream, Handshake { session, limit }).await;
            if shaken.is_err() && start.client.is_some() {
                self.alert_client().await;
            }
            shaken.map_err(failed)?;
        }
        match start.client {
            None => {}
            Some(ClientTls::Terminate(tls)) => {
                let limit = tls.settings().handshake_timeout;
                self.shake(Side::Client, Handshake { session: tls.session(), limit }).await.map_err(failed)?;
            }
            Some(ClientTls::LookInside(by)) => {
                let shown = self.streams.upstream.shown();
                let session = by.session(&asked.unwrap_or_default(), host.as_deref(), &shown);
                let limit = by.settings().handshake_timeout;
                let shaken = self.shake(Side::Client, Handshake { session, limit }).await;
                shaken.map_err(handshake::advised).map_err(failed)?;
            }
        }
        for direction in Direction::ALL {
            if let Some(chain) = self.pumps[direction].stages.chain_mut() {
                chain.begin_anew();
            }
        }
        Ok(())
    }

    async fn shake(&mut self, side: Side, handshake: Handshake) -> Result<(), Outcome> {
        let stream = &mut self.streams[side];
        if stream.is_nowhere() {
            let word = if side == Side::Client { "client" } else { "upstream" };
            let why = format!("start_tls: the {word} is no side of this connection; call it in a hook that has both");
            return Err(Outcome::explained(CloseReason::CallbackError, why));
        }
        handshake.shake(side, stream).await?;
        self.order.shared.keep_tls(side, stream.tls());
        Ok(())
    }

    /// Sends a client whose handshake waits for its upstream an alert, if there is room.
    async fn alert_client(&mut self) {
        let alert = alert_record(INTERNAL_ERROR);
        poll_fn(|cx| {
            let _ = self.streams.client.poll_write(cx, &alert);
            Poll::Ready(())
        })
        .await;
    }
}

/// Returns the end of a relay whose side has failed to begin TLS: what was sent before arrives, then both sides are reset.
fn failed(outcome: Outcome) -> End {
    End::Reset(Failed { reason: outcome.reason, error: outcome.error.unwrap_or_default() })
}
