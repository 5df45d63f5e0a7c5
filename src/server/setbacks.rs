//! Failed accepts: which errors are temporary, how long to wait, and what is logged.

use std::{io, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::sleep;

use crate::{
    io::errno::{is_exhaustion, is_of_one_client},
    server::state::ServerState,
    words::{error::reason_text, log_target},
};

/// Back-off range while accepting fails. The maximum is the longest that the next client may wait after a descriptor was
/// freed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// Number of accepts in a row that may fail for their client's own reason. More failures have a common cause.
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

    /// Resets the back-off: accepting works again.
    pub(crate) fn are_over(&mut self) {
        (self.pause, self.in_a_row) = (PAUSE.0, 0);
        self.state.accept_paused.store(false, Relaxed);
    }

    /// Waits for the back-off time before the next try. Returns the error if waiting does not help: the listener gets no more
    /// clients.
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
                target: log_target::LISTENER,
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
