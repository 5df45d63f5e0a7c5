//! Requests to begin TLS amid a connection, and the properties of what each side speaks.

use super::{shared::Shared, sides_tls::Unstarted};
use crate::{
    tls::{description::Description, start::Start},
    words::{direction::Side, lock::EvenPoisoned},
};

impl Shared {
    /// Keeps the properties of a side's TLS, once.
    pub(crate) fn keep_tls(&self, side: Side, description: Option<Description>) {
        if let Some(description) = description {
            let _ = self.sides_tls().spoken[side].set(Box::new(description));
        }
    }

    /// Returns true if a side has finished a TLS handshake.
    pub(crate) fn has_tls(&self, side: Side) -> bool {
        self.tls(side).is_some()
    }

    /// Returns the properties of a side's TLS, if it has some.
    pub(super) fn tls(&self, side: Side) -> Option<&Description> {
        self.known_tls()?.spoken[side].get().map(Box::as_ref)
    }

    /// Keeps the name by which the upstream was connected.
    pub(crate) fn keep_host(&self, host: Option<Box<str>>) {
        if let Some(host) = host {
            let _ = self.sides_tls().host.set(host);
        }
    }

    /// Returns the name of the upstream: the one by which it was connected, else the address of its socket.
    pub(crate) fn host(&self) -> Option<String> {
        let host = self.known_tls().and_then(|tls| tls.host.get()).map(ToString::to_string);
        let address = || self.upstream.get()?.as_ref()?.peer.inet();
        host.or_else(|| address().map(|address| address.ip().to_string()))
    }

    /// Asks the task to begin TLS with each side that `start` names, behind all that is written to that side by then.
    pub(super) fn ask_for_tls(&self, start: Start) -> Result<(), Unstarted> {
        let mut asked = self.sides_tls().start.lock().even_poisoned();
        let mut sides = Vec::new();
        sides.extend(start.client.is_some().then_some((Side::Client, asked.client.is_some())));
        sides.extend(start.upstream.is_some().then_some((Side::Upstream, asked.upstream.is_some())));
        for (side, is_asked) in &sides {
            let is_client = *side == Side::Client;
            if !is_client && !matches!(self.upstream.get(), Some(Some(_))) {
                return Err(Unstarted::NoUpstream);
            }
            if *is_asked || self.has_tls(*side) {
                return Err(Unstarted::Already { is_client });
            }
            if self.control.over.has(side.receives()) {
                return Err(Unstarted::Ended { is_client });
            }
        }
        let Start { client, upstream, early } = start;
        if !early.is_empty() {
            asked.early = [&asked.early[..], &early].concat().into();
        }
        asked.client = asked.client.take().or(client);
        asked.upstream = asked.upstream.take().or(upstream);
        sides.iter().for_each(|(side, _)| self.control.tls_begins.add(side.receives()));
        drop(asked);
        self.control.wake();
        Ok(())
    }

    /// Takes the TLS that is to begin.
    pub(crate) fn take_start(&self) -> Start {
        let Some(tls) = self.known_tls() else { return Start::default() };
        let mut start = tls.start.lock().even_poisoned();
        Side::ALL.into_iter().for_each(|side| self.control.tls_begins.remove(side.receives()));
        std::mem::take(&mut *start)
    }
}
