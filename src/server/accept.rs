//! The accepting task of a server: nothing slow happens in it.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use crate::{
    connection::{
        self,
        entry::{Admission, Entry},
    },
    io::{
        errno::{is_exhaustion, is_of_one_client},
        listener::Listener,
        ready::{Accepted, Ready},
        reserve::Reserve,
    },
    server::{
        Core,
        drain::{self, Stop},
        setbacks::Setbacks,
    },
    settings::limits,
    threads::workers::Workers,
    words::error::reason_text,
};
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::{io::ticks::Ticks, threads::reclaim::Burst};

/// Clients accepted before the thread's connections get their turn.
const BATCH: u32 = 64;

/// Between two looks of the connections at their peers.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LOOKS: Duration = Duration::from_secs(5);

/// Starts the task, on the worker with the least to do.
pub(crate) fn spawn(core: Arc<Core>, listener: Listener, workers: Workers) {
    let (runtime, seat) = workers.seat();
    let announce = Announce(Arc::clone(&core));
    let listening = workers.commons().hops.listen(&core.address);
    runtime.spawn(async move {
        let _announce = announce;
        let _listening = listening;
        announce_start(&core);
        let life = async {
            accept_until_stopped(&core, listener, &workers).await;
            drain::drain(&core).await;
        };
        tokio::select! {
            biased;
            () = life => {}
            () = look_out(&core) => {}
        }
        log::info!(target: "interpose::listener", "{}: closed", core.address);
        drop(seat);
    });
}

/// Never ends: has the connections look at their peers.
#[cfg(any(target_os = "linux", target_os = "android"))]
async fn look_out(core: &Core) {
    let ticks = Ticks::every(LOOKS).ok();
    let mut burst = Burst::default();
    loop {
        match &ticks {
            Some(ticks) if ticks.next().await.is_ok() => {}
            // Out of descriptors: any clock will do.
            _ => sleep(LOOKS).await,
        }
        core.registry.look_all();
        let (live, peak) = core.registry.live_and_peak();
        burst.look(live, peak);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
async fn look_out(_: &Core) {
    std::future::pending().await
}

fn announce_start(core: &Core) {
    let target = core.config.forward.as_ref().map_or_else(|| "where on_accept says".to_owned(), |f| f.address.to_string());
    let also = core.other_address.as_ref().map_or_else(String::new, |other| format!(" and {other}"));
    log::info!(target: "interpose::listener", "{}{also}: listening, forwarding to {target}", core.address);
    let asked = core.config.backlog;
    if let Some(most) = Listener::shortened_backlog(asked) {
        log::warn!(target: "interpose::listener", "{}: the system cuts backlog {asked} to {most} (net.core.somaxconn)", core.address);
    }
}

/// Whatever ends the task, the server is closed then and nobody waits for ever.
struct Announce(Arc<Core>);

impl Drop for Announce {
    fn drop(&mut self) {
        self.0.announce_closed();
    }
}

async fn accept_until_stopped(core: &Arc<Core>, listener: Listener, workers: &Workers) {
    let places = Places::new(core.max_connections.load(Relaxed));
    let mut stop = core.stop_by.subscribe();
    let ready = {
        let mut stopped = pin!(stop.wait_for(Option::is_some));
        let mut registering = pin!(register(core, listener));
        tokio::select! {
            biased;
            // First: clients that a stop finds in the backlog are served.
            ready = &mut registering => ready,
            _ = &mut stopped => return,
        }
    };
    {
        let mut stopped = pin!(stop.wait_for(Option::is_some));
        let mut accepting = pin!(accept(core, &ready, &places, workers));
        tokio::select! {
            biased;
            _ = &mut stopped => {}
            () = &mut accepting => {}
        }
    }
    empty_backlog(core, &ready, &places, workers);
}

/// The listener, on the calling thread's runtime; waits for what that takes.
async fn register(core: &Core, mut listener: Listener) -> Ready {
    let mut setbacks = Setbacks::new(core);
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

/// Serves the clients whose connect succeeded already, as far as there is room, and turns the others away. From the
/// drop of the listener on, a connect is refused.
fn empty_backlog(core: &Arc<Core>, ready: &Ready, places: &Places, workers: &Workers) {
    // No more than can have waited: new ones may come all the time, and an error too.
    let backlog = core.config.backlog;
    let most =
        Listener::shortened_backlog(backlog).unwrap_or(backlog).saturating_mul(1 + u32::from(core.other_address.is_some()));
    for _ in 0..=most {
        let Some(permit) = places.try_take() else { break };
        match ready.try_accept() {
            Ok(client) => admit(core, client, Admitted { permit, reserve: None }, workers),
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    let why = reason_text(&error);
                    log::warn!(target: "interpose::listener", "{}: clients that still waited at the stop, if any, were reset: {why}", core.address);
                }
                return;
            }
        }
    }
    let mut turned_away = 0;
    for _ in 0..=most {
        match ready.try_accept() {
            Ok(client) => {
                places.are_missing(core);
                client.reset();
                turned_away += 1;
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(_) => break,
        }
    }
    if turned_away > 0 {
        let most = core.max_connections.load(Relaxed);
        log::warn!(
            target: "interpose::listener",
            "{}: {turned_away} clients that still waited at the stop were reset: there were max_connections ({most}) already",
            core.address,
        );
    }
}

/// Accepts until no more clients can come.
async fn accept(core: &Arc<Core>, ready: &Ready, places: &Places, workers: &Workers) {
    let scarce = limits::scarce_from();
    let mut setbacks = Setbacks::new(core);
    let mut batch = 0;
    loop {
        let Some(permit) = places.take(core, ready).await else { return };
        let accepted = match reserve(core) {
            Ok(reserve) => next(core, ready, &mut setbacks, reserve.is_some()).await.map(|client| (client, reserve)),
            Err(error) => Err(error),
        };
        match accepted {
            Ok((client, reserve)) => {
                if client.descriptor() >= scarce {
                    core.short_of_descriptors.store(true, Relaxed);
                }
                admit(core, client, Admitted { permit, reserve }, workers);
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
                        target: "interpose::listener",
                        "{}: cannot accept any more: {why}: something else ended the listening socket; the server stops",
                        core.address,
                    );
                    core.stop_by.send_modify(|stop| {
                        if stop.is_none() {
                            stop.insert(Stop::default()).by(Instant::now());
                        }
                    });
                    return;
                }
            }
        }
    }
}

