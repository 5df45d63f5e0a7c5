//! The arrival of a client: from accept until `on_accept` may be called.

use crate::{
    connection::{
        entry::Entry,
        steps::Opening,
        unserved::{Unserved, unless_ended},
    },
    words::outcome::Outcome,
};

/// Lets the client pass the steps of arrival, unless the outside ends the connection first.
pub(super) async fn arrive(entry: &Entry, client: &mut Unserved) -> Result<(), Outcome> {
    let (Some(steps), Some(stream)) = (&entry.context.arrival, &mut client.0) else { return Ok(()) };
    let shared = &entry.shared;
    let mut names = (*shared.client).clone();
    // Boxed, so that connections without steps have no memory for them.
    let passing = Box::pin(steps.pass(Opening { stream, names: &mut names }));
    unless_ended(passing, shared, None).await?;
    shared.name_client(names);
    Ok(())
}
