//! The duration of callbacks: slow ones are logged, each once a minute.

use std::{
    sync::{
        Arc, LazyLock, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::words::{lock::EvenPoisoned, log_target};

/// The duration from which on a callback is slow: the other connections of its lane, or the others of its event loop, wait.
const SLOW: Duration = Duration::from_millis(100);

/// Silence after which a late answer is logged again.
const LATE_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time between two warnings about the same callback.
const INTERVAL: Duration = Duration::from_secs(60);

/// The slots for callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Slot {
    Accept,
    Hello,
    Preread,
    Connect,
    ClientRecv,
    UpstreamRecv,
    Eof,
    Close,
    /// The function of a custom framing; no callback.
    Framing,
    /// The function that decides for a fault; no callback.
    Fault,
}

impl Slot {
    pub(super) const ALL: [Self; 10] = [
        Self::Accept,
        Self::Hello,
        Self::Preread,
        Self::Connect,
        Self::ClientRecv,
        Self::UpstreamRecv,
        Self::Eof,
        Self::Close,
        Self::Framing,
        Self::Fault,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Hello => "client_hello",
            Self::Preread => "preread",
            Self::Connect => "connect",
            Self::ClientRecv => "client_recv",
            Self::UpstreamRecv => "upstream_recv",
            Self::Eof => "eof",
            Self::Close => "close",
            Self::Framing => "framing",
            Self::Fault => "fault",
        }
    }
}

/// The names, answers, failures and warnings of the callbacks of one server.
#[derive(Debug, Default)]
pub(super) struct CallLog {
    names: Mutex<[String; Slot::ALL.len()]>,
    warned: Mutex<[Option<Instant>; Slot::ALL.len()]>,
    /// True for each slot whose callback has returned anything but None.
    answered: [AtomicBool; Slot::ALL.len()],
    errors: AtomicU64,
    timeouts: AtomicU64,
    /// When a late answer was logged last.
    late: Mutex<Option<Instant>>,
}

/// The thread that runs callbacks, as warnings about slow ones call it.
#[derive(Debug, Clone, Copy)]
enum Place {
    Lane,
    Loop,
}

impl Place {
    /// Returns what has waited for a slow callback, and what to do.
    fn waited(self) -> &'static str {
        match self {
            Self::Lane => "the other connections of its lane waited; do slow work in a thread, or raise Callbacks(threads=...)",
            Self::Loop => {
                "its event loop stood still, with other async callbacks; await slow work, in asyncio.to_thread() if need be"
            }
        }
    }
}

/// The callback that runs on one lane, or event loop, now.
#[derive(Debug)]
pub(super) struct Running {
    pub log: Arc<CallLog>,
    place: Place,
    /// The lane's thread, as `threading.get_ident()` returns it.
    thread: u64,
    /// The slot's number plus one; 0 between callbacks.
    slot: AtomicUsize,
    /// Milliseconds from `EPOCH` to the callback's begin.
    since: AtomicU64,
    /// The begin of the last callback that was reported as stuck, in milliseconds from `EPOCH`.
    reported: AtomicU64,
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The running lanes, for the search of callbacks that do not return.
static LANES: Mutex<Vec<Weak<Running>>> = Mutex::new(Vec::new());

impl CallLog {
    /// Sets the name that a slot's callback has in messages.
    pub(super) fn rename(&self, slot: Slot, name: String) {
        self.names.lock().even_poisoned()[slot as usize] = name;
    }

    /// Records that a slot's callback has returned anything but None.
    pub(super) fn answered(&self, slot: Slot) {
        let answered = &self.answered[slot as usize];
        if !answered.load(Relaxed) {
            answered.store(true, Relaxed);
        }
    }

    /// Clears the record of answers: the slot has a new callback.
    pub(super) fn begins_anew(&self, slot: Slot) {
        self.answered[slot as usize].store(false, Relaxed);
    }

    pub(super) fn has_answered(&self, slot: Slot) -> bool {
        self.answered[slot as usize].load(Relaxed)
    }

