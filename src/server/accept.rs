//! The accepting task of a server. No slow work happens in it.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::mpsc::Receiver, time::sleep};

use crate::{
    connection::{
        self,
        entry::{Entry, Slot},
        permits::{Permit, Permits},
    },
    io::{
        errno::{is_exhaustion, is_of_one_client},
        listener::Listener,
        ready::{Accepted, Ready},
        reserve::Reserve,
    },
    server::{
        entrance::{Entrance, Order, next_order},
        setbacks::Setbacks,
        shutdown,
        state::ServerState,
        upkeep,
    },
    settings::{forward::Forward, limits},
    threads::workers::Workers,
    words::{error::reason_text, log_target},
};

/// Number of clients accepted before the thread's connections run.
const BATCH: u32 = 64;

/// How long a pause of listening waits for handshakes that have begun. On one machine they take microseconds; a client whose
/// handshake takes longer is reset.
const HANDSHAKE: Duration = Duration::from_millis(1);

/// Pause before a fault that could not be carried out is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the accepting task, on the worker with the fewest seats taken.
pub(crate) fn spawn(state: Arc<ServerState>, entrance: Entrance, workers: Workers) {
    let (runtime, seat) = workers.seat();
    let announce = AnnounceOnDrop(Arc::clone(&state));
    let (upkeep, tls) = state.config(|config| (config.upkeep, config.tls.clone()));
    let listening = workers.commons().hops.listen(&state.shared.address);
    runtime.spawn(async move {
        let _announce = announce;
        let _listening = listening;
        announce_start(&state);
        let life = async {
            accept_until_stopped(&state, entrance, &workers).await;
            shutdown::drain(&state.shutdown, &state.shared).await;
        };
        tokio::select! {
            biased;
            () = life => {}
            () = upkeep::run(&state.shared, tls, upkeep) => {}
        }
        log::info!(target: log_target::LISTENER, "{}: closed", state.shared.address);
        drop(seat);
    });
}

fn announce_start(state: &ServerState) {
    let context = state.context();
    let target = context.forward.as_ref().map_or_else(|| "where on_accept says".to_owned(), Forward::names);
    let also = state.shared.other_address.as_ref().map_or_else(String::new, |other| format!(" and {other}"));
    log::info!(target: log_target::LISTENER, "{}{also}: listening, forwarding to {target}", state.shared.address);
    let asked = state.config(|config| config.listening.backlog);
    if let Some(most) = Listener::shortened_backlog(asked) {
        log::warn!(target: log_target::LISTENER, "{}: the system cuts backlog {asked} to {most} (net.core.somaxconn)", state.shared.address);
    }
}

/// Closes the server when the accepting task ends, whatever ends it, so that nobody waits for ever.
struct AnnounceOnDrop(Arc<ServerState>);

impl Drop for AnnounceOnDrop {
    fn drop(&mut self) {
        self.0.announce_closed();
    }
}

async fn accept_until_stopped(state: &ServerState, mut entrance: Entrance, workers: &Workers) {
    // One accepting task takes them.
    let Some(mut orders) = state.orders.take() else { return };
    loop {
        let (order, was) = match entrance {
            Entrance::Open(listener) => match serve(state, listener, &mut orders, workers).await {
                Some((order, listener)) => (order, Entrance::Open(listener)),
                None => return,
            },
            Entrance::Shut(paused) => {
                let mut stopped = pin!(state.shutdown.begins());
                tokio::select! {
                    biased;
                    () = &mut stopped => return,
                    order = next_order(&mut orders, true) => (order, Entrance::Shut(paused)),
                    order = state.turns(true) => (order, Entrance::Shut(paused)),
                }
            }
        };
        let mut pause = None;
        entrance = state.turn(was, order.shuts, |result| {
            if let (Err(error), true) = (&result, order.is_of_faults()) {
                log::warn!(target: log_target::LISTENER, "{}: a fault cannot be carried out: {error}", state.shared.address);
                pause = Some(RETRY);
            }
            order.answer(result);
        });
        if let Some(pause) = pause {
            tokio::select! {
                biased;
                () = state.shutdown.begins() => {}
                () = sleep(pause) => {}
            }
        }
    }
}

