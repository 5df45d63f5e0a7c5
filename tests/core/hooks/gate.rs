//! A gate for hooks: they wait at it until the test opens it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::support::peers::{DEADLINE, until};

/// A door that a hook waits before, and so keeps its lane, until the test opens it or ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    waiting: usize,
    open: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the hook.
    pub(super) fn pass(&self) {
        let mut state = self.state();
        state.waiting += 1;
        let passed = self.0.1.wait_timeout_while(state, DEADLINE, |state| !state.open);
        passed.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
    }

    pub(super) fn open(&self) {
        self.state().open = true;
        self.0.1.notify_all();
    }

    /// Waits until a hook stands before it.
    pub(super) fn wait_for_somebody(&self) {
        until("a hook waits", || self.state().waiting > 0);
    }

    /// Opens it at the end of the test, however that ends: the lane has to end too.
    pub(super) fn opened_at_the_end(&self) -> Opened {
        Opened(self.clone())
    }
}

pub(super) struct Opened(Gate);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open();
    }
}
