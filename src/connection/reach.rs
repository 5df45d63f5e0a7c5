//! The way from an arrived client to its upstream: decide where it goes, connect, pass the upstream's steps.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::{
    connection::{
        apart::Apart,
        arrive, circle,
        decision::{Decided, decide},
        entry::Entry,
        reads_before_relay,
        steps::Opening,
        unserved::{Unserved, unless_ended},
        watching,
    },
    hooks::{Decision, Hooks, connection_hooks::ConnectionHooks},
    io::{
        connector::{ConnectedUpstream, Inside, Way},
        fallback_targets,
        given::{self, Given},
        hops::{Came, Hop},
        reserve::Reserve,
        stream::Stream,
    },
    live::{
        handle::Connection,
        shared::{Shared, SideNames},
    },
    settings::forward::Forward,
    threads::workers::Workers,
    words::{
        direction::{Side, Sides},
        error::reason_text,
        interest::Interest,
        outcome::{CloseReason, Outcome},
    },
};

/// A client that has arrived, on the way to its upstream.
pub(super) struct Departure<'a> {
    pub entry: &'a mut Entry,
    pub client: &'a mut Unserved,
    pub workers: &'a Workers,
    /// The target that its TLS hello has chosen, in place of the server's own.
    pub forward: Option<Box<Forward>>,
    /// Looks inside the client's TLS: its handshake waits for the upstream.
    pub inside: Option<Box<Inside>>,
    pub reserve: Option<Reserve>,
    pub on_lane: bool,
}

/// The upstream of a client.
pub(super) struct Reached {
    /// The stream to relay to; a stand-in where there is no upstream, or where that is carried alone.
    pub upstream: Stream,
    /// The upstream where hooks have each socket carried alone: to be carried from here on.
    pub apart: Option<Apart>,
    /// Marks the upstream's socket as one of this process, if it stays on this machine.
    pub hop: Option<Hop>,
}

/// Returns the upstream, unless the client or the outside ends the connection first.
pub(super) async fn reach(departure: Departure<'_>) -> Result<Reached, Outcome> {
    let Departure { entry, client, workers, forward, inside, reserve, on_lane } = departure;
    let Entry { context, shared, hooks, .. } = entry;
    let forward = forward.as_deref().or(context.forward.as_ref());
    let commons = workers.commons();
    circle::identify(&commons.hops, client.0.as_ref(), shared)?;
    let mut passed = circle::refuse(&context.server, &commons.hops, shared)?;
    if hooks.is_some() && circle::may_be_late(&context.server, shared) {
        unless_ended(circle::wait_in_doubt(&commons.hops, shared), shared, Some(client)).await?;
        passed = circle::refuse(&context.server, &commons.hops, shared)?;
    }
    let came = Came { passed, client: Some(shared.ends()) };
    let way =
        Way { resolver: &commons.resolver, hops: &commons.hops, options: &context.options, came, inside: inside.as_deref() };
    let hooked = hooks.as_mut().map(|hooks| (hooks, on_lane));
    let decided = unless_ended(decide(context, &way, (shared, client), hooked, reserve), shared, None).await?;
    if !context.server.faults.is_unused() {
        unless_ended(watching::wait_to_connect(context, shared, forward), shared, Some(client)).await?;
    }
    let connected = unless_ended(connect(forward, way, decided), shared, Some(client)).await?;
    let keeps_host = hooks.is_some() || context.begins_plain();
    let connected = connected.map(|ConnectedUpstream { stream, peer, local, hop, passed_over, host }| {
        shared.keep_host(host.filter(|_| keeps_host));
        passed_over.into_iter().for_each(|line| context.server.note_passed_over(shared, line));
        (Unserved(Some(stream)), (peer, local), hop)
    });
    if hooks.as_ref().is_some_and(|hooks| hooks.known) {
        // Checked once more: a connection that a script has made was remembered only after it was accepted here. Every circle
        // of such connections passes hooks.
        let passed = circle::refuse(&context.server, &commons.hops, shared)?;
        if let Some((_, _, Some(hop))) = &connected {
            hop.raise(passed);
        }
    }
    let is_apart = hooks.as_ref().is_some_and(ConnectionHooks::is_apart);
    let Some((mut upstream, (peer, local), hop)) = connected else {
        arrive::look_inside(inside.as_deref(), forward, shared, (client, None)).await?;
        let _ = shared.upstream.set(None);
        let upstream = if is_apart { Stream::nobody() } else { Stream::nowhere() };
        return Ok(Reached { upstream, apart: None, hop: None });
    };
    let hop = circle::refuse_own_listener(&context.server, (&peer, &local), hop)?;
    let mut names = Box::new(SideNames { peer, local });
    if let (Some(steps), Some(stream)) = (&context.outbound, &mut upstream.0) {
        let passing = Box::pin(steps.pass(Opening { stream, names: &mut names }));
        unless_ended(passing, shared, Some(client)).await?;
    }
    let _ = shared.upstream.set(Some(names));
    shared.keep_tls(Side::Upstream, upstream.0.as_ref().and_then(Stream::tls));
    arrive::look_inside(inside.as_deref(), forward, shared, (client, upstream.0.as_ref())).await?;
    if is_apart {
        return part((entry, workers, on_lane), client, upstream, hop).await;
    }
    if let Some(hooks) = hooks.as_mut().and_then(|hooks| hooks.wanted(Interest::CONNECT)) {
        let asked = hooks.ask(Interest::CONNECT, on_lane, |hooks, connection| hooks.on_connect(connection));
        let streams = Sides { client: client.0.as_mut(), upstream: upstream.0.as_mut() };
        unless_failed(reads_before_relay::beside(asked, shared, streams), shared, None).await?;
    }
    let upstream = upstream.0.take().ok_or_else(|| Outcome::plain(CloseReason::InternalError))?;
    Ok(Reached { upstream, apart: None, hop })
}

