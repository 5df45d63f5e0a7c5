//! The core's log, on its way to Python's `logging`.
//!
//! I/O threads never attach to the interpreter, so they put their lines in a bounded ring; one Python thread takes them out.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;
use tokio::time::{sleep, timeout};

use super::awaitable::awaitable;
use crate::words::{lock::EvenPoisoned, log_target};

/// Time between two checks of a task that waits for lines without blocking its thread.
const LOOK: Duration = Duration::from_millis(1);

/// Maximum number of waiting lines. Further lines are dropped and counted: the log must not grow without bound.
const MOST_LINES: usize = 1024;

/// How long lines of the access log, for which nobody waits, may wait for more of them: to wake the thread for each would cost
/// more than the line.
const GATHER: Duration = Duration::from_millis(50);

/// The ring of this process. Replaced in a forked child, where a thread that no longer exists may have held the lock.
static RING: LazyLock<ArcSwap<Ring>> = LazyLock::new(|| ArcSwap::from_pointee(Ring::default()));

/// The level in the numbers of Python's `logging`, the logger's name, and the message. Without a name, the message is the key
/// of a record that the façade keeps.
type Line = (u8, String, String);

#[derive(Debug, Default)]
struct Ring {
    lines: Mutex<Lines>,
    arrived: Condvar,
    /// Notified when the lines that were taken have been handled.
    handed_on: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Line>,
    /// True if the waiting lines must not wait for more.
    is_urgent: bool,
    dropped: u64,
    /// Number of lines ever taken, and the number of those that were handled when their taker came again.
    taken: u64,
    done: u64,
    taker: Option<ThreadId>,
    /// The time at which the lines that are being handled were taken.
    since: Option<Instant>,
    shut_down: bool,
}

impl Lines {
    /// Returns true while the waiting lines may wait for more.
    fn may_gather(&self) -> bool {
        !self.is_urgent && !self.shut_down && self.waiting.len() < MOST_LINES / 2
    }
}

impl Ring {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().even_poisoned()
    }

    fn push(&self, line: Line, is_urgent: bool) -> bool {
        let mut lines = self.lines();
        if lines.waiting.len() >= MOST_LINES {
            lines.dropped += 1;
            return false;
        }
        let may_gather = lines.may_gather();
        lines.waiting.push_back(line);
        lines.is_urgent |= is_urgent;
        if lines.waiting.len() == 1 || (may_gather && !lines.may_gather()) || is_urgent {
            self.arrived.notify_one();
        }
        true
    }

    /// Waits until all lines pushed before this call are handled, at most for `timeout`. Returns `false` if the time was over
    /// first. Returns at once on the thread that handles the lines.
    fn flush(&self, timeout: Duration) -> bool {
        let mut lines = self.lines();
        if lines.taker == Some(thread::current().id()) {
            return true;
        }
        let wanted = lines.taken + lines.waiting.len() as u64;
        self.hurry(&mut lines);
        let held_up = |lines: &mut Lines| lines.done < wanted;
        let waited = self.handed_on.wait_timeout_while(lines, timeout, held_up);
        waited.even_poisoned().0.done >= wanted
    }

    /// Returns the value that `done` has once all lines pushed so far are handled, which are taken at once.
    fn pushed(&self) -> u64 {
        let mut lines = self.lines();
        self.hurry(&mut lines);
        lines.taken + lines.waiting.len() as u64
    }

    /// Lets the waiting lines be taken at once.
    fn hurry(&self, lines: &mut Lines) {
        if !lines.waiting.is_empty() {
            lines.is_urgent = true;
            self.arrived.notify_one();
        }
    }

    /// Returns the seconds for which the lines taken last are being handled, how many wait behind them, and how many were dropped.
    fn held_up(&self) -> (f64, usize, u64) {
        let lines = self.lines();
        (lines.since.map_or(0.0, |since| since.elapsed().as_secs_f64()), lines.waiting.len(), lines.dropped)
    }

    /// Returns the waiting lines once there are some, or an empty list after `timeout`; `None` once no more will come.
    fn take(&self, timeout: Duration) -> Option<Vec<Line>> {
        let idle = |lines: &mut Lines| lines.waiting.is_empty() && !lines.shut_down;
        let mut lines = self.lines();
        lines.taker = Some(thread::current().id());
        lines.done = lines.taken;
        lines.since = None;
        self.handed_on.notify_all();
        let waited = self.arrived.wait_timeout_while(lines, timeout, idle);
        let mut lines = waited.even_poisoned().0;
        if !lines.waiting.is_empty() {
            lines = self.arrived.wait_timeout_while(lines, GATHER, |lines| lines.may_gather()).even_poisoned().0;
        }
        if lines.waiting.is_empty() && lines.shut_down {
            return None;
        }
        let mut taken: Vec<Line> = lines.waiting.drain(..).collect();
        lines.is_urgent = false;
        lines.taken += taken.len() as u64;
        lines.since = (!taken.is_empty()).then(Instant::now);
        if std::mem::take(&mut lines.dropped) > 0 {
            let message = format!("lines were dropped: more than {MOST_LINES} waited to be logged");
            taken.push((python_level(Level::Warn), "interpose".to_owned(), message));
        }
        Some(taken)
    }
}

