//! The arrival of a client: from accept until `on_accept` may be called.
//!
//! Its steps come first, because they read what stands before everything else, then its TLS hello, where that decides
//! something, and its TLS handshake.

use std::time::Duration;

use crate::{
    connection::{
        entry::Entry,
        hello::{self, Routed},
        steps::Opening,
        unserved::{Unserved, unless_ended},
    },
    io::{connector::Inside, deadline, stream::Stream},
    live::shared::Shared,
    settings::forward::Forward,
    tls::{session::Session, terminate::Tls},
    words::{
        direction::Side,
        outcome::{CloseReason, Outcome},
    },
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
        unless_ended(Box::pin(terminate(tls, stream)), shared, None).await?;
        shared.keep_tls(Side::Client, stream.tls());
    }
    Ok(Arrived { forward: forward.map(Box::new), inside })
}

/// Lets the client finish its TLS handshake. What is relayed from then on is what it says under it.
async fn terminate(tls: &Tls, stream: &mut Stream) -> Result<(), Outcome> {
    let session = tls.session().map_err(|failure| Outcome::from_handshake(Side::Client, &failure.into()))?;
    shake_hands(stream, session, tls.settings().handshake_timeout).await
}

/// Lets the client finish the handshake of `session`.
async fn shake_hands(stream: &mut Stream, session: Session, limit: Duration) -> Result<(), Outcome> {
    match deadline::within(limit, stream.start_tls(session)).await {
        Some(done) => done.map_err(|error| Outcome::from_handshake(Side::Client, &error)),
        None => {
            let why = format!("the client had not finished its TLS handshake within {limit:?}; see handshake_timeout");
            Err(Outcome::explained(CloseReason::HandshakeTimeout, why))
        }
    }
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
    let name = name_of(forward, shared);
    let shown = upstream.map(Stream::shown).unwrap_or_default();
    let session = inside
        .by
        .session(&inside.asked, name.as_deref(), &shown)
        .map_err(|failure| Outcome::from_handshake(Side::Client, &failure.into()))?;
    let limit = inside.by.settings().handshake_timeout;
    let shaken = unless_ended(Box::pin(shake_hands(stream, session, limit)), shared, None).await;
    shaken.map_err(advised)?;
    shared.keep_tls(Side::Client, stream.tls());
    Ok(())
}

/// Appends the advice for a client that does not trust what it was shown. Many only end, and say nothing.
fn advised(outcome: Outcome) -> Outcome {
    match outcome.error {
        Some(why) if outcome.reason == CloseReason::ClientTlsFailed => {
            let why = format!("{why}; how it comes to trust the authority of this user: interpose ca trust");
            Outcome::explained(outcome.reason, why)
        }
        error => Outcome { error, ..outcome },
    }
}

/// Returns the name of an upstream for a client that asks for none: the target's, else the address of its socket.
fn name_of(forward: Option<&Forward>, shared: &Shared) -> Option<String> {
    let host = forward.and_then(|forward| forward.address.host()).map(str::to_owned);
    let address = || shared.upstream.get()?.as_ref()?.peer.inet();
    host.or_else(|| address().map(|address| address.ip().to_string()))
}
