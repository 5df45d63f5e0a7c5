//! The state that a lane's callbacks need, kept by the thread that drives the lane, and the function that calls them.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use pyo3::{prelude::*, types::PyTuple};
use tokio::sync::Notify;

use super::{
    attach,
    callbacks::{Callbacks, ObjectCache},
    calls::{Running, Slot},
    process::{Process, end_forked_child},
    view::SpareBytes,
};
use crate::{live::handle::Connection, server::Server, words::chunk::ChunkBuffer};

/// The state that the callbacks of the calling thread need. Set while the thread drives a lane.
pub(super) struct LaneLocals {
    pub callbacks: Py<Callbacks>,
    pub objects: RefCell<ObjectCache>,
    pub spare: RefCell<SpareBytes>,
    pub server: Server,
    running: Arc<Running>,
    process: Process,
    /// The exception of a signal handler, until the lane raises it.
    raised: RefCell<Option<PyErr>>,
    interrupted: Notify,
}

impl LaneLocals {
    /// Returns the state for the lane of `server` in the calling thread, whose `threading.get_ident()` is `thread`.
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

    /// Takes the exception that a signal handler has raised.
    pub(super) fn raised(&self) -> Option<PyErr> {
        self.raised.borrow_mut().take()
    }

    /// Completes when a signal handler has raised an exception.
    pub(super) async fn interrupted(&self) {
        self.interrupted.notified().await;
    }

    /// Ends the lane with the exception of a signal handler.
    fn interrupt(&self, error: PyErr) {
        self.raised.borrow_mut().get_or_insert(error);
        self.interrupted.notify_one();
    }
}

thread_local! {
    static HERE: RefCell<Option<Rc<LaneLocals>>> = const { RefCell::new(None) };
}

/// Returns the state of the calling thread, if it drives a lane.
pub(super) fn here() -> Option<Rc<LaneLocals>> {
    HERE.with_borrow(Clone::clone)
}

/// Sets the state of the calling thread, which drives a lane from here on. Returns the former state.
pub(super) fn set(locals: Option<Rc<LaneLocals>>) -> Option<Rc<LaneLocals>> {
    HERE.replace(locals)
}

/// Returns true if this lane has Python objects of the connection.
pub(super) fn keeps(connection: &Connection) -> bool {
    HERE.with_borrow(|here| here.as_ref().is_some_and(|here| here.objects.borrow().has(connection)))
}

/// Returns true if the calling thread drives a lane.
pub(super) fn is_lane() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// Removes the objects that this lane has of the connection.
pub(super) fn forget(connection: &Connection) {
    if keeps(connection) {
        attached(|_, here| {
            let objects = here.objects.borrow_mut().forget(connection);
            drop(objects);
        });
    }
}

/// Returns the bytes object that this lane has ready for a chunk of this size.
pub(super) fn spare(size: usize) -> Option<Arc<dyn ChunkBuffer>> {
    let here = here()?;
    let spare = here.spare.borrow_mut().take(size);
    spare.map(|blank| blank as Arc<dyn ChunkBuffer>)
}

/// Returns a spare bytes object to the lane, unused or after its chunk was handled.
pub(super) fn give_back(buffer: Arc<dyn ChunkBuffer>) {
    let Some(here) = here() else { return };
    let filled = here.spare.borrow_mut().put(buffer);
    if let Some(filled) = filled {
        attached(|py, here| here.spare.borrow_mut().renew(py, filled));
    }
}

/// Runs `f` attached, with the state of this lane. Stays attached until the turn is over.
pub(super) fn attached<T>(f: impl FnOnce(Python<'_>, &LaneLocals) -> T) -> Option<T> {
    let here = here()?;
    Some(attach::held(|py, fresh| {
        // Handled now: a signal that came while the lane waited does not belong to the next callback, which would not even
        // begin.
        if fresh {
            look_for_signals(py, &here);
        }
        let done = f(py, &here);
        // A callback may have forked.
        end_forked_child(here.process);
        done
    }))
}

/// Calls a callback. `slot` names it for the log of slow ones.
pub(super) fn call<'py>(
    here: &LaneLocals,
    slot: Slot,
    callback: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    // Reads the clock once for each callback: the time between the last one's end and this one's begin is short.
    let began = attach::now();
    here.running.begin(slot, began);
    let result = attach::invoke(callback, arguments);
    let now = Instant::now();
    here.running.end(slot, began, now);
    attach::ran_until(now);
    result
}

/// Runs Python's signal handlers. An exception of one ends the lane.
pub(super) fn look_for_signals(py: Python<'_>, here: &LaneLocals) {
    if let Err(error) = py.check_signals() {
        here.interrupt(error);
    }
    end_forked_child(here.process);
}