    pub(super) fn name(&self, slot: Slot) -> String {
        self.names.lock().even_poisoned()[slot as usize].clone()
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Counts and logs an answer that did not come within `limit`. Returns one line about it.
    pub(super) fn late(&self, slot: Slot, limit: Duration) -> String {
        self.timeouts.fetch_add(1, Relaxed);
        let line = format!("{}: it has not answered within {limit:?}", self.name(slot));
        let now = Instant::now();
        if self.late.lock().even_poisoned().replace(now).is_none_or(|last| now.duration_since(last) >= LATE_INTERVAL) {
            log::warn!(target: log_target::CALLBACK, "{line}; stats.callback_timeouts counts them");
        }
        line
    }

    pub(super) fn timeouts(&self) -> u64 {
        self.timeouts.load(Relaxed)
    }

    /// Logs a callback that was slow, with what `waited` for it and what to do.
    fn warn_slow(&self, slot: Slot, taken: Duration, now: Instant, waited: &str) {
        let warned = &mut self.warned.lock().even_poisoned()[slot as usize];
        if warned.is_none_or(|last| now.duration_since(last) >= INTERVAL) {
            *warned = Some(now);
            let (name, taken) = (self.name(slot), taken.as_millis());
            log::warn!(target: log_target::CALLBACK, "{name}: it took {taken} ms, and {waited}");
        }
    }
}

impl Running {
    /// Registers a lane that begins to run callbacks in the Python thread `thread`.
    pub(super) fn start(log: Arc<CallLog>, thread: u64) -> Arc<Self> {
        let running = Arc::new(Self::new(log, Place::Lane, thread));
        let mut lanes = LANES.lock().even_poisoned();
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(&running));
        running
    }

    /// Returns the state of an event loop. Callbacks that do not return are found by the façade, which asks the loop.
    pub(super) fn on_loop(log: Arc<CallLog>) -> Self {
        Self::new(log, Place::Loop, 0)
    }

    fn new(log: Arc<CallLog>, place: Place, thread: u64) -> Self {
        let (since, reported) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { log, place, thread, slot: AtomicUsize::new(0), since, reported }
    }

    /// Returns the name of the callback that runs now.
    pub(super) fn name(&self) -> Option<String> {
        self.slot().map(|slot| self.log.name(slot))
    }

    fn slot(&self) -> Option<Slot> {
        Slot::ALL.get(self.slot.load(Relaxed).checked_sub(1)?).copied()
    }

    pub(super) fn begin(&self, slot: Slot, at: Instant) {
        let since = at.saturating_duration_since(*EPOCH).as_millis();
        self.since.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        self.slot.store(slot as usize + 1, Relaxed);
    }

    pub(super) fn end(&self, slot: Slot, began: Instant, now: Instant) {
        self.slot.store(0, Relaxed);
        let taken = now.saturating_duration_since(began);
        if taken >= SLOW {
            self.log.warn_slow(slot, taken, now, self.place.waited());
        }
    }

    /// Returns the callback that has run for `least` or longer, unless it was reported already.
    fn stuck(&self, least: Duration) -> Option<Stuck> {
        let slot = self.slot()?;
        let since = self.since.load(Relaxed);
        let taken = EPOCH.elapsed().saturating_sub(Duration::from_millis(since));
        (taken >= least && self.reported.swap(since, Relaxed) != since)
            .then(|| (self.log.name(slot), taken.as_secs_f64(), self.thread))
    }
}

/// A callback's name, its seconds so far, and the thread on which it runs.
pub(super) type Stuck = (String, f64, u64);

/// Returns the callbacks that have run for `least` seconds and do not return, each once.
pub(super) fn stuck(least: Duration) -> Vec<Stuck> {
    let lanes: Vec<_> = LANES.lock().even_poisoned().iter().filter_map(Weak::upgrade).collect();
    lanes.iter().filter_map(|lane| lane.stuck(least)).collect()
}
