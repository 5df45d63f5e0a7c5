//! Another try, a moment later: for what the system has no memory for now, and does not tell of when it has.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::sleep;

use super::errno::is_exhaustion;
use crate::words::{error::reason_text, throttle::Throttle};

/// How much later.
const PAUSE: Duration = Duration::from_millis(10);

static LOG: Throttle = Throttle::new();

thread_local! {
    /// The tasks of this thread that are to try again, each once.
    static WAITING: RefCell<HashMap<*const (), Waker>> = RefCell::default();
}

/// Returns true if `error` passes; then the task of `cx` is woken to try again.
pub(super) fn again(error: &io::Error, cx: &Context<'_>) -> bool {
    if !is_exhaustion(error) {
        return false;
    }
    let waker = cx.waker();
    let first = WAITING.with_borrow_mut(|waiting| {
        // Before: one that asks again in the pause is there already, and so is the sleeper.
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
        log::warn!(target: "interpose::connection", "bytes wait, because the system cannot move them: {why}; it is tried again{more}");
    }
    true
}

/// Wakes all that wait when it is dropped, be it with its runtime: none is left to a task that never comes.
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
            // Twice in one pause is woken once.
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
