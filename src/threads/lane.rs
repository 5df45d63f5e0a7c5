//! Lanes: threads of the embedding program on which hooks run, together with the connections that need them.
//!
//! A lane is a runtime of one thread. The program decides which thread drives it; the core only spawns tasks onto it.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::{self, Handle, Runtime},
    sync::Notify,
    time::sleep,
};

pub use crate::io::sys::Ticks;
use crate::words::{
    error::{Error, ErrorKind, reason_text},
    lock::EvenPoisoned,
};

/// A runtime for one thread to drive.
#[derive(Debug)]
pub struct Lane {
    runtime: Runtime,
    handle: LaneHandle,
}

/// A handle for sending work to a lane.
#[derive(Debug, Clone)]
pub struct LaneHandle {
    runtime: Handle,
    load: Arc<Load>,
}

#[derive(Debug, Default)]
struct Load {
    seats: AtomicUsize,
    empty: Notify,
    arrivals: Calls,
    notices: Calls,
}

/// How long a notice may wait for further ones. Waking a thread for each would cost more than the notice.
const GATHER: Duration = Duration::from_millis(1);

/// Number of calls made before the lane's connections run.
const BATCH: usize = 32;

/// Closures queued for the lane; the sender does not wait. The first of several wakes the lane's thread, which costs a system
/// call and a switch of threads; the others join it.
#[derive(Default)]
struct Calls {
    waiting: Mutex<Vec<Call>>,
    /// True while a task is on its way to make the calls.
    gathering: AtomicBool,
}

type Call = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    fn waiting(&self) -> MutexGuard<'_, Vec<Call>> {
        self.waiting.lock().even_poisoned()
    }

    /// Takes the waiting calls. If there are none, lets the next call start a task of its own.
    fn take(&self) -> Vec<Call> {
        let mut waiting = self.waiting();
        if waiting.is_empty() {
            self.gathering.store(false, Ordering::Release);
        }
        std::mem::take(&mut waiting)
    }

    /// Takes the waiting calls, and lets the next call start a task of its own.
    fn give_up(&self) -> Vec<Call> {
        let mut waiting = self.waiting();
        self.gathering.store(false, Ordering::Release);
        std::mem::take(&mut waiting)
    }
}

/// Held by the task that makes the calls. An ended runtime drops that task, and no other will run, so the drop of this value
/// drops the calls. Without it a call would keep itself alive: it holds its connection, and through that the lane's handle,
/// in which it waits.
struct Gathering {
    load: Arc<Load>,
    calls: fn(&Load) -> &Calls,
    /// True once no call waits any more.
    is_done: bool,
}

