//! The connections that a server may have at once. The limit may change while they live.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// The limit of one server, and how much of it is taken.
#[derive(Debug)]
pub(crate) struct Permits {
    most: AtomicUsize,
    taken: AtomicUsize,
    /// Notified when one is free again, or may be because the limit has risen.
    freed: Notify,
}

/// The right of one connection to be there, until dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: AtomicUsize::new(most), taken: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// The limit in force.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Changes the limit. Connections over a lower one stay; no more are permitted until enough of them have ended.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.freed.notify_one();
    }

    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let most = self.most();
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Permit(Arc::clone(self)))
    }

    /// Waits for a permit. For one task: another that waits is not woken.
    pub(crate) async fn take(self: &Arc<Self>) -> Permit {
        loop {
            if let Some(permit) = self.try_take() {
                return permit;
            }
            // A permit that was freed since then is noted, so this completes at once.
            self.freed.notified().await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_limit_that_falls_is_reached_by_ends_and_one_that_rises_lets_the_next_in() {
        let permits = Arc::new(Permits::new(2));
        let (first, second) = (permits.try_take().unwrap(), permits.try_take().unwrap());
        assert!(permits.take().now_or_never().is_none());
        permits.set_most(1);
        drop(first);
        assert!(permits.take().now_or_never().is_none(), "one lives still");
        drop(second);
        let _third = permits.take().now_or_never().unwrap();
        let mut waiting = Box::pin(permits.take());
        assert!((&mut waiting).now_or_never().is_none());
        permits.set_most(2);
        assert!(waiting.now_or_never().is_some());
    }
}
