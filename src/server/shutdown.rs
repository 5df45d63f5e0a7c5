//! The end of a server: stop, drain, close.
//!
//! A server is in one of three states. *Running*: clients are accepted. *Stopping*: the listener is closed, connections
//! may finish until a deadline (the drain) and are aborted then. *Closed*: the last connection has ended, and its
//! `on_close` has returned.

use std::{
    collections::HashMap,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::{
    connection::context::ServerShared,
    io::deadline::{self, Deadline},
    words::{lock::EvenPoisoned, log_target},
};

/// How long aborted connections may take to end.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// Pause between two searches for connections in which nothing is under way, where those are ended: the first and the
/// longest.
const REST: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// The state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerPhase {
    Running,
    Stopping,
    Closed,
}

/// The way of one server from running to closed.
#[derive(Debug)]
pub(crate) struct Shutdown {
    /// `None` while it runs.
    stop: watch::Sender<Option<Stop>>,
    /// True if connections in which nothing is under way are ended at once instead of at the deadline.
    ends_idle: AtomicBool,
    closed: watch::Sender<bool>,
    /// Repeats `closed` for threads that block.
    blocking: (Mutex<bool>, Condvar),
}

/// A stop that has begun.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// The shortest drain that was requested and that the draining task has not read yet. That task keeps the deadlines that
    /// it has read itself, because they may move: this holds only later requests.
    requested: Option<Duration>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self {
            stop: watch::Sender::new(None),
            ends_idle: AtomicBool::new(false),
            closed: watch::Sender::new(false),
            blocking: (Mutex::new(false), Condvar::new()),
        }
    }

    pub(crate) fn phase(&self) -> ServerPhase {
        if *self.closed.borrow() {
            ServerPhase::Closed
        } else if self.stop.borrow().is_some() {
            ServerPhase::Stopping
        } else {
            ServerPhase::Running
        }
    }

    /// Begins to stop, or moves the deadline of a stop that has begun: the earliest counts.
    pub(crate) fn stop_within(&self, drain: Duration) {
        self.stop.send_modify(|stop| {
            let stop = stop.get_or_insert_default();
            stop.requested = Some(stop.requested.map_or(drain, |requested| requested.min(drain)));
        });
    }

    /// Stops at once, unless a stop has begun already.
    pub(crate) fn stop_if_running(&self) {
        self.stop.send_if_modified(|stop| {
            let is_running = stop.is_none();
            if is_running {
                *stop = Some(Stop { requested: Some(Duration::ZERO) });
            }
            is_running
        });
    }

    /// Ends connections in which nothing is under way as soon as a stop has begun.
    pub(crate) fn end_idle(&self) {
        self.ends_idle.store(true, Relaxed);
    }

    /// Completes when a stop begins.
    pub(crate) async fn begins(&self) {
        // The sender is a field of `self`, so waiting cannot fail.
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    /// Returns how long the server may drain from now on, by the requests since the last call. They are read at once, unless
    /// the process was stopped meanwhile, whose time does not count.
    fn requested_drain(&self) -> Option<Duration> {
        let mut requested = None;
        self.stop.send_if_modified(|stop| {
            requested = stop.as_mut().and_then(|stop| stop.requested.take());
            // Nobody waits for this.
            false
        });
        // A time beyond the clock's range becomes a year, for which nobody waits either.
        requested.map(|drain| drain.min(Duration::from_secs(365 * 86_400)))
    }

    pub(crate) fn announce_closed(&self) {
        // Set first, because `phase` reads it: a thread that `wait` releases finds the server closed.
        self.closed.send_replace(true);
        *self.blocking.0.lock().even_poisoned() = true;
        self.blocking.1.notify_all();
    }

    /// Blocks until the server is closed, or for `timeout`. Returns whether it is closed.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> bool {
        let closed = self.blocking.0.lock().even_poisoned();
        match timeout {
            None => *self.blocking.1.wait_while(closed, |closed| !*closed).even_poisoned(),
            Some(timeout) => {
                let waited = self.blocking.1.wait_timeout_while(closed, timeout, |closed| !*closed);
                *waited.even_poisoned().0
            }
        }
    }

    /// Returns a receiver of `true` when the server is closed.
    pub(crate) fn watch_closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }
}

