//! The decision where a client goes: by `on_accept`, by what the client says first, or the server's own forward.

use std::sync::Arc;

use crate::{
    connection::{context::ConnectionContext, preread::Prereading, reads_before_relay, unserved::Unserved},
    hooks::{Decision, connection_hooks::ConnectionHooks},
    io::{connector::Way, given, hops::Hop, reserve::Reserve},
    live::{handle::Connection, shared::Shared},
    words::{direction::Sides, interest::Interest, outcome::Outcome},
};

/// The decision about a client, and the means to carry it out.
pub(super) struct Decided {
    pub decision: Decision,
    /// `None` where it was released for the hook.
    pub reserve: Option<Reserve>,
    /// Marks a socket that the hook has connected, until the server has taken it over.
    pub early: Option<Hop>,
}

/// Asks the hooks that want to decide where the client goes, each with true if this thread is their lane: first `on_accept`,
/// then, if that leaves it open, `on_preread`.
pub(super) async fn decide(
    context: &ConnectionContext,
    way: &Way<'_>,
    (shared, client): (&Shared, &mut Unserved),
    hooks: Option<(&mut ConnectionHooks, bool)>,
    mut reserve: Option<Reserve>,
) -> Result<Decided, Outcome> {
    let by_default = |reserve| Ok(Decided { decision: Decision::Default, reserve, early: None });
    let Some((hooks, on_lane)) = hooks else { return by_default(reserve) };
    // Before the next hook is asked, whose client may be what this one has connected.
    let known = Arc::clone(way.hops);
    let remember = move |decision: Decision, connection: &Connection| {
        let early = match &decision {
            Decision::Connected(socket) => given::remember_early(socket, &known, connection.origin().came(&known)),
            _ => None,
        };
        (decision, early)
    };
    if let Some(hooks) = hooks.wanted(Interest::ACCEPT) {
        // Released, because the hook may itself connect the upstream.
        drop(reserve.take());
        let remember = remember.clone();
        let asked = hooks.ask_then(Interest::ACCEPT, on_lane, |hooks, connection| hooks.on_accept(connection), remember);
        let streams = Sides { client: client.0.as_mut(), upstream: None };
        let (decision, early) = reads_before_relay::beside(asked, shared, streams).await?;
        if !matches!(decision, Decision::Default) {
            return Ok(Decided { decision, reserve, early });
        }
    }
    let Some(hooks) = hooks.wanted(Interest::PREREAD) else { return by_default(reserve) };
    drop(reserve.take());
    // Boxed: few servers decide so.
    let prereading = Prereading { hooks, on_lane, shared, bounds: &context.preread };
    match Box::pin(prereading.decide(client, remember)).await? {
        Some((decision, early)) => Ok(Decided { decision, reserve, early }),
        None => by_default(reserve),
    }
}
