//! The arrival of a client: from accept until `on_accept` may be called.
//!
//! Its steps come first, because they read what stands before everything else, then its TLS hello, where that decides
//! something, and its TLS handshake.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    connection::{
        context::ConnectionContext,
        entry::Entry,
        hello::{self, Routed},
        steps::Opening,
        unserved::{Unserved, unless_ended},
    },
    io::{
        connector::Inside,
        handshake::{Handshake, advised},
        stream::Stream,
    },
    live::shared::Shared,
    settings::forward::Forward,
    tls::start::{ClientTls, Start},
    words::{direction::Side, outcome::Outcome},
};

/// The decisions of a client's hello.
pub(super) struct Arrived {
    /// The target in place of the server's own.
    pub forward: Option<Box<Forward>>,
    /// Looks inside the client's TLS, once its upstream is known.
    pub inside: Option<Box<Inside>>,
}

/// Lets the client pass the steps of arrival, unless the outside ends the connection first.
pub(super) async fn arrive(entry: &mut Entry, on_lane: bool, client: &mut Unserved) -> Result<Arrived, Outcome> {
    let (context, shared) = (&entry.context, &entry.shared);
    if let (Some(steps), Some(stream)) = (&context.arrival, &mut client.0) {
        let mut names = (*shared.client).clone();
        // Boxed, so that connections without steps have no memory for them.
        let passing = Box::pin(steps.pass(Opening { stream, names: &mut names }));
        unless_ended(passing, shared, None).await?;
        shared.name_client(names);
    }
    let Routed { forward, tls, inside } = match hello::is_wanted(entry) {
        true => Box::pin(hello::route(entry, on_lane, client)).await?,
        false => Routed { forward: None, tls: entry.context.tls.clone(), inside: None },
    };
    let shared = &entry.shared;
    if let (Some(tls), Some(stream)) = (&tls, &mut client.0) {
        let handshake = Handshake { session: tls.session(), limit: tls.settings().handshake_timeout };
        unless_ended(Box::pin(handshake.shake(Side::Client, stream)), shared, None).await?;
        shared.keep_tls(Side::Client, stream.tls());
    }
    Ok(Arrived { forward: forward.map(Box::new), inside })
}

/// Shows the client a certificate that is like that of `upstream`, if its TLS is looked into. A client that asks for no name is
/// shown that of `forward`.
pub(super) async fn look_inside(
    inside: Option<&Inside>,
    forward: Option<&Forward>,
    shared: &Shared,
    (client, upstream): (&mut Unserved, Option<&Stream>),
) -> Result<(), Outcome> {
    let (Some(inside), Some(stream)) = (inside, &mut client.0) else { return Ok(()) };
    let name = forward.and_then(|forward| forward.address.host()).map_or_else(|| shared.host(), |host| Some(host.to_owned()));
    let shown = upstream.map(Stream::shown).unwrap_or_default();
    let session = inside.by.session(&inside.asked, name.as_deref(), &shown);
    let handshake = Handshake { session, limit: inside.by.settings().handshake_timeout };
    unless_ended(Box::pin(handshake.shake(Side::Client, stream)), shared, None).await.map_err(advised)?;
    shared.keep_tls(Side::Client, stream.tls());
    Ok(())
}

/// Watches a client that has begun in plain for the hello with which TLS begins, if that is looked into.
pub(super) fn await_tls(context: &ConnectionContext, client: &mut Unserved, is_apart: bool) {
    let (Some(by), Some(stream), false) = (&context.intercept, &mut client.0, is_apart || !context.begins_plain()) else {
        return;
    };
    let upstream = Some(by.settings().upstream.clone());
    stream.watch(Start { client: Some(ClientTls::LookInside(Arc::clone(by))), upstream, early: Bytes::new() });
}
