//! A timer that is nearer than the usual ones.
//!
//! Setting the earliest timer of a runtime costs a system call: the thread has to learn that it may not sleep as long
//! as it meant to. Every connect has a timer, seconds away and hardly ever needed. While a nearer one is set anyway,
//! setting that of a connect costs nothing.

use std::{cell::Cell, time::Duration};

use tokio::time::sleep;

/// The distance of the timer: one wake-up in this time while there are connects, and none otherwise.
const NEAR: Duration = Duration::from_millis(250);

thread_local! {
    static SET: Cell<bool> = const { Cell::new(false) };
}

/// Sets a near timer in this thread's runtime, unless one is set.
pub(super) fn set() {
    if !SET.replace(true) {
        tokio::spawn(async {
            // Dropped with the runtime, it is to be set anew by the next one of this thread.
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
