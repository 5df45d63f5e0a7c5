//! The filters and faults of a connection, and the events that it reports to filters that only look.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    connection::context::{ConnectionContext, ServerShared},
    inspect::{
        Stages,
        faults::set::Faults,
        filters::{self, Position},
    },
    live::{
        handle::Connection,
        shared::{Edit, Shared},
    },
    settings::forward::Forward,
    taps::{
        event::{Event, EventKind, Place},
        witness::Witnesses,
    },
    words::{
        direction::{Both, Direction},
        interest::Interest,
        outcome::{CloseReason, Outcome},
    },
};

/// Puts the stages of the server's filters and faults into a connection whose relay is about to begin.
pub(super) fn begin(context: &ConnectionContext, shared: &Arc<Shared>) {
    if context.filters.is_empty() && context.server.faults.is_unused() {
        return;
    }
    for direction in Direction::ALL {
        let read = shared.meters[direction].ledger().read;
        let at = Position { connection: shared.key(), direction, place: Place::In, read, changes: shared.is_changed() };
        let made = filters::stages_of(&context.filters, at);
        let edit = move |stages: &mut Stages| stages.set_filters(made);
        shared.control.filtered.set(direction, filters::want_messages(&context.filters, direction));
        // A direction that has ended already has no bytes to show.
        let _ = shared.edit(direction, Edit::Stages(Box::new(edit)));
        follow(&context.server, shared, direction);
    }
    if let Some(names) = Connection::from(Arc::clone(shared)).upstream() {
        report(context, shared, || EventKind::Connected { upstream: names.peer.clone(), local: names.local.clone() });
    }
}

/// Waits as long as faults delay the connecting of the upstream, or fails at the limit that connecting has.
pub(super) async fn wait_to_connect(
    context: &ConnectionContext,
    shared: &Shared,
    forward: Option<&Forward>,
) -> Result<(), Outcome> {
    let faults = &context.server.faults;
    let delay = shared.connect_delay(&faults.get())?;
    let limit = forward.map_or(Duration::MAX, |forward| forward.connect_timeout);
    sleep(delay.min(limit)).await;
    if delay > limit {
        let error =
            format!("no answer within {} s: a fault delays the connecting by {} s", limit.as_secs_f64(), delay.as_secs_f64());
        return Err(Outcome::explained(CloseReason::ConnectTimeout, error));
    }
    Ok(())
}

/// Puts other faults in force for a server and its live connections: only in the places of those of these numbers, if some are
/// given. Returns true if that was so.
pub(crate) fn swap_faults(server: &Arc<ServerShared>, before: Option<&[u64]>, faults: Faults) -> bool {
    let is_done = server.faults.swap(before, faults);
    if is_done {
        for shared in server.registry.all() {
            Direction::ALL.into_iter().for_each(|direction| follow(server, &shared, direction));
        }
    }
    is_done
}

/// Lets a direction have the server's faults, unless it has its own: those that are in force when its task acts on it.
fn follow(server: &Arc<ServerShared>, shared: &Arc<Shared>, direction: Direction) {
    let (server, this) = (Arc::clone(server), Arc::clone(shared));
    let edit = move |stages: &mut Stages| {
        if !this.has_own_faults(direction) {
            this.put_faults(direction, &server.faults.get(), stages);
        }
    };
    // A direction that has ended has nothing to harm; one with too many changes has this one among them.
    let _ = shared.edit(direction, Edit::Stages(Box::new(edit)));
}

/// Reports an accepted client.
pub(super) fn opened(context: &ConnectionContext, shared: &Shared) {
    if context.filters.is_empty() {
        return;
    }
    let (names, server) = (shared.client_names(), &context.server);
    let data = Interest::TO_UPSTREAM.with(Interest::TO_CLIENT).with(Interest::EOF);
    let by_hooks = server.hooked.get().is_some_and(|hooked| hooked.interest().has(data));
    let changes = by_hooks || filters::change(&context.filters) || !server.faults.is_unused();
    if changes {
        shared.set_changed();
    }
    let witnesses: Witnesses = context.filters.iter().filter_map(|filter| filter.witness().cloned()).collect();
    if !witnesses.is_empty() {
        shared.set_witnesses(witnesses);
    }
    report(context, shared, || EventKind::Opened { client: names.peer.clone(), local: names.local.clone(), changes });
}

/// Reports the end of a connection.
pub(super) fn closed(context: &ConnectionContext, shared: &Shared, outcome: &Outcome) {
    report(context, shared, || {
        let Both { to_upstream, to_client } = &shared.meters;
        let ledgers = Both { to_upstream: to_upstream.ledger(), to_client: to_client.ledger() };
        EventKind::Closed { reason: outcome.reason, error: outcome.error.clone(), ledgers }
    });
}

fn report(context: &ConnectionContext, shared: &Shared, kind: impl Fn() -> EventKind) {
    for witness in context.filters.iter().filter_map(|filter| filter.witness()) {
        witness.put(Event::now(shared.key(), kind()));
    }
}
