//! Python's callbacks as the core's hooks: what they are called with, and what their answers mean.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyKeyboardInterrupt, PySystemExit},
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{
    answers,
    arguments::{with_both, with_chunk, with_connection, with_side},
    calls::{CallLog, Slot},
    handle, lane, outgoing,
};
use crate::{
    hooks::{Decision, EndVerdict, Failed, Hooks, Verdict},
    live::handle::Connection,
    words::{
        chunk::{Chunk, Room},
        direction::Direction,
        interest::Interest,
        outcome::CloseReason,
    },
};

/// The callbacks of one server. Owned by its façade, and by the lanes while they run; never by the core, which the
/// garbage collector cannot look into.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Callbacks {
    slots: Mutex<[Option<Py<PyAny>>; Slot::ALL.len()]>,
    /// The façade's Connection, made of a native one.
    connection: Py<PyAny>,
    /// The façade's connections by their id: there is one object for each, wherever it is asked for.
    known: Py<PyDict>,
    /// The façade's Side, made of a connection and whether it is the client's.
    side: Py<PyAny>,
    /// Logs an exception, and gives one line about it.
    report: Py<PyAny>,
    /// KeyboardInterrupt or SystemExit, which ends the server and comes out of its main loop.
    raised: Mutex<Option<Py<PyAny>>>,
    passes_errors: Arc<AtomicBool>,
    /// Whether chunks are shown as memoryviews.
    pub views: bool,
    /// True if each socket is carried alone.
    pub apart: bool,
    pub log: Arc<CallLog>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Callbacks {
    /// The callback in a place as it is now. No lock is held while it runs.
    fn get<'py>(&self, py: Python<'py>, slot: Slot) -> Option<Bound<'py, PyAny>> {
        held(&self.slots)[slot as usize].as_ref().map(|callback| callback.bind(py).clone())
    }

    pub(super) fn connection_of<'py>(
        &self,
        py: Python<'py>,
        native: Bound<'py, handle::Connection>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (known, id) = (self.known.bind(py), native.get().0.id());
        if let Some(connection) = known.get_item(id)? {
            return Ok(connection);
        }
        // Two threads may ask for the same one; the first to enter it wins.
        let made = lane::invoke(self.connection.bind(py), &PyTuple::new(py, [native])?)?;
        known.call_method1("setdefault", (id, made))
    }

    /// The connection is over and its callbacks know.
    fn forget(&self, py: Python<'_>, id: u64) {
        let _ = self.known.bind(py).del_item(id);
    }

    pub(super) fn side_of<'py>(
        &self,
        py: Python<'py>,
        connection: &Bound<'py, PyAny>,
        is_client: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        lane::invoke(self.side.bind(py), &(connection, is_client).into_pyobject(py)?)
    }

    /// The core's view of them.
    pub(super) fn hooks(&self) -> Arc<dyn Hooks> {
        Arc::new(OnLane { log: Arc::clone(&self.log), passes_errors: Arc::clone(&self.passes_errors), apart: self.apart })
    }

    pub(super) fn interest(&self) -> Interest {
        let slots = held(&self.slots);
        let of = |slot: Slot| match slot {
            Slot::Accept => Interest::ACCEPT,
            Slot::Connect => Interest::CONNECT,
            Slot::ClientRecv => Interest::TO_UPSTREAM,
            Slot::UpstreamRecv => Interest::TO_CLIENT,
            Slot::Eof => Interest::EOF,
            Slot::Close => Interest::CLOSE,
        };
        let wanted = Slot::ALL.iter().filter(|slot| slots[**slot as usize].is_some());
        wanted.fold(Interest::NONE, |all, slot| all.with(of(*slot)))
    }
}

