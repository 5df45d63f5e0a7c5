//! What the callbacks of a lane need, kept by the thread that drives it, and the place where they are called.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use pyo3::{prelude::*, types::PyTuple};
use tokio::sync::Notify;

use super::{
    attach,
    callbacks::{Callbacks, ObjectCache},
    calls::{Running, Slot},
    runtime::{Process, end_forked_child},
    view::Spare,
};
use crate::{live::handle::Connection, server::Server, words::chunk::Room};

/// What the callbacks of the calling thread need. There while it drives a lane.
pub(super) struct LaneLocals {
    pub callbacks: Py<Callbacks>,
    pub objects: RefCell<ObjectCache>,
    pub spare: RefCell<Spare>,
    pub server: Server,
    running: Arc<Running>,
    process: Process,
    /// What a signal handler has raised, and the word that it has.
    raised: RefCell<Option<PyErr>>,
    interrupted: Notify,
}

impl LaneLocals {
    /// Returns what the lane of `server` needs in the calling thread, whose `threading.get_ident()` is `thread`.
    pub(super) fn new(callbacks: Py<Callbacks>, server: Server, thread: u64) -> Rc<Self> {
        let running = Running::start(Arc::clone(&callbacks.get().log), thread);
        Rc::new(Self {
            callbacks,
            objects: RefCell::default(),
            spare: RefCell::default(),
            server,
            running,
            process: Process::this(),
            raised: RefCell::default(),
            interrupted: Notify::new(),
        })
    }

    /// Returns what a signal handler has raised.
    pub(super) fn raised(&self) -> Option<PyErr> {
        self.raised.borrow_mut().take()
    }

    /// Completes when a signal handler has raised something.
    pub(super) async fn interrupted(&self) {
        self.interrupted.notified().await;
    }

    /// Ends the lane with what a signal handler has raised.
    fn interrupt(&self, error: PyErr) {
        self.raised.borrow_mut().get_or_insert(error);
        self.interrupted.notify_one();
    }
}

thread_local! {
    static HERE: RefCell<Option<Rc<LaneLocals>>> = const { RefCell::new(None) };
}

/// Returns what the calling thread's callbacks need, if it drives a lane.
pub(super) fn here() -> Option<Rc<LaneLocals>> {
    HERE.with_borrow(Clone::clone)
}

/// Sets what the calling thread's callbacks need from here on: it drives a lane. Returns what it was before.
pub(super) fn set(locals: Option<Rc<LaneLocals>>) -> Option<Rc<LaneLocals>> {
    HERE.replace(locals)
}

/// Returns whether this lane has objects of the connection.
pub(super) fn keeps(connection: &Connection) -> bool {
    HERE.with_borrow(|here| here.as_ref().is_some_and(|here| here.objects.borrow().has(connection)))
}

/// Returns the bytes object that this lane has ready for a chunk of this size.
pub(super) fn spare(size: usize) -> Option<Arc<dyn Room>> {
    let here = here()?;
    let spare = here.spare.borrow_mut().take(size);
    spare.map(|blank| blank as Arc<dyn Room>)
}

/// Takes such an object back: it was not needed, or its chunk has passed.
pub(super) fn leave(room: Arc<dyn Room>) {
    let Some(here) = here() else { return };
    let filled = here.spare.borrow_mut().put(room);
    if let Some(filled) = filled {
        attached(|py, here| here.spare.borrow_mut().renew(py, filled));
    }
}

/// Runs `f` attached, with what this lane's callbacks need. Stays attached until the turn is over.
pub(super) fn attached<T>(f: impl FnOnce(Python<'_>, &LaneLocals) -> T) -> Option<T> {
    let here = here()?;
    Some(attach::held(|py, fresh| {
        // A signal that came while the lane waited is not for the callback that is due, which would not even begin.
        if fresh {
            look_for_signals(py, &here);
        }
        let done = f(py, &here);
        // Whatever ran there may have forked.
        end_forked_child(here.process);
        done
    }))
}

/// Calls a callback. `slot` says which, for the log of those that take long.
pub(super) fn call<'py>(
    here: &LaneLocals,
    slot: Slot,
    callback: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    // One look at the clock for each callback: what lies between the last one's end and this one is short.
    let began = attach::now();
    here.running.begin(slot, began);
    let result = attach::invoke(callback, arguments);
    let now = Instant::now();
    here.running.end(slot, began, now);
    attach::ran_until(now);
    result
}

/// Runs Python's signal handlers; what one raises ends the lane.
pub(super) fn look_for_signals(py: Python<'_>, here: &LaneLocals) {
    if let Err(error) = py.check_signals() {
        here.interrupt(error);
    }
    end_forked_child(here.process);
}