/// The next client. A pause is over as soon as accepting only has to wait for one.
async fn next(core: &Core, ready: &Ready, setbacks: &mut Setbacks<'_>, has_reserve: bool) -> io::Result<Accepted> {
    if has_reserve || core.accept_paused.load(Relaxed) {
        match ready.try_accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => setbacks.are_over(),
            done => return done,
        }
    }
    ready.accept().await
}

/// The places among `max_connections`. A client without one stays in the backlog.
struct Places {
    free: Arc<Semaphore>,
    /// A client waits for one, and that is counted.
    missing: AtomicBool,
}

impl Places {
    fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), missing: AtomicBool::new(false) }
    }

    fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        self.missing.store(false, Relaxed);
        Some(place)
    }

    /// A place, once there is one. Notes a client that has to wait for it, and none as long as nobody does.
    async fn take(&self, core: &Core, ready: &Ready) -> Option<OwnedSemaphorePermit> {
        if let Some(place) = self.try_take() {
            return Some(place);
        }
        let mut freed = pin!(Arc::clone(&self.free).acquire_owned());
        let place = tokio::select! {
            biased;
            place = &mut freed => place,
            () = ready.has_client() => {
                self.are_missing(core);
                freed.await
            }
        };
        self.missing.store(false, Relaxed);
        place.ok()
    }

    /// Counts that a client found no place, once until there is one, and says so.
    fn are_missing(&self, core: &Core) {
        if self.missing.swap(true, Relaxed) {
            return;
        }
        core.max_connections_reached.fetch_add(1, Relaxed);
        if let Some(more) = core.full_log.pass() {
            let most = core.max_connections.load(Relaxed);
            log::warn!(
                target: "interpose::listener",
                "{}: max_connections ({most}) is reached; further clients wait in the backlog until a connection ends{more}",
                core.address,
            );
        }
    }
}

/// What lets a client in.
struct Admitted {
    permit: OwnedSemaphorePermit,
    reserve: Option<Reserve>,
}

fn admit(core: &Arc<Core>, client: Accepted, admitted: Admitted, workers: &Workers) {
    let Admitted { permit, reserve } = admitted;
    let entry = Entry::new(core, &client);
    if let Some(attendant) = entry.attendant()
        && attendant.interest().needs_lane()
        && let Some(lane) = attendant.lane()
    {
        let lane = lane.clone();
        let admission = Admission { _permit: Some(permit), seat: None, reserve };
        lane.spawn(connection::run(entry, workers.clone(), client, admission));
        return;
    }
    let (runtime, seat) = workers.seat();
    let admission = Admission { _permit: Some(permit), seat: Some(seat), reserve };
    runtime.spawn(connection::run(entry, workers.clone(), client, admission));
}

/// Keeps what the upstream will need before a client takes a descriptor. Only in a process that is, or has been, short
/// of them; in others it would be a cost for nothing.
fn reserve(core: &Core) -> io::Result<Option<Reserve>> {
    if !core.short_of_descriptors.load(Relaxed) {
        return Ok(None);
    }
    let looks_up = core.config.forward.as_ref().is_some_and(|forward| forward.address.is_name());
    match Reserve::new(looks_up) {
        Err(error) if is_exhaustion(&error) => Err(error),
        // Without /dev/null there is no reserve, which is no reason to accept nobody.
        reserve => Ok(reserve.ok()),
    }
}