/// Ends the log. Waiting lines can still be taken.
pub(super) fn shut_down() {
    let ring = RING.load_full();
    ring.lines().shut_down = true;
    ring.arrived.notify_all();
}

/// Replaces the ring, for a forked child.
pub(super) fn start_afresh() {
    RING.store(Arc::new(Ring::default()));
}

struct ToRing;

impl Log for ToRing {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("interpose")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let name = record.target().replace("::", ".");
            let line = (python_level(record.level()), name, record.args().to_string());
            let _ = RING.load().push(line, record.target() != log_target::ACCESS);
        }
    }

    fn flush(&self) {}
}

fn python_level(level: Level) -> u8 {
    match level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug => 10,
        Level::Trace => 5,
    }
}

/// Makes the ring the destination of the core's log. Nothing is logged before `start_logging`.
pub(super) fn install() {
    // Only a second import of this library into the process finds a logger there already: this one.
    let _ = log::set_logger(&ToRing);
}

/// Queues lines of `level` and above (in the numbers of `logging`) from now on.
#[pyfunction]
pub(super) fn start_logging(level: i32) {
    log::set_max_level(match level {
        ..=9 => LevelFilter::Trace,
        10..=19 => LevelFilter::Debug,
        20..=29 => LevelFilter::Info,
        30..=39 => LevelFilter::Warn,
        40..=49 => LevelFilter::Error,
        _ => LevelFilter::Off,
    });
}

/// Returns the waiting lines; blocks up to `timeout` seconds for one. `None` once all lines are taken after the shutdown.
#[pyfunction]
pub(super) fn next_logs(py: Python<'_>, timeout: f64) -> PyResult<Option<Vec<Line>>> {
    let timeout = super::convert::seconds(py, "timeout", Some(timeout))?.unwrap_or_default();
    let ring = RING.load_full();
    Ok(py.detach(|| ring.take(timeout)))
}

/// Queues a record that the façade keeps under `key`, in its order among the core's lines. Returns `False` if there is no
/// room; then the record counts as dropped.
#[pyfunction]
pub(super) fn queue_record(key: u64) -> bool {
    RING.load().push((0, String::new(), key.to_string()), true)
}

/// Waits, at most for `timeout` seconds, until every line that was queued before is handled.
#[pyfunction]
pub(super) fn flush_logs(py: Python<'_>, timeout: f64) -> PyResult<bool> {
    let timeout = super::convert::seconds(py, "timeout", Some(timeout))?.unwrap_or_default();
    let ring = RING.load_full();
    Ok(py.detach(|| ring.flush(timeout)))
}

/// Returns an awaitable of the running loop: true once every line that was queued before is handled, or is delayed for
/// `stuck` seconds; false after `limit` seconds.
#[pyfunction]
pub(super) fn logs_flushed(py: Python<'_>, limit: f64, stuck: f64) -> PyResult<Bound<'_, PyAny>> {
    let limit = super::convert::seconds(py, "limit", Some(limit))?.unwrap_or_default();
    let ring = RING.load_full();
    awaitable(py, async move {
        let wanted = ring.pushed();
        let flushed = async {
            while ring.lines().done < wanted && ring.held_up().0 < stuck {
                sleep(LOOK).await;
            }
        };
        timeout(limit, flushed).await.is_ok()
    })
}

/// Returns the seconds for which the lines taken last are being handled, how many wait behind them, and how many were dropped.
#[pyfunction]
pub(super) fn log_held_up() -> (f64, usize, u64) {
    RING.load().held_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_says_what_it_lost() {
        let ring = Ring::default();
        for _ in 0..MOST_LINES + 5 {
            ring.push((30, "interpose".into(), "x".into()), true);
        }
        let lines = ring.take(Duration::ZERO).unwrap();
        assert_eq!(lines.len(), MOST_LINES + 1);
        assert!(lines[MOST_LINES].2.contains("dropped"));
        assert_eq!(ring.take(Duration::ZERO), Some(vec![]));
    }

    #[test]
    fn lines_that_nobody_waits_for_gather_until_one_is_urgent_or_half_the_ring_is_full() {
        let ring = Ring::default();
        let push = |is_urgent| ring.push((20, "interpose.access".into(), "x".into()), is_urgent);
        push(false);
        assert!(ring.lines().may_gather());
        push(true);
        assert!(!ring.lines().may_gather());
        assert_eq!(ring.take(Duration::ZERO).unwrap().len(), 2);
        (0..MOST_LINES / 2).for_each(|_| assert!(push(false)));
        assert!(!ring.lines().may_gather());
        assert_eq!(ring.take(Duration::ZERO).unwrap().len(), MOST_LINES / 2);
        push(false);
        ring.pushed();
        assert!(!ring.lines().may_gather());
    }

    #[test]
    fn after_the_shutdown_what_waits_is_still_given_and_then_none() {
        let ring = Ring::default();
        ring.push((30, "interpose".into(), "last".into()), true);
        ring.lines().shut_down = true;
        assert_eq!(ring.take(Duration::ZERO).unwrap().len(), 1);
        assert_eq!(ring.take(Duration::ZERO), None);
    }
}
