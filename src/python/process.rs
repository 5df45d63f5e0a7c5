//! The ends of a process: the interpreter's exit, and a fork, after which the child begins anew.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pyo3::prelude::*;

use super::{logging, runtime};

/// Stops every server of the process at once, the runtime, and at last the log. For the interpreter's exit.
#[pyfunction]
pub(super) fn shutdown(py: Python<'_>) {
    runtime::shut_down(py);
    logging::shut_down();
}

/// Leaves what belongs to the parent alone in a forked child.
#[pyfunction]
pub(super) fn forget_after_fork() {
    runtime::start_afresh();
    logging::start_afresh();
    FORKS.fetch_add(1, Relaxed);
}

/// Number of forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Identifies this process by its fork generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process(u32);

impl Process {
    /// Returns the calling process.
    pub(super) fn this() -> Self {
        Self(FORKS.load(Relaxed))
    }
}

/// Ends the process if it is a child that a callback of `lane` has forked: the lane's sockets are the parent's.
pub(super) fn end_forked_child(lane: Process) {
    if lane != Process::this() {
        eprintln!(
            "interpose: a process that a callback forked came back from the callback; end it with os._exit() or exec there"
        );
        std::process::abort();
    }
}