/// Lets connections finish until the deadline, which may still be moved nearer, and aborts the others.
pub(crate) async fn drain(shutdown: &Shutdown, server: &ServerShared) {
    let mut stop = shutdown.stop.subscribe();
    let (mut delivered, mut pause) = (HashMap::new(), REST.0);
    let mut next = Instant::now();
    // One deadline for the whole drain, so that it counts late checks, and starts again only once.
    let mut deadline = Deadline::after(shutdown.requested_drain().unwrap_or_default());
    loop {
        tokio::select! {
            () = server.registry.emptied() => return,
            () = sleep_until(deadline.next_look()) => {
                if deadline.is_over() {
                    break;
                }
            }
            _ = stop.changed() => {
                // Checked first, because the deadline may have moved.
                if deadline.is_over() {
                    break;
                }
                if let Some(left) = shutdown.requested_drain()
                    && deadline.is_beyond(left)
                {
                    deadline = Deadline::after(left);
                }
            }
            () = sleep_until(next), if shutdown.ends_idle.load(Relaxed) => {
                server.registry.leave_all(&mut delivered);
                next = Instant::now() + pause;
                pause = REST.1.min(pause * 2);
            }
        }
    }
    // The thread may not have received events yet that arrived in time.
    yield_now().await;
    server.registry.abort_all();
    if deadline::within(ABORT_TIME, server.registry.emptied()).await.is_some() {
        return;
    }
    match server.registry.remaining() {
        (0, pending) => log::warn!(
            target: log_target::LISTENER,
            "{}: closed while {pending} ends are still to be told to on_close; its lane goes on with them", server.address
        ),
        (live, _) => log::error!(
            target: log_target::LISTENER,
            "{}: {live} connections were still there {ABORT_TIME:?} after they were aborted", server.address
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        task::JoinHandle,
        time::{advance, sleep},
    };

    use super::*;
    use crate::{
        live::{
            control::Demand,
            shared::{Shared, SideNames},
        },
        server::{Server, state::ServerState},
        settings::{config::Config, forward::Forward},
        words::{
            addr::SocketName,
            outcome::{CloseReason, Outcome},
        },
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// A server that drains, and its only connection, which does not end by itself.
    struct Draining {
        server: Server,
        state: Arc<ServerState>,
        shared: Arc<Shared>,
        task: JoinHandle<()>,
    }

    impl Draining {
        /// Half a second of a drain of four is over. The process was stopped for `late` before the drain began.
        async fn half_a_second(is_left: bool, late: Duration) -> Self {
            let forward = Forward::to(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
            let server = Server::bind(Config::new("127.0.0.1:0".parse().unwrap(), forward)).unwrap();
            let state = server.state();
            let name = || SocketName::Unix(String::new());
            let shared = state.shared.registry.enter(SideNames { peer: name(), local: name() });
            if is_left {
                server.leave(4 * SECOND)
            } else {
                server.stop(4 * SECOND)
            }
            advance(late).await;
            let drained = Arc::clone(&state);
            let task = tokio::spawn(async move { drain(&drained.shutdown, &drained.shared).await });
            sleep(SECOND / 2).await;
            Self { server, state, shared, task }
        }

        /// Returns for how long from now the drain lets its connection live.
        async fn ends_after(self) -> Duration {
            let start = Instant::now();
            while self.shared.control.demand().is_none() {
                sleep(SECOND / 100).await;
            }
            let time = start.elapsed();
            assert_eq!(self.shared.control.demand(), Some(Demand::Abort(CloseReason::Stopped)));
            self.state.shared.registry.leave(&self.shared, Outcome::plain(CloseReason::Stopped), |_| {});
            self.task.await.unwrap();
            time
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_on_time() {
        for is_left in [false, true] {
            for late in [Duration::ZERO, 60 * SECOND] {
                let draining = Draining::half_a_second(is_left, late).await;
                assert_eq!(draining.ends_after().await.as_millis() / 100, 35, "{is_left} {late:?}");
            }
        }
    }

    /// The connections of a stopped process could not finish meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_drains_anew() {
        for is_left in [false, true] {
            let draining = Draining::half_a_second(is_left, Duration::ZERO).await;
            advance(60 * SECOND).await;
            assert_eq!(draining.ends_after().await.as_millis() / 100, 40, "{is_left}");
        }
    }

    /// All drains that were not read begin when they are.
    #[tokio::test(start_paused = true)]
    async fn of_stops_that_were_not_read_the_shortest_counts() {
        let shutdown = Shutdown::new();
        shutdown.stop_within(60 * SECOND);
        advance(59 * SECOND).await;
        shutdown.stop_within(5 * SECOND);
        shutdown.stop_within(7 * SECOND);
        assert_eq!(shutdown.requested_drain(), Some(5 * SECOND));
        assert_eq!(shutdown.requested_drain(), None);
        shutdown.stop_within(Duration::MAX);
        assert!(shutdown.requested_drain().is_some_and(|drain| Instant::now().checked_add(drain).is_some()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_stop_moves_the_deadline_nearer_only() {
        for stopped in [0, 60] {
            for (asked, ends) in [(&[0][..], 0), (&[1], 1), (&[60], 3), (&[0, 60], 0), (&[60, 2, 60], 2)] {
                let draining = Draining::half_a_second(true, Duration::ZERO).await;
                if stopped > 0 {
                    advance(stopped * SECOND).await;
                } else {
                    sleep(SECOND / 2).await;
                }
                asked.iter().for_each(|seconds| draining.server.stop(*seconds * SECOND));
                let ends = if stopped > 0 && ends == 3 { 4 } else { ends };
                let time = draining.ends_after().await + SECOND / 10;
                assert_eq!(time.as_secs(), ends, "{stopped} s, {asked:?}");
            }
        }
    }
}
