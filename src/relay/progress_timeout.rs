//! A limit on the time without progress.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep_until};

use crate::io::deadline::Deadline;

/// A limit on the time without progress. Costs nothing, not even a clock reading, while there is no limit.
#[derive(Debug, Default)]
pub(super) struct ProgressTimeout {
    timer: Option<Box<Timer>>,
}

#[derive(Debug)]
struct Timer {
    deadline: Deadline,
    /// Bytes in the kernel on their way to the client and to the upstream, at the last check.
    in_kernel: Option<(usize, usize)>,
    /// True if the sockets were checked after the limit was over.
    looked: bool,
    /// `None` while the relay is on no thread.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The action that an expired limit asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Check the sockets: bytes may have come without a readiness event. Then poll again.
    Look,
    /// The end.
    End,
}

impl ProgressTimeout {
    /// Polls the limit. `moved` is true if this turn made progress; `in_kernel` returns the bytes that the kernel has still
    /// to deliver. It is called now and then: a slow reader empties the kernel's buffer long before it takes more from us.
    pub(super) fn poll(
        &mut self,
        limit: Option<Duration>,
        moved: bool,
        in_kernel: impl Fn() -> (usize, usize),
        cx: &mut Context<'_>,
    ) -> Poll<Over> {
        let Some(limit) = limit else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = match &mut self.timer {
            Some(timer) if timer.deadline.limit() == limit => {
                if moved {
                    timer.moved();
                }
                timer
            }
            timer => {
                timer.insert(Box::new(Timer { deadline: Deadline::after(limit), in_kernel: None, looked: false, sleep: None }))
            }
        };
        timer.poll(in_kernel, cx)
    }

    /// Prepares for another thread's clock.
    pub(super) fn leave_thread(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.deadline.leave_thread();
            timer.sleep = None;
        }
    }
}

impl Timer {
    fn moved(&mut self) {
        self.deadline.anew();
        (self.in_kernel, self.looked) = (None, false);
    }

    /// Polls the timer, which is not moved with every byte: when it fires, it is set again. It fires several times within a
    /// limit, to check whether the kernel delivers.
    fn poll(&mut self, in_kernel: impl Fn() -> (usize, usize), cx: &mut Context<'_>) -> Poll<Over> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(self.deadline.next_look())));
        while sleep.as_mut().poll(cx).is_ready() {
            let waiting = in_kernel();
            if self.in_kernel.replace(waiting).is_some_and(|before| before != waiting) {
                self.deadline.anew();
            }
            if !self.deadline.is_over() {
                self.looked = false;
                sleep.as_mut().reset(self.deadline.next_look());
            } else if std::mem::replace(&mut self.looked, true) {
                return Poll::Ready(Over::End);
            } else {
                return Poll::Ready(Over::Look);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::time::Instant;

    use super::*;

    /// Polls again at once when a check of the sockets is requested, and finds nothing.
    fn polled(patience: &mut ProgressTimeout, limit: Option<Duration>, moved: bool, cx: &mut Context<'_>) -> Poll<()> {
        wait(patience, limit, moved, || (0, 0), cx)
    }

    fn wait(
        patience: &mut ProgressTimeout,
        limit: Option<Duration>,
        moved: bool,
        in_kernel: impl Fn() -> (usize, usize),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match patience.poll(limit, moved, &in_kernel, cx) {
            Poll::Ready(Over::Look) => patience.poll(limit, false, in_kernel, cx).map(|over| assert_eq!(over, Over::End)),
            other => other.map(|over| assert_eq!(over, Over::Look, "no look before the end")),
        }
    }

    /// Polls once a second for `seconds`, with progress where `moves` returns true.
    async fn lasts(limit: Option<u64>, seconds: u64, moves: impl Fn(u64) -> bool) -> Option<u64> {
        let mut patience = ProgressTimeout::default();
        for second in 0..seconds {
            let limit = limit.map(Duration::from_secs);
            let over = poll_fn(|cx| Poll::Ready(polled(&mut patience, limit, moves(second), cx).is_ready())).await;
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
        let mut patience = ProgressTimeout::default();
        let limit = Some(Duration::from_secs(120));
        let started = Instant::now();
        let queued = || (0, 5000_usize.saturating_sub(10 * usize::try_from(started.elapsed().as_secs()).unwrap()));
        poll_fn(|cx| wait(&mut patience, limit, false, queued, cx)).await;
        assert_eq!(started.elapsed().as_secs(), 630, "empty at 500 s, found so at the next look at 510 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_cannot_deliver_is_none() {
        let mut patience = ProgressTimeout::default();
        let started = Instant::now();
        poll_fn(|cx| wait(&mut patience, Some(Duration::from_secs(120)), false, || (0, 5000), cx)).await;
        assert_eq!(started.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_wakes_a_task_that_nothing_else_wakes() {
        let mut patience = ProgressTimeout::default();
        let started = Instant::now();
        tokio::select! {
            () = poll_fn(|cx| polled(&mut patience, Some(Duration::from_secs(120)), false, cx)) => {}
            () = pending() => {}
        }
        assert_eq!(started.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_look_finds_starts_the_limit_anew() {
        let (mut patience, limit) = (ProgressTimeout::default(), Some(Duration::from_secs(120)));
        let started = Instant::now();
        assert_eq!(poll_fn(|cx| patience.poll(limit, false, || (0, 0), cx)).await, Over::Look);
        assert!(poll_fn(|cx| Poll::Ready(patience.poll(limit, true, || (0, 0), cx))).await.is_pending());
        assert_eq!(poll_fn(|cx| patience.poll(limit, false, || (0, 0), cx)).await, Over::Look);
        assert_eq!(started.elapsed().as_secs(), 240);
        assert_eq!(poll_fn(|cx| patience.poll(limit, false, || (0, 0), cx)).await, Over::End);
    }

    #[tokio::test(start_paused = true)]
    async fn a_move_to_another_thread_is_no_progress() {
        let (mut patience, limit) = (ProgressTimeout::default(), Some(Duration::from_secs(120)));
        let started = Instant::now();
        for _ in 0..100 {
            assert!(poll_fn(|cx| Poll::Ready(patience.poll(limit, false, || (0, 0), cx))).await.is_pending());
            tokio::time::advance(Duration::from_secs(1)).await;
            patience.leave_thread();
        }
        assert_eq!(poll_fn(|cx| patience.poll(limit, false, || (0, 0), cx)).await, Over::Look);
        assert_eq!(started.elapsed().as_secs(), 120);
    }
}
