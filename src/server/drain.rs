//! The time between a stop and the end of the last connection.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::{
    io::deadline::{self, Deadline},
    server::Core,
};

/// How long aborted connections may take to be gone.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// Between two looks of a server that is left for connections in which nothing is under way: at first, and later.
const REST: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// A stop that has begun.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// The earliest deadline that was asked for and that the draining task has not heard of yet. Once it has, that deadline is
    /// its own, because it may move: this says only what is asked for besides.
    by: Option<Instant>,
}

impl Stop {
    /// Adds a deadline, which counts if none is earlier.
    pub(crate) fn by(&mut self, deadline: Instant) {
        self.by = Some(self.by.map_or(deadline, |by| by.min(deadline)));
    }
}

/// How long the server may still drain, as far as that was asked for since the last call.
fn asked_for(core: &Core) -> Option<Duration> {
    let mut by = None;
    core.stop_by.send_if_modified(|stop| {
        by = stop.as_mut().and_then(|stop| stop.by.take());
        // Nobody waits for this.
        false
    });
    by.map(|by| by.saturating_duration_since(Instant::now()))
}

/// Lets connections finish until the deadline, which may still be moved nearer, and aborts the others.
pub(crate) async fn drain(core: &Core) {
    let mut stop = core.stop_by.subscribe();
    let (mut delivered, mut pause) = (HashMap::new(), REST.0);
    let mut next = Instant::now();
    // One for the whole drain, so that it knows how late its looks are, and pardons that once.
    let mut deadline = Deadline::after(asked_for(core).unwrap_or_default());
    loop {
        tokio::select! {
            () = core.registry.emptied() => return,
            () = sleep_until(deadline.next_look()) => {
                if deadline.is_over() {
                    break;
                }
            }
            _ = stop.changed() => {
                // First, for the deadline may have moved.
                if deadline.is_over() {
                    break;
                }
                if let Some(left) = asked_for(core)
                    && deadline.is_beyond(left)
                {
                    deadline = Deadline::after(left);
                }
            }
            () = sleep_until(next), if core.is_left.load(Relaxed) => {
                core.registry.leave_all(&mut delivered);
                next = Instant::now() + pause;
                pause = REST.1.min(pause * 2);
            }
        }
    }
    // The thread may not have heard yet of what has come in time.
    yield_now().await;
    core.registry.abort_all();
    if deadline::within(ABORT_TIME, core.registry.emptied()).await.is_some() {
        return;
    }
    match core.registry.left() {
        (0, untold) => log::warn!(
            target: "interpose::listener",
            "{}: closed while {untold} ends are still to be told to on_close; its lane goes on with them", core.address
        ),
        (live, _) => log::error!(
            target: "interpose::listener",
            "{}: {live} connections were still there {ABORT_TIME:?} after they were aborted", core.address
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
            control::Command,
            shared::{Shared, SideNames},
        },
        server::Server,
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
        core: Arc<Core>,
        shared: Arc<Shared>,
        task: JoinHandle<()>,
    }

    impl Draining {
        /// Half a second of a drain of four is over.
        async fn half_a_second(is_left: bool) -> Self {
            let forward = Forward::to(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
            let server = Server::bind(Config::new("127.0.0.1:0".parse().unwrap(), forward)).unwrap();
            let core = server.core();
            let name = || SocketName::Unix(String::new());
            let shared = core.registry.enter(SideNames { peer: name(), local: name() });
            if is_left {
                server.leave(4 * SECOND)
            } else {
                server.stop(4 * SECOND)
            }
            let drained = Arc::clone(&core);
            let task = tokio::spawn(async move { drain(&drained).await });
            sleep(SECOND / 2).await;
            Self { server, core, shared, task }
        }

        /// For how long from now it lets its connection live.
        async fn ends_after(self) -> Duration {
            let start = Instant::now();
            while self.shared.control.command().is_none() {
                sleep(SECOND / 100).await;
            }
            let time = start.elapsed();
            assert_eq!(self.shared.control.command(), Some(Command::Stop));
            self.core.registry.leave(&self.shared, Outcome::plain(CloseReason::Stopped));
            self.task.await.unwrap();
            time
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_on_time() {
        for is_left in [false, true] {
            assert_eq!(Draining::half_a_second(is_left).await.ends_after().await.as_millis() / 100, 35, "{is_left}");
        }
    }

    /// Its connections could not finish meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_drains_anew() {
        for is_left in [false, true] {
            let draining = Draining::half_a_second(is_left).await;
            advance(60 * SECOND).await;
            assert_eq!(draining.ends_after().await.as_millis() / 100, 40, "{is_left}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_stop_moves_the_deadline_nearer_only() {
        for stopped in [0, 60] {
            for (asked, ends) in [(&[0][..], 0), (&[1], 1), (&[60], 3), (&[0, 60], 0), (&[60, 2, 60], 2)] {
                let draining = Draining::half_a_second(true).await;
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
