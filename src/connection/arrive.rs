//! The arrival of a client: from accept until `on_accept` may be called.
//!
//! Its steps come first, because they read what stands before everything else, then its TLS hello, where that decides
//! something, and its TLS handshake.

use crate::{
    connection::{
        entry::Entry,
        hello::{self, Routed},
        steps::Opening,
        unserved::{Unserved, unless_ended},
    },
    io::{deadline, stream::Stream},
    settings::forward::Forward,
    tls::terminate::Tls,
    words::{
        direction::Side,
        outcome::{CloseReason, Outcome},
    },
};

/// Lets the client pass the steps of arrival, unless the outside ends the connection first. Returns the target that its TLS
/// hello has chosen in place of the server's own.
pub(super) async fn arrive(entry: &mut Entry, on_lane: bool, client: &mut Unserved) -> Result<Option<Box<Forward>>, Outcome> {
    let (context, shared) = (&entry.context, &entry.shared);
    if let (Some(steps), Some(stream)) = (&context.arrival, &mut client.0) {
        let mut names = (*shared.client).clone();
        // Boxed, so that connections without steps have no memory for them.
        let passing = Box::pin(steps.pass(Opening { stream, names: &mut names }));
        unless_ended(passing, shared, None).await?;
        shared.name_client(names);
    }
    let Routed { forward, tls } = match hello::is_wanted(entry) {
        true => Box::pin(hello::route(entry, on_lane, client)).await?,
        false => Routed { forward: None, tls: entry.context.tls.clone() },
    };
    let shared = &entry.shared;
    if let (Some(tls), Some(stream)) = (&tls, &mut client.0) {
        unless_ended(Box::pin(terminate(tls, stream)), shared, None).await?;
        shared.keep_tls(Side::Client, stream.tls());
    }
    Ok(forward.map(Box::new))
}

/// Lets the client finish its TLS handshake. What is relayed from then on is what it says under it.
async fn terminate(tls: &Tls, stream: &mut Stream) -> Result<(), Outcome> {
    let limit = tls.settings().handshake_timeout;
    let session = tls.session().map_err(|failure| Outcome::from_handshake(Side::Client, &failure.into()))?;
    match deadline::within(limit, stream.start_tls(session)).await {
        Some(done) => done.map_err(|error| Outcome::from_handshake(Side::Client, &error)),
        None => {
            let why = format!("the client had not finished its TLS handshake within {limit:?}; see handshake_timeout");
            Err(Outcome::explained(CloseReason::HandshakeTimeout, why))
        }
    }
}