/// Makes the upstream of a client a connection of its own, where hooks have each socket carried alone.
async fn part(
    (entry, workers, on_lane): (&mut Entry, &Workers, bool),
    client: &Unserved,
    mut upstream: Unserved,
    hop: Option<Hop>,
) -> Result<Reached, Outcome> {
    let Entry { context, shared, hooks, .. } = entry;
    let names = shared.upstream.get().cloned().flatten();
    let (Some(names), Some(hooks), Some(upstream)) = (names, hooks.as_mut(), upstream.0.take()) else {
        return Err(Outcome::plain(CloseReason::InternalError));
    };
    hooks.known = true;
    let tls = upstream.tls();
    let upstream = upstream.detach().map_err(|error| Outcome::explained(CloseReason::InternalError, reason_text(&error)))?;
    let apart = Apart::new(Arc::clone(context), workers, (upstream, *names), hop, shared.passed.load(Relaxed));
    apart.entry.shared.keep_tls(Side::Upstream, tls);
    let adopted = apart.connection();
    let question = move |hooks: &dyn Hooks, connection: &Connection| hooks.on_connect_apart(connection, &adopted);
    let asked = hooks.ask(Interest::CONNECT, on_lane, question);
    unless_failed(async { asked.await.map_err(Outcome::from) }, shared, Some(client)).await?;
    Ok(Reached { upstream: Stream::nobody(), apart: Some(apart), hop: None })
}

/// Waits for a hook that runs once both sides are there. A `close()` meanwhile is left to the relay, which ends both sides in
/// order.
async fn unless_failed(
    asked: impl Future<Output = Result<(), Outcome>>,
    shared: &Shared,
    client: Option<&Unserved>,
) -> Result<(), Outcome> {
    match unless_ended(asked, shared, client).await {
        Err(outcome) if outcome.reason == CloseReason::Closed => Ok(()),
        asked => asked,
    }
}

/// Connects where the client is to go. Returns `None` for a client that goes nowhere.
async fn connect(forward: Option<&Forward>, way: Way<'_>, decided: Decided) -> Result<Option<ConnectedUpstream>, Outcome> {
    // Kept until the server has taken the socket over.
    let Decided { decision, reserve, early: _early } = decided;
    let failed = |error: String| Outcome::explained(CloseReason::ConnectFailed, error);
    match decision {
        Decision::Default => match forward {
            Some(forward) => fallback_targets::connect(forward, way, reserve).await.map(Some),
            None => Err(failed("there is no forward_to, and on_accept named no target; give one of the two".to_owned())),
        },
        Decision::Forward(forward) => {
            forward.check("forward_to").map_err(|error| failed(error.to_string()))?;
            fallback_targets::connect(&forward, way, reserve).await.map(Some)
        }
        Decision::Connected(socket) => given::adopt(socket, way).and_then(Given::register).map(Some),
        Decision::Nowhere => Ok(None),
        Decision::Refuse => Err(Outcome::plain(CloseReason::Rejected)),
    }
}
