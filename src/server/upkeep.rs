//! Periodic work of a server: checks of its connections, and memory after a burst.

use std::time::Duration;

use tokio::time::sleep;

use crate::{io::sys::Ticks, live::registry::Registry, threads::reclaim::Burst};

/// Every `interval`, asks each connection to check its peers, and returns memory to the system after a burst. Never
/// completes. Where the system has no such clock there is nothing to check.
pub(crate) async fn run(registry: &Registry, interval: Duration) {
    let ticks = Ticks::every(interval).ok();
    let mut burst = Burst::default();
    loop {
        match &ticks {
            Some(ticks) if ticks.next().await.is_ok() => {}
            // Without a descriptor for a timer of our own, the runtime's clock is used.
            _ => sleep(interval).await,
        }
        registry.check_peers();
        let (live, peak) = registry.live_and_peak();
        burst.look(live, peak);
    }
}
