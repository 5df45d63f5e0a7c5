//! A timer that is nearer than the usual ones.
//!
//! Setting the earliest timer of a runtime costs a system call: the thread has to learn that it may not sleep as long as it
//! planned. Every connect has a timer, seconds away and rarely needed. While a nearer timer is set anyway, setting that of a
//! connect costs nothing.

use std::{cell::Cell, time::Duration};

use tokio::time::sleep;

/// Time until the timer fires: one wake-up in this time while there are connects, and none otherwise.
const NEAR: Duration = Duration::from_millis(250);

thread_local! {
    static SET: Cell<bool> = const { Cell::new(false) };
}

/// Sets a near timer in this thread's runtime, unless one is set.
pub(super) fn set() {
    if !SET.replace(true) {
        tokio::spawn(async {
            // Also runs if the runtime drops the task: the next runtime of this thread sets its own timer.
            let _unset = UnsetOnDrop;
            sleep(NEAR).await;
        });
    }
}

struct UnsetOnDrop;

impl Drop for UnsetOnDrop {
    fn drop(&mut self) {
        SET.set(false);
    }
}
