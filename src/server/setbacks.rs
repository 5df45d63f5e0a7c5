//! Accepts that fail: which pass, how long to wait, and what is said of them.

use std::{io, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::sleep;

use crate::{
    io::errno::{is_exhaustion, is_of_one_client},
    server::state::ServerState,
    words::error::reason_text,
};

/// While accepting fails: how long until the next try. The most is what a freed descriptor may have to wait.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// Clients that may fail one after the other, each for a reason of its own. More of them have a reason in common.
const IN_A_ROW: u32 = 64;

/// The failures of one listener since the last client that came in.
pub(crate) struct Setbacks<'a> {
    state: &'a ServerState,
    pause: Duration,
    in_a_row: u32,
}

impl<'a> Setbacks<'a> {
    pub(crate) fn new(state: &'a ServerState) -> Self {
        Self { state, pause: PAUSE.0, in_a_row: 0 }
    }

    /// Forgets what has failed: nothing does any more.
    pub(crate) fn are_over(&mut self) {
        (self.pause, self.in_a_row) = (PAUSE.0, 0);
        self.state.accept_paused.store(false, Relaxed);
    }

    /// Waits for as long as is right before the next try. A listener that hears of no more clients is the one thing that
    /// waiting does not help: then the error comes back.
    pub(crate) async fn meet(&mut self, error: io::Error, listening: bool) -> Result<(), io::Error> {
        let state = self.state;
        state.accept_errors.fetch_add(1, Relaxed);
        if !listening {
            return Err(error);
        }
        self.in_a_row += 1;
        if is_of_one_client(&error) && self.in_a_row <= IN_A_ROW {
            return Ok(());
        }
        state.accept_paused.store(true, Relaxed);
        state.shared.short_of_descriptors.fetch_or(is_exhaustion(&error), Relaxed);
        if let Some(more) = state.accept_log.pass() {
            let hint = hint(&error);
            let why = reason_text(&error);
            log::warn!(
                target: "interpose::listener",
                "{}: accepting is paused: {why}; clients wait in the backlog; {hint}{more}",
                state.shared.address,
            );
        }
        sleep(self.pause).await;
        self.pause = PAUSE.1.min(self.pause * 2);
        Ok(())
    }
}

fn hint(error: &io::Error) -> &'static str {
    if is_exhaustion(error) {
        return "raise the limit of open files (ulimit -n), or lower max_connections";
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
            "it is tried again; look at what forbids accept4 here (seccomp, AppArmor, SELinux, nftables)"
        }
        _ => "it is tried again",
    }
}
