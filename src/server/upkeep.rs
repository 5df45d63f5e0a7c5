//! Periodic work of a server: checks of its connections, certificates that were renewed, and memory after a burst.

use std::{sync::Arc, thread, time::Duration};

use tokio::{sync::oneshot, time::sleep};

use crate::{
    connection::context::ServerShared,
    io::sys::Ticks,
    threads::reclaim::Burst,
    tls::{originate, terminate::Tls},
    words::log_target,
};

/// Every `interval`, asks each connection to check its peers, reads certificates again that have changed, and returns memory
/// to the system after a burst. Never completes. Where the system has no such clock there is nothing to check.
pub(crate) async fn run(shared: &ServerShared, tls: Option<Arc<Tls>>, interval: Duration) {
    let registry = &shared.registry;
    let ticks = Ticks::every(interval).ok();
    let mut burst = Burst::default();
    loop {
        match &ticks {
            Some(ticks) if ticks.next().await.is_ok() => {}
            // Without a descriptor for a timer of our own, the runtime's clock is used.
            _ => sleep(interval).await,
        }
        registry.check_peers();
        if tls.is_some() || originate::have_files() {
            reload(shared, tls.clone()).await;
        }
        let (live, peak) = registry.live_and_peak();
        burst.look(live, peak);
    }
}

/// Reads certificates again that have changed, on a thread of its own: a file may have to be waited for. Where the system
/// refuses the thread, the next round tries again.
async fn reload(shared: &ServerShared, tls: Option<Arc<Tls>>) {
    let (done, reloaded) = oneshot::channel();
    let read = move || drop(done.send((tls.and_then(|tls| tls.reload_if_changed()), originate::reload_changed())));
    if thread::Builder::new().name("interpose-certs".to_owned()).spawn(read).is_err() {
        return;
    }
    let Ok((of_clients, of_upstreams)) = reloaded.await else { return };
    let address = &shared.address;
    match of_clients {
        Some(Ok(())) => {
            log::info!(target: log_target::LISTENER, "{address}: the certificates have changed; new clients get the new ones");
        }
        Some(Err(error)) => {
            log::error!(target: log_target::LISTENER, "{address}: the changed certificates are not used, and the old ones stay: {error}");
        }
        None => {}
    }
    for one in of_upstreams {
        match one {
            Ok(names) => log::info!(target: log_target::LISTENER, "{names}: changed, and used with upstreams from now on"),
            Err(error) => {
                log::error!(target: log_target::LISTENER, "the changed files for upstreams are not used, and the old ones stay: {error}");
            }
        }
    }
}