#[pymethods]
impl Callbacks {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "the façade gives them once")]
    fn new(
        connection: Py<PyAny>,
        side: Py<PyAny>,
        report: Py<PyAny>,
        known: Py<PyDict>,
        passes_errors: bool,
        views: bool,
        apart: bool,
    ) -> Self {
        Self {
            slots: Mutex::default(),
            connection,
            known,
            side,
            report,
            raised: Mutex::default(),
            passes_errors: Arc::new(AtomicBool::new(passes_errors)),
            views,
            apart,
            log: Arc::default(),
        }
    }

    /// Puts callbacks in all places at once: for each its word, the name that its user knows it by, and the callback,
    /// or None. No signal handler and no other thread sees half of them.
    fn fill(&self, places: Vec<(String, String, Option<Py<PyAny>>)>) {
        let mut slots: [Option<Py<PyAny>>; Slot::ALL.len()] = Default::default();
        for (place, name, callback) in places {
            if let Some(slot) = Slot::ALL.into_iter().find(|slot| slot.word() == place) {
                self.log.rename(slot, name);
                slots[slot as usize] = callback;
            }
        }
        // The old ones are dropped after the lock: their end may run Python.
        let before = {
            let mut now = held(&self.slots);
            for (slot, (old, new)) in Slot::ALL.into_iter().zip(now.iter().zip(&slots)) {
                let ends = (old.as_ref().map(Py::as_ptr), new.as_ref().map(Py::as_ptr));
                if ends.0 != ends.1 {
                    self.log.begins_anew(slot);
                }
            }
            std::mem::replace(&mut *now, slots)
        };
        drop(before);
    }

    /// Whether any place has a callback.
    #[getter]
    fn any(&self) -> bool {
        self.interest() != Interest::NONE
    }

    /// Whether the ends of connections are told to one.
    #[getter]
    fn wants_close(&self) -> bool {
        self.interest().has(Interest::CLOSE)
    }

    /// What a callback raised to end the server, once.
    fn raised(&self) -> Option<Py<PyAny>> {
        held(&self.raised).take()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        visit.call(&self.known)?;
        visit.call(&self.side)?;
        visit.call(&self.report)?;
        // Held by another thread it is alive, so it need not be looked into.
        if let Ok(slots) = self.slots.try_lock() {
            slots.iter().flatten().try_for_each(|callback| visit.call(callback))?;
        }
        // Its traceback leads to the callback's frames, and so to everything.
        if let Ok(raised) = self.raised.try_lock() {
            visit.call(raised.as_ref())?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let before = (std::mem::take(&mut *held(&self.slots)), self.raised());
        drop(before);
    }
}

/// The hooks of the lane that calls: they find the callbacks with the thread.
#[derive(Debug)]
struct OnLane {
    log: Arc<CallLog>,
    passes_errors: Arc<AtomicBool>,
    apart: bool,
}

impl OnLane {
    /// Calls the callback in `slot`, if there is one, and makes `T` of its answer.
    fn ask<T>(
        &self,
        slot: Slot,
        connection: &Connection,
        arguments: impl for<'py> FnOnce(Python<'py>, &lane::Here) -> PyResult<Bound<'py, PyTuple>>,
        answer: impl for<'py> FnOnce(&dyn fmt::Display, Bound<'py, PyAny>, &Bound<'py, PyTuple>) -> PyResult<T>,
        otherwise: T,
    ) -> Result<T, Failed> {
        let asked = lane::attached(|py, here| {
            let callbacks = here.callbacks.get();
            let Some(callback) = callbacks.get(py, slot) else { return Ok(None) };
            outgoing::runs_for(connection);
            let asked = arguments(py, here).and_then(|arguments| {
                let given = lane::call(here, slot, &callback, &arguments)?;
                if !given.is_none() {
                    self.log.answered(slot);
                }
                answer(&NameOf(&self.log, slot), given, &arguments)
            });
            asked.map(Some).map_err(|error| self.fail(py, here, slot, connection, error))
        });
        match asked {
            Some(Ok(Some(answer))) => Ok(answer),
            Some(Ok(None)) | None => Ok(otherwise),
            Some(Err(None)) => Ok(otherwise),
            Some(Err(Some(failed))) => Err(failed),
        }
    }

    /// Tells of an exception. `None`: it is to be passed over.
    fn fail(&self, py: Python<'_>, here: &lane::Here, slot: Slot, connection: &Connection, error: PyErr) -> Option<Failed> {
        if ends_server(py, &error) {
            return Some(self.end(py, here, slot, error));
        }
        self.log.failed();
        match self.report(py, here, slot, connection, &error) {
            // Ctrl-C may come while the exception is told of.
            Err(error) if ends_server(py, &error) => Some(self.end(py, here, slot, error)),
            // Only output of the callback's own could not be written.
            Ok(None) => None,
            _ if self.passes_errors.load(Relaxed) => None,
            line => {
                let line = line.ok().flatten().unwrap_or_else(|| format!("{} raised an exception", self.log.name(slot)));
                Some(Failed { reason: CloseReason::CallbackError, error: line })
            }
        }
    }

    /// Logs an exception, and returns one line about it; `None` if it is to end nothing.
    fn report(
        &self,
        py: Python<'_>,
        here: &lane::Here,
        slot: Slot,
        connection: &Connection,
        error: &PyErr,
    ) -> PyResult<Option<String>> {
        let callbacks = here.callbacks.get();
        let connection = here.kept.borrow_mut().connection(py, callbacks, connection)?;
        let only_looks = !self.log.has_answered(slot);
        let arguments = (self.log.name(slot), connection, error.clone_ref(py).into_value(py), only_looks).into_pyobject(py)?;
        // As a part of the callback: the exception's text and the log's handlers are its user's too.
        lane::call(here, slot, callbacks.report.bind(py), &arguments)?.extract()
    }

    /// Stops the server; its main loop raises the exception.
    fn end(&self, py: Python<'_>, here: &lane::Here, slot: Slot, error: PyErr) -> Failed {
        let kind = if error.is_instance_of::<PySystemExit>(py) { "SystemExit" } else { "KeyboardInterrupt" };
        let line = format!("{} raised {kind}: the server stops", self.log.name(slot));
        log::error!(target: "interpose::callback", "{line}");
        let value = error.into_value(py).into_any();
        let second = {
            let mut first = held(&here.callbacks.get().raised);
            if first.is_none() { first.replace(value) } else { Some(value) }
        };
        // After the lock: its end may run Python.
        drop(second);
        here.server.stop(std::time::Duration::ZERO);
        Failed { reason: CloseReason::Stopped, error: line }
    }
}

