//! Limits of time that count only while this process runs: one that is stopped (SIGSTOP, a debugger, a frozen container)
//! does not see what its peers do meanwhile.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

/// How often the clock is looked at within one limit.
const LOOKS: u32 = 4;

/// A timer that comes later than this, for whatever reason, was late. Busy threads are, by less.
const LATE: Duration = Duration::from_millis(50);

/// The end of a limit. It moves with what its thread has missed: a timer that is much too late starts the limit anew, once
/// without progress; what later ones are late is only not counted, so that there is an end.
#[derive(Debug)]
pub(crate) struct Deadline {
    limit: Duration,
    by: Instant,
    /// The time that the timer is set to.
    asked: Instant,
    pardoned: bool,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        let now = Instant::now();
        Self { limit, by: now + limit, asked: now + limit / LOOKS, pardoned: false }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Starts the limit anew, because something has moved. A timer that is set stays as it is.
    pub(crate) fn anew(&mut self) {
        self.by = Instant::now() + self.limit;
        self.pardoned = false;
    }

    /// Returns true if it ends later than `left` from now.
    pub(crate) fn is_beyond(&self, left: Duration) -> bool {
        self.by > Instant::now() + left
    }

    /// When the next look at the clock is due.
    pub(crate) fn next_look(&self) -> Instant {
        self.asked
    }

    /// Sets the next look, unless the limit ends before.
    pub(crate) fn look_at(&mut self, at: Instant) {
        self.asked = self.by.min(at);
    }

    /// Forgets when a look was due: the thread is another.
    pub(crate) fn leave_thread(&mut self) {
        self.look_at(Instant::now());
    }

    /// Returns true if the limit is over. Called when the timer has fired.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let late = now.saturating_duration_since(self.asked);
        if late >= LATE {
            if late >= self.limit / LOOKS && !self.pardoned {
                self.pardoned = true;
                self.by = now + self.limit;
            } else {
                self.by += late;
            }
        }
        let over = self.by <= now;
        self.asked = if over { now } else { self.by.min(now + self.limit / LOOKS) };
        over
    }
}

/// Completes when `limit` is over.
pub(crate) async fn over(limit: Duration) {
    let mut deadline = Deadline::after(limit);
    loop {
        sleep_until(deadline.next_look()).await;
        if deadline.is_over() {
            break;
        }
    }
    // The thread may not have heard yet of what has come in time.
    yield_now().await;
}

/// The outcome of `work`, unless `limit` is over before. What has come by then is looked at first.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = over(limit) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks when that is due; for the first time after a stop of this length. Says how long the limit was then.
    async fn ends_after(stop: Duration, limit: Duration) -> Duration {
        let start = Instant::now();
        let mut deadline = Deadline::after(limit);
        advance(stop).await;
        while !deadline.is_over() {
            sleep_until(deadline.next_look()).await;
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_ends_on_time() {
        let start = Instant::now();
        over(120 * SECOND).await;
        assert_eq!(start.elapsed().as_secs(), 120);
        assert_eq!(within(SECOND, pending::<()>()).await, None);
        assert_eq!(within(SECOND, async { 1 }).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_for_much_of_the_limit_or_longer_starts_it_anew() {
        for (stop, limit) in [(3, 1), (60, 100), (100, 100), (3600, 100)] {
            assert_eq!(ends_after(stop * SECOND, limit * SECOND).await.as_secs(), u64::from(stop + limit), "{stop} of {limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_stop_is_not_counted() {
        // 25 s of it are before the look.
        assert_eq!(ends_after(40 * SECOND, 100 * SECOND).await.as_secs(), 115);
        let little_late = 25 * SECOND + LATE / 2;
        assert_eq!(ends_after(little_late, 100 * SECOND).await.as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_is_always_late_comes_to_an_end() {
        let start = Instant::now();
        let mut deadline = Deadline::after(100 * SECOND);
        while !deadline.is_over() {
            sleep_until(deadline.next_look() + 60 * SECOND).await;
        }
        assert!(start.elapsed() < 1000 * SECOND, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_it_anew() {
        let start = Instant::now();
        let mut deadline = Deadline::after(100 * SECOND);
        advance(70 * SECOND).await;
        deadline.anew();
        deadline.look_at(Instant::now());
        while !deadline.is_over() {
            sleep_until(deadline.next_look()).await;
        }
        assert_eq!(start.elapsed().as_secs(), 170);
    }
}
