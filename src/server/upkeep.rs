//! What a server does every few seconds, whatever its clients do.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use tokio::time::sleep;

use crate::live::registry::Registry;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::{io::ticks::Ticks, threads::reclaim::Burst};

/// The time between two checks of all connections.
#[cfg(any(target_os = "linux", target_os = "android"))]
const INTERVAL: Duration = Duration::from_secs(5);

/// Every 5 s, asks each connection to check its peers, and returns memory to the system after a burst. Never completes.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) async fn run(registry: &Registry) {
    let ticks = Ticks::every(INTERVAL).ok();
    let mut burst = Burst::default();
    loop {
        match &ticks {
            Some(ticks) if ticks.next().await.is_ok() => {}
            // No descriptor was left for a timer of our own: the runtime's clock will do.
            _ => sleep(INTERVAL).await,
        }
        registry.look_all();
        let (live, peak) = registry.live_and_peak();
        burst.look(live, peak);
    }
}

/// Never completes: elsewhere there is nothing to do.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) async fn run(_: &Registry) {
    std::future::pending().await
}
