//! A bound on the time without progress.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Looks at the kernel's buffers within one limit.
const LOOKS: u32 = 4;

/// A bound on the time without progress. Costs nothing, not even a look at the clock, while there is no limit.
#[derive(Debug, Default)]
pub(super) struct Patience {
    timer: Option<Box<Timer>>,
}

#[derive(Debug)]
struct Timer {
    limit: Duration,
    /// When something last moved.
    since: Instant,
    /// Bytes in the kernel on their way to the client and to the upstream, when last looked at.
    in_kernel: Option<(usize, usize)>,
    sleep: Pin<Box<Sleep>>,
}

impl Patience {
    /// `moved` says whether this turn made progress; `in_kernel` tells what the kernel has still to deliver. That
    /// is asked now and then: a slow reader empties the kernel's buffer long before it takes more from us.
    pub(super) fn poll(
        &mut self,
        limit: Option<Duration>,
        moved: bool,
        in_kernel: impl Fn() -> (usize, usize),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(limit) = limit else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = match &mut self.timer {
            Some(timer) if timer.limit == limit => {
                if moved {
                    timer.since = Instant::now();
                    timer.in_kernel = None;
                }
                timer
            }
            timer => {
                let since = Instant::now();
                let sleep = Box::pin(sleep_until(since + limit / LOOKS));
                timer.insert(Box::new(Timer { limit, since, in_kernel: None, sleep }))
            }
        };
        // The timer is not moved with every byte: when it fires, it is set anew. It fires four times a limit, to see
        // whether the kernel delivers.
        while timer.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let waiting = in_kernel();
            if timer.in_kernel.replace(waiting).is_some_and(|before| before != waiting) {
                timer.since = now;
            }
            if timer.since + limit <= now {
                return Poll::Ready(());
            }
            timer.sleep.as_mut().reset((timer.since + limit).min(now + limit / LOOKS));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    /// Polls the patience once a second for `seconds`, with progress where `moves` says so.
    async fn lasts(limit: Option<u64>, seconds: u64, moves: impl Fn(u64) -> bool) -> Option<u64> {
        let mut patience = Patience::default();
        for second in 0..seconds {
            let limit = limit.map(Duration::from_secs);
            let over = poll_fn(|cx| Poll::Ready(patience.poll(limit, moves(second), || (0, 0), cx).is_ready())).await;
            if over {
                return Some(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_its_limit_without_progress() {
        assert_eq!(lasts(Some(120), 1000, |_| false).await, Some(120));
        assert_eq!(lasts(None, 1000, |_| false).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_limit_anew() {
        assert_eq!(lasts(Some(120), 1000, |second| second % 100 == 0).await, None);
        assert_eq!(lasts(Some(120), 1000, |second| second == 50).await, Some(170));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_delivers_is_progress() {
        let mut patience = Patience::default();
        let limit = Some(Duration::from_secs(120));
        let started = Instant::now();
        let queued = || (0, 5000_usize.saturating_sub(10 * usize::try_from(started.elapsed().as_secs()).unwrap()));
        poll_fn(|cx| patience.poll(limit, false, queued, cx)).await;
        assert_eq!(started.elapsed().as_secs(), 630, "empty at 500 s, found so at the next look at 510 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_cannot_deliver_is_none() {
        let mut patience = Patience::default();
        let started = Instant::now();
        poll_fn(|cx| patience.poll(Some(Duration::from_secs(120)), false, || (0, 5000), cx)).await;
        assert_eq!(started.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_wakes_a_task_that_nothing_else_wakes() {
        let mut patience = Patience::default();
        let started = Instant::now();
        tokio::select! {
            () = poll_fn(|cx| patience.poll(Some(Duration::from_secs(120)), false, || (0, 0), cx)) => {}
            () = pending() => {}
        }
        assert_eq!(started.elapsed().as_secs(), 120);
    }
}