/// Accepts clients until the entrance is to be shut, or the server is to stop. Returns the order and the listener, or None
/// when it stops.
async fn serve(
    state: &ServerState,
    listener: Listener,
    orders: &mut Receiver<Order>,
    workers: &Workers,
) -> Option<(Order, Listener)> {
    let places = Places::new(&state.permits);
    let ready = {
        let mut stopped = pin!(state.shutdown.begins());
        let mut registering = pin!(register(state, listener));
        tokio::select! {
            biased;
            // Polled first: clients that a stop finds in the backlog are served.
            ready = &mut registering => ready,
            () = &mut stopped => return None,
        }
    };
    let order = {
        let mut stopped = pin!(state.shutdown.begins());
        let mut accepting = pin!(accept(state, &ready, &places, workers));
        tokio::select! {
            biased;
            () = &mut stopped => None,
            order = next_order(orders, false) => Some(order),
            order = state.turns(false) => Some(order),
            () = &mut accepting => None,
        }
    };
    // The clients that wait on an inherited socket are for the next process that is started with it.
    if !ready.is_inherited() {
        ready.deafen(true);
        empty_backlog(state, &ready, &places, workers);
        if order.is_some() {
            // Those whose handshake had begun.
            sleep(HANDSHAKE).await;
            empty_backlog(state, &ready, &places, workers);
        }
    }
    order.map(|order| (order, ready.into_listener()))
}

/// Registers the listener with the calling thread's runtime; tries again while that fails.
async fn register(state: &ServerState, mut listener: Listener) -> Ready {
    let mut setbacks = Setbacks::new(state);
    loop {
        match Ready::new(listener) {
            Ok(ready) => {
                setbacks.are_over();
                return ready;
            }
            Err((back, error)) => {
                listener = back;
                let _ = setbacks.meet(error, true).await;
            }
        }
    }
}

/// Serves the clients whose connect has succeeded already, as far as there is room, and resets the others. Once the listener
/// is dropped, a connect is refused.
fn empty_backlog(state: &ServerState, ready: &Ready, places: &Places, workers: &Workers) {
    // At most as many as can have waited: new clients may come all the time, and so may errors.
    let backlog = state.config(|config| config.listening.backlog);
    let most = Listener::shortened_backlog(backlog)
        .unwrap_or(backlog)
        .saturating_mul(1 + u32::from(state.shared.other_address.is_some()));
    for _ in 0..=most {
        let Some(permit) = places.try_take() else { break };
        match ready.try_accept() {
            Ok(client) => admit(state, client, Admitted { permit, reserve: None }, workers),
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    let why = reason_text(&error);
                    log::warn!(target: log_target::LISTENER, "{}: clients that still waited at the end of listening, if any, were reset: {why}", state.shared.address);
                }
                return;
            }
        }
    }
    let mut turned_away = 0;
    for _ in 0..=most {
        match ready.try_accept() {
            Ok(client) => {
                places.are_missing(state);
                client.reset();
                turned_away += 1;
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(_) => break,
        }
    }
    if turned_away > 0 {
        let most = state.permits.most();
        log::warn!(
            target: log_target::LISTENER,
            "{}: {turned_away} clients that still waited at the end of listening were reset: there were max_connections ({most}) already",
            state.shared.address,
        );
    }
}

/// Accepts clients until no more can come.
async fn accept(state: &ServerState, ready: &Ready, places: &Places, workers: &Workers) {
    let scarce = limits::scarce_from();
    let mut setbacks = Setbacks::new(state);
    let mut batch = 0;
    loop {
        let permit = places.take(state, ready).await;
        let accepted = match reserve(state) {
            Ok(reserve) => next(state, ready, &mut setbacks, reserve.is_some()).await.map(|client| (client, reserve)),
            Err(error) => Err(error),
        };
        match accepted {
            Ok((client, reserve)) => {
                if client.descriptor() >= scarce {
                    state.shared.short_of_descriptors.store(true, Relaxed);
                }
                admit(state, client, Admitted { permit, reserve }, workers);
                setbacks.are_over();
                batch += 1;
                if batch % BATCH == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                if let Err(error) = setbacks.meet(error, ready.is_listening()).await {
                    let why = reason_text(&error);
                    log::error!(
                        target: log_target::LISTENER,
                        "{}: cannot accept any more: {why}: something else ended the listening socket; the server stops",
                        state.shared.address,
                    );
                    state.shutdown.stop_if_running();
                    return;
                }
            }
        }
    }
}

