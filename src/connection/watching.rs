//! The filters of a connection, and the events that it reports to those that only look.

use std::sync::Arc;

use crate::{
    connection::context::ConnectionContext,
    inspect::{Stages, filters},
    live::{
        handle::Connection,
        shared::{Edit, Shared},
    },
    taps::event::{Event, EventKind},
    words::{
        direction::{Both, Direction},
        outcome::Outcome,
    },
};

/// Puts the stages of the server's filters into a connection whose relay is about to begin.
pub(super) fn begin(context: &ConnectionContext, shared: &Arc<Shared>) {
    if context.filters.is_empty() {
        return;
    }
    for direction in Direction::ALL {
        let made = filters::stages_of(&context.filters, shared.id, direction, shared.meters[direction].ledger().read);
        let edit = move |stages: &mut Stages| stages.set_filters(made);
        shared.control.filtered.set(direction, filters::want_messages(&context.filters, direction));
        // A direction that has ended already has no bytes to show.
        let _ = shared.edit(direction, Edit::Stages(Box::new(edit)));
    }
    if let Some(names) = Connection::from(Arc::clone(shared)).upstream() {
        report(context, shared, || EventKind::Connected { upstream: names.peer.clone(), local: names.local.clone() });
    }
}

/// Reports an accepted client.
pub(super) fn opened(context: &ConnectionContext, shared: &Shared) {
    let names = shared.client_names();
    report(context, shared, || EventKind::Opened { client: names.peer.clone(), local: names.local.clone() });
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
        witness.put(Event::now(shared.id, kind()));
    }
}