impl Gathering {
    /// Makes the calls in their order, and the calls that arrive meanwhile.
    async fn make(mut self) {
        let mut made = 0;
        loop {
            let calls = (self.calls)(&self.load).take();
            if calls.is_empty() {
                self.is_done = true;
                return;
            }
            for call in calls {
                call();
                made += 1;
                if made % BATCH == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        if !self.is_done {
            // Dropped after the lock is released: the drop of a call may take another lane's lock.
            drop((self.calls)(&self.load).give_up());
        }
    }
}

/// A place on one lane. Counts as its load until dropped.
#[derive(Debug)]
pub(crate) struct LaneSeat(Arc<Load>);

impl Drop for LaneSeat {
    fn drop(&mut self) {
        if self.0.seats.fetch_sub(1, Relaxed) == 1 {
            self.0.empty.notify_one();
        }
    }
}

impl Lane {
    /// Creates a lane that no thread drives yet. `idle` is called on its thread whenever no task is ready to run.
    pub fn new(idle: impl Fn() + Send + Sync + 'static) -> Result<Self, Error> {
        let build = || -> io::Result<Runtime> {
            let mut builder = runtime::Builder::new_current_thread();
            builder.enable_all().on_thread_park(idle).build()
        };
        let runtime = build().map_err(|error| {
            let message = format!("cannot make a lane: {}; raise the limit of open files (ulimit -n)", reason_text(&error));
            Error::from_io(ErrorKind::Runtime, message, error)
        })?;
        let handle = LaneHandle { runtime: runtime.handle().clone(), load: Arc::default() };
        Ok(Self { runtime, handle })
    }

    /// Returns a handle for sending work to the lane.
    pub fn handle(&self) -> LaneHandle {
        self.handle.clone()
    }

    /// Drives the lane in this thread until `end` completes. Returns its result.
    pub fn run<T>(&self, end: impl Future<Output = T>) -> T {
        self.runtime.block_on(end)
    }

    /// Ends the lane and the tasks on it, without waiting for them.
    pub fn shut_down(self) {
        self.runtime.shutdown_background();
    }
}

impl LaneHandle {
    /// Runs a task on the lane.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Queues `call` for the lane, to run as soon as possible and in order: an arrived connection, or other urgent work. The
    /// caller bounds the number of waiting calls.
    pub(crate) fn bring(&self, call: Call) {
        self.gather(|load| &load.arrivals, None, call);
    }

    /// Queues `notice` for the lane, to run within [`GATHER`] and in order. The caller bounds the number of waiting notices.
    pub(crate) fn notify(&self, notice: Call) {
        self.gather(|load| &load.notices, Some(GATHER), notice);
    }

    fn gather(&self, calls: fn(&Load) -> &Calls, moment: Option<Duration>, call: Call) {
        let Calls { gathering, .. } = calls(&self.load);
        calls(&self.load).waiting().push(call);
        if gathering.swap(true, Ordering::AcqRel) {
            return;
        }
        let gathering = Gathering { load: Arc::clone(&self.load), calls, is_done: false };
        self.spawn(async move {
            if let Some(moment) = moment {
                sleep(moment).await;
            }
            gathering.make().await;
        });
    }

    fn seat(&self) -> LaneSeat {
        self.load.seats.fetch_add(1, Relaxed);
        LaneSeat(Arc::clone(&self.load))
    }

    /// Returns the number of connections with a place on the lane.
    pub fn seats(&self) -> usize {
        self.load.seats.load(Relaxed)
    }

    /// Completes when no connection has a place on the lane.
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
    /// The server is closed. Final.
    Left,
}

impl Lanes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().even_poisoned()
    }

    /// Sets the lanes, unless there are some already or the server is closed.
    pub(crate) fn enter(&self, lanes: Vec<LaneHandle>) {
        if lanes.is_empty() {
            return;
        }
        let mut state = self.state();
        if matches!(*state, State::Empty) {
            *state = State::Entered(lanes);
        }
    }

    /// Drops the lanes, and refuses others from here on.
    pub(crate) fn leave(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Left);
        drop(before);
    }

    /// Takes a place on the lane with the fewest connections.
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
    fn an_ended_lane_keeps_no_call() {
        for way in [LaneHandle::notify, LaneHandle::bring] {
            let lane = Lane::new(|| ()).unwrap();
            let (handle, subject) = (lane.handle(), Arc::new(()));
            let call = || {
                let subject = Arc::clone(&subject);
                Box::new(move || drop(subject))
            };
            way(&handle, call());
            way(&handle, call());
            assert_eq!(Arc::strong_count(&subject), 3);
            lane.shut_down();
            assert_eq!(Arc::strong_count(&subject), 1);
            way(&handle, call());
            assert_eq!(Arc::strong_count(&subject), 1);
        }
    }

    #[test]
    fn calls_are_made_in_order_however_many_come_at_once_or_meanwhile() {
        let lane = Lane::new(|| ()).unwrap();
        let (handle, made) = (lane.handle(), Arc::new(Mutex::new(Vec::new())));
        let bring = |number| {
            let (made, later) = (Arc::clone(&made), handle.clone());
            handle.bring(Box::new(move || {
                made.lock().unwrap().push(number);
                if number == 0 {
                    later.bring(Box::new(move || made.lock().unwrap().push(3 * BATCH)));
                }
            }));
        };
        (0..3 * BATCH).for_each(bring);
        lane.run(async {
            while made.lock().unwrap().len() <= 3 * BATCH {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(*made.lock().unwrap(), (0..=3 * BATCH).collect::<Vec<_>>());
        assert!(!handle.load.arrivals.gathering.load(Relaxed), "the next one wakes the lane again");
    }
}
