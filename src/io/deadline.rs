//! Time limits that count only while this process runs: a process that is stopped (SIGSTOP, a debugger, a frozen container)
//! does not see what its peers do meanwhile.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

/// Number of clock checks within one limit.
const LOOKS: u32 = 4;

/// A timer that fires later than this was late, for whatever reason. Busy threads delay a timer by less.
const LATE: Duration = Duration::from_millis(50);

/// The end of a limit. It moves by the time that the thread has missed: the first timer that is much too late starts the
/// limit again, once until there is progress; the delay of later ones is only not counted, so that the limit does end.
#[derive(Debug)]
pub(crate) struct Deadline {
    limit: Duration,
    by: Instant,
    /// Time of the next clock check.
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

    /// Starts the limit again after progress. A timer that is already set stays as it is.
    pub(crate) fn anew(&mut self) {
        self.by = Instant::now() + self.limit;
        self.pardoned = false;
    }

    /// Returns true if the limit ends later than `left` from now.
    pub(crate) fn is_beyond(&self, left: Duration) -> bool {
        self.by > Instant::now() + left
    }

    /// Returns the time at which the next clock check is due.
    pub(crate) fn next_look(&self) -> Instant {
        self.asked
    }

    /// Sets the time of the next clock check: `at`, or the end of the limit if that is earlier.
    pub(crate) fn look_at(&mut self, at: Instant) {
        self.asked = self.by.min(at);
    }

    /// Makes the next check due now, because the connection moves to another thread: the time until that thread sets its timer
    /// does not count as late.
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
    // The thread may not have received events yet that arrived in time.
    yield_now().await;
}

/// Returns the outcome of `work`, or `None` if `limit` is over first. Events that arrived by then are handled first.
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

    /// Checks the clock when due; for the first time after a stop of length `stop`. Returns how long the limit lasted.
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
        // 25 s of the stop are before the check is due.
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
