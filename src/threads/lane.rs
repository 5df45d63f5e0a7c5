//! Lanes: threads of the embedding program on which hooks run, together with the connections that need them.
//!
//! A lane is a runtime of one thread. Who drives it decides what that thread is; the core only spawns onto it.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::{self, Handle, Runtime},
    sync::Notify,
    time::sleep,
};

use crate::words::error::{Error, ErrorKind, reason_text};

/// A runtime for one thread to drive.
#[derive(Debug)]
pub struct Lane {
    runtime: Runtime,
    handle: LaneHandle,
}

/// A way to give a lane work.
#[derive(Debug, Clone)]
pub struct LaneHandle {
    runtime: Handle,
    load: Arc<Load>,
}

#[derive(Debug, Default)]
struct Load {
    seats: AtomicUsize,
    empty: Notify,
    notices: Notices,
}

/// How long a notice may wait for others. To wake a thread for each would cost more than the notice.
const GATHER: Duration = Duration::from_millis(1);

/// Notices told before the lane's connections get their turn.
const BATCH: usize = 32;

/// What a lane is to be told without anybody waiting for it.
#[derive(Default)]
struct Notices {
    waiting: Mutex<Vec<Notice>>,
    /// A task is on its way to tell them.
    gathering: AtomicBool,
}

type Notice = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

impl Notices {
    /// Lets the next notice start a task of its own, and returns those that wait. In this order: one that comes in between
    /// is among them, or starts a task.
    fn take(&self) -> Vec<Notice> {
        self.gathering.store(false, Ordering::Release);
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Part of the task that is on its way to tell the notices. When the lane's runtime has ended it drops the task, and no other
/// ever runs: the notices are dropped with it. A notice holds its connection, and through that the lane's handle, at which it
/// waits, so it would keep itself alive.
struct Gathering(Option<Arc<Load>>);

impl Gathering {
    fn finish(mut self) -> Vec<Notice> {
        self.0.take().map_or_else(Vec::new, |load| load.notices.take())
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        if let Some(load) = self.0.take() {
            // Not under the lock: what a notice holds may tell something itself when it is dropped.
            drop(load.notices.take());
        }
    }
}

/// A place on one lane: counts as its load until it is dropped.
#[derive(Debug)]
pub(crate) struct LaneSeat(Arc<Load>);

impl Drop for LaneSeat {
    fn drop(&mut self) {
        if self.0.seats.fetch_sub(1, Relaxed) == 1 {
            self.0.empty.notify_one();
        }
    }
}

/// Turns of connections that have more to do at once before the lane polls its driver. Fewer let others wait less, and cost
/// short connections a poll each time. A turn whose callbacks take a millisecond yields at once.
const TURNS: u32 = 16;

impl Lane {
    /// A lane that nobody drives yet. `idle` is called on its thread whenever nothing is ready to run there.
    pub fn new(idle: impl Fn() + Send + Sync + 'static) -> Result<Self, Error> {
        let build = || -> io::Result<Runtime> {
            let mut builder = runtime::Builder::new_current_thread();
            builder.event_interval(TURNS).enable_all().on_thread_park(idle).build()
        };
        let runtime = build().map_err(|error| {
            let message = format!("cannot make a lane: {}; raise the limit of open files (ulimit -n)", reason_text(&error));
            Error::from_io(ErrorKind::Runtime, message, error)
        })?;
        let handle = LaneHandle { runtime: runtime.handle().clone(), load: Arc::default() };
        Ok(Self { runtime, handle })
    }

    /// How to give it work.
    pub fn handle(&self) -> LaneHandle {
        self.handle.clone()
    }

    /// Drives it in this thread until `end` completes; gives what that gives.
    pub fn run<T>(&self, end: impl Future<Output = T>) -> T {
        self.runtime.block_on(end)
    }

    /// Ends it, and what still runs on it, without waiting for anything.
    pub fn shut_down(self) {
        self.runtime.shutdown_background();
    }
}

impl LaneHandle {
    /// Runs a task on the lane.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Tells the lane something, within a moment and in order. Whoever calls bounds how much waits.
    pub(crate) fn tell(&self, notice: Notice) {
        let notices = &self.load.notices;
        notices.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
        if notices.gathering.swap(true, Ordering::AcqRel) {
            return;
        }
        let gathering = Gathering(Some(Arc::clone(&self.load)));
        self.spawn(async move {
            sleep(GATHER).await;
            for (told, notice) in gathering.finish().into_iter().enumerate() {
                notice();
                if told % BATCH == BATCH - 1 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }

    fn seat(&self) -> LaneSeat {
        self.load.seats.fetch_add(1, Relaxed);
        LaneSeat(Arc::clone(&self.load))
    }

    /// Connections that have a place on it.
    pub fn seats(&self) -> usize {
        self.load.seats.load(Relaxed)
    }

    /// Completes when no connection has a place on it.
    pub async fn emptied(&self) {
        while self.load.seats.load(Relaxed) > 0 {
            self.load.empty.notified().await;
        }
    }
}

/// A connection's place on the lane that it stays with.
#[derive(Debug)]
pub(crate) struct Place {
    pub lane: LaneHandle,
    _seat: LaneSeat,
}

/// The lanes of one server: none before the first hook is wanted, and none once the server is closed, because a lane holds
/// descriptors.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    /// At least one.
    Entered(Vec<LaneHandle>),
    /// For good.
    Left,
}

impl Lanes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes these, unless there are some already or they were left.
    pub(crate) fn enter(&self, lanes: Vec<LaneHandle>) {
        if lanes.is_empty() {
            return;
        }
        let mut state = self.state();
        if matches!(*state, State::Empty) {
            *state = State::Entered(lanes);
        }
    }

    /// Lets them go, and takes no others from here on.
    pub(crate) fn leave(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Left);
        drop(before);
    }

    /// A place on the lane with the fewest connections.
    pub(crate) fn place(&self) -> Option<Place> {
        let State::Entered(lanes) = &*self.state() else { return None };
        let lane = lanes.iter().min_by_key(|lane| lane.load.seats.load(Relaxed))?;
        Some(Place { lane: lane.clone(), _seat: lane.seat() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_lane_keeps_no_notice() {
        let lane = Lane::new(|| ()).unwrap();
        let (handle, subject) = (lane.handle(), Arc::new(()));
        let notice = || {
            let subject = Arc::clone(&subject);
            Box::new(move || drop(subject))
        };
        handle.tell(notice());
        handle.tell(notice());
        assert_eq!(Arc::strong_count(&subject), 3);
        lane.shut_down();
        assert_eq!(Arc::strong_count(&subject), 1);
        handle.tell(notice());
        assert_eq!(Arc::strong_count(&subject), 1);
    }
}
