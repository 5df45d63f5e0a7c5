//! A timer that is nearer than the usual ones.
//!
//! Setting the earliest timer of a runtime costs a system call: the thread has to be told that it may not sleep as long
//! as it meant to. Every connect has a timer, seconds away and hardly ever needed. While a nearer one is set anyway,
//! setting it costs nothing.

use std::{cell::Cell, time::Duration};

use tokio::time::sleep;

/// How near it is: one wake-up in this time while there are connects, and none otherwise.
const NEAR: Duration = Duration::from_millis(250);

thread_local! {
    static SET: Cell<bool> = const { Cell::new(false) };
}

/// Sees to it that this thread's runtime has a near timer.
pub(super) fn set() {
    if !SET.replace(true) {
        tokio::spawn(async {
            // Dropped with the runtime, it is to be set anew by the next one of this thread.
            let _unset = Unset;
            sleep(NEAR).await;
        });
    }
}

struct Unset;

impl Drop for Unset {
    fn drop(&mut self) {
        SET.set(false);
    }
}
