//! Retries after a pause, for calls that fail because the system lacks memory: the system reports no event when it has memory
//! again.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::sleep;

use super::errno::is_exhaustion;
use crate::words::{error::reason_text, log_target, throttle::Throttle};

/// Pause before a retry.
const PAUSE: Duration = Duration::from_millis(10);

static LOG: Throttle = Throttle::new();

thread_local! {
    /// The tasks of this thread that are to retry, each once.
    static WAITING: RefCell<HashMap<*const (), Waker>> = RefCell::default();
}

/// Returns true if `error` is temporary; then wakes the task of `cx` after a pause, to retry.
pub(super) fn again(error: &io::Error, cx: &Context<'_>) -> bool {
    if !is_exhaustion(error) {
        return false;
    }
    let waker = cx.waker();
    let first = WAITING.with_borrow_mut(|waiting| {
        // Read before the insert: while another task waits, the sleeper runs already; a task that asks twice in one pause is
        // listed once.
        let first = waiting.is_empty();
        waiting.insert(waker.data(), waker.clone());
        first
    });
    if first {
        tokio::spawn(async {
            let _all = All;
            sleep(PAUSE).await;
        });
    }
    if let Some(more) = LOG.pass() {
        let why = reason_text(error);
        log::warn!(target: log_target::CONNECTION, "bytes wait, because the system cannot move them: {why}; it is tried again{more}");
    }
    true
}

/// Wakes all waiting tasks when dropped, also when dropped with its runtime: no task is left waiting for a sleeper that never
/// ends.
struct All;

impl Drop for All {
    fn drop(&mut self) {
        for waker in WAITING.take().into_values() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use tokio::{runtime::Handle, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_after_a_pause() {
        let (start, mut tries) = (Instant::now(), 0);
        poll_fn(|cx| {
            tries += 1;
            let again = again(&io::Error::from_raw_os_error(libc::ENOBUFS), cx);
            // Two requests in one pause wake the task once.
            assert!(again && self::again(&io::Error::from_raw_os_error(libc::ENOMEM), cx));
            if tries == 4 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(start.elapsed() >= 3 * PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn however_often_one_asks_in_a_pause_there_is_one_sleeper() {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let (mut polls, mut most) = (0, 0);
        poll_fn(|cx| {
            polls += 1;
            for _ in 0..5 {
                assert!(again(&io::Error::from_raw_os_error(libc::ENOBUFS), cx));
                most = most.max(tasks());
            }
            if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(most, 1);
    }

    #[tokio::test]
    async fn what_stays_is_not() {
        let context = Context::from_waker(Waker::noop());
        assert!(!again(&io::Error::from_raw_os_error(libc::EPERM), &context));
        assert!(!again(&io::Error::from_raw_os_error(libc::ECONNRESET), &context));
    }
}