fn ends_server(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// A callback's name, looked up only by an answer that is wrong.
struct NameOf<'a>(&'a CallLog, Slot);

impl fmt::Display for NameOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name(self.1))
    }
}

impl Hooks for OnLane {
    fn on_accept(&self, connection: &Connection) -> Result<Decision, Failed> {
        // Attached, and so behind other lanes that have connected and wait to go on.
        lane::attached(|_, here| here.server.refuse_circle(connection)).unwrap_or(Ok(()))?;
        self.ask(
            Slot::Accept,
            connection,
            with_connection(connection),
            |name, given, _| answers::decision(name, &given),
            Decision::Default,
        )
    }

    fn on_connect(&self, connection: &Connection) -> Result<(), Failed> {
        self.ask(Slot::Connect, connection, with_connection(connection), |name, given, _| answers::nothing(name, &given), ())
    }

    fn apart(&self) -> bool {
        self.apart
    }

    fn on_connect_apart(&self, connection: &Connection, upstream: &Connection) -> Result<(), Failed> {
        self.ask(Slot::Connect, connection, with_both(connection, upstream), |name, given, _| answers::nothing(name, &given), ())
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Verdict, Failed> {
        let slot = match direction {
            Direction::ToUpstream => Slot::ClientRecv,
            Direction::ToClient => Slot::UpstreamRecv,
        };
        self.ask(slot, connection, with_chunk(connection, direction, chunk), answers::verdict, Verdict::Pass)
    }

    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<EndVerdict, Failed> {
        let answer =
            |name: &dyn fmt::Display, given: Bound<'_, PyAny>, _: &Bound<'_, PyTuple>| answers::end_verdict(name, &given);
        self.ask(Slot::Eof, connection, with_side(connection, direction), answer, EndVerdict::Pass(Vec::new()))
    }

    fn on_close(&self, connection: &Connection, wanted: bool) {
        if wanted {
            let close = |name: &dyn fmt::Display, given: Bound<'_, PyAny>, _: &Bound<'_, PyTuple>| answers::nothing(name, &given);
            // It is over: there is nobody left whom a failure could end.
            let _ = self.ask(Slot::Close, connection, with_connection(connection), close, ());
        }
        // Before it is forgotten: whoever enters it again after that sees that it is to be forgotten.
        connection.tell();
        if lane::keeps(connection) {
            lane::attached(|py, here| {
                let objects = here.kept.borrow_mut().forget(connection);
                here.callbacks.get().forget(py, connection.id());
                drop(objects);
            });
        }
    }

    fn room(&self, size: usize) -> Option<Arc<dyn Room>> {
        lane::spare(size)
    }

    fn leave(&self, room: Arc<dyn Room>) {
        lane::leave(room);
    }

    fn now(&self) -> Instant {
        lane::now()
    }

    fn turn_over(&self) {
        lane::turn_over();
    }

    fn errors(&self) -> u64 {
        self.log.errors()
    }
}