/// Waits for the next client. Ends a pause as soon as accepting only has to wait for one.
async fn next(state: &ServerState, ready: &Ready, setbacks: &mut Setbacks<'_>, has_reserve: bool) -> io::Result<Accepted> {
    if has_reserve || state.accept_paused.load(Relaxed) {
        match ready.try_accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => setbacks.are_over(),
            done => return done,
        }
    }
    ready.accept().await
}

/// The permits for clients. A client without one stays in the backlog.
struct Places {
    permits: Arc<Permits>,
    /// True while a client waits for a permit, and has been counted.
    missing: AtomicBool,
}

impl Places {
    fn new(permits: &Arc<Permits>) -> Self {
        Self { permits: Arc::clone(permits), missing: AtomicBool::new(false) }
    }

    fn try_take(&self) -> Option<Permit> {
        let permit = self.permits.try_take()?;
        self.missing.store(false, Relaxed);
        Some(permit)
    }

    /// Waits for a permit. Counts a client that has to wait for one, and counts nothing while no client waits.
    async fn take(&self, state: &ServerState, ready: &Ready) -> Permit {
        if let Some(permit) = self.try_take() {
            return permit;
        }
        let mut freed = pin!(self.permits.take());
        let permit = tokio::select! {
            biased;
            permit = &mut freed => permit,
            () = ready.has_client() => {
                self.are_missing(state);
                freed.await
            }
        };
        self.missing.store(false, Relaxed);
        permit
    }

    /// Counts and logs that a client found no place: once, until a place is free.
    fn are_missing(&self, state: &ServerState) {
        if self.missing.swap(true, Relaxed) {
            return;
        }
        state.max_connections_reached.fetch_add(1, Relaxed);
        if let Some(more) = state.full_log.pass() {
            let most = state.permits.most();
            log::warn!(
                target: log_target::LISTENER,
                "{}: max_connections ({most}) is reached; further clients wait in the backlog until a connection ends{more}",
                state.shared.address,
            );
        }
    }
}

/// The permit and the reserve of a client that is let in.
struct Admitted {
    permit: Permit,
    reserve: Option<Reserve>,
}

fn admit(state: &ServerState, client: Accepted, admitted: Admitted, workers: &Workers) {
    let Admitted { permit, reserve } = admitted;
    let entry = Entry::new(state.context(), &client);
    if let Some(hooks) = entry.hooks.as_ref()
        && hooks.interest().needs_lane()
        && let Some(lane) = hooks.lane()
    {
        let lane = lane.clone();
        let slot = Slot { _permit: Some(permit), seat: None, reserve };
        let workers = workers.clone();
        lane.bring(Box::new(move || drop(tokio::spawn(connection::run(entry, workers, client, slot)))));
        return;
    }
    let (runtime, seat) = workers.seat();
    let slot = Slot { _permit: Some(permit), seat: Some(seat), reserve };
    runtime.spawn(connection::run(entry, workers.clone(), client, slot));
}

/// Reserves the upstream's descriptors before a client takes one. Only in a process that is, or has been, short of them; in
/// others it would be a cost without a use.
fn reserve(state: &ServerState) -> io::Result<Option<Reserve>> {
    if !state.shared.short_of_descriptors.load(Relaxed) {
        return Ok(None);
    }
    let looks_up =
        state.context().forward.as_ref().is_some_and(|forward| forward.targets().any(|target| target.address.is_name()));
    match Reserve::new(looks_up) {
        Err(error) if is_exhaustion(&error) => Err(error),
        // Without /dev/null there is no reserve; clients are accepted all the same.
        reserve => Ok(reserve.ok()),
    }
}
