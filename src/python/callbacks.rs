//! The callbacks of a server, and the Python objects that they are called with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::{
    PyTraverseError, PyVisit,
    prelude::*,
    types::{PyAny, PyDict, PyTuple, PyWeakrefMethods, PyWeakrefReference},
};

use super::{
    attach,
    calls::{CallLog, Slot},
    handle,
};
use crate::{
    live::{by_id::ById, handle::Connection},
    words::{direction::Direction, interest::Interest},
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
    /// Logs an exception, and returns one line about it.
    pub report: Py<PyAny>,
    /// KeyboardInterrupt or SystemExit, which ends the server and comes out of its main loop.
    raised: Mutex<Option<Py<PyAny>>>,
    /// True if an exception counts as None.
    pub passes_errors: bool,
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
    /// Returns the callback in a place as it is now. No lock is held while it runs.
    pub(super) fn get<'py>(&self, py: Python<'py>, slot: Slot) -> Option<Bound<'py, PyAny>> {
        held(&self.slots)[slot as usize].as_ref().map(|callback| callback.bind(py).clone())
    }

    /// Returns the façade's Connection of a native one.
    fn connection_of<'py>(&self, py: Python<'py>, native: Bound<'py, handle::Connection>) -> PyResult<Bound<'py, PyAny>> {
        let (known, id) = (self.known.bind(py), native.get().0.id());
        if let Some(connection) = known.get_item(id)? {
            return Ok(connection);
        }
        // Two threads may ask for the same one; the first to enter it wins.
        let made = attach::invoke(self.connection.bind(py), &PyTuple::new(py, [native])?)?;
        known.call_method1("setdefault", (id, made))
    }

    /// Forgets a connection that is over, and whose callbacks know it.
    pub(super) fn forget(&self, py: Python<'_>, id: u64) {
        let _ = self.known.bind(py).del_item(id);
    }

    /// Returns the façade's Side of its connection.
    fn side_of<'py>(&self, py: Python<'py>, connection: &Bound<'py, PyAny>, is_client: bool) -> PyResult<Bound<'py, PyAny>> {
        attach::invoke(self.side.bind(py), &(connection, is_client).into_pyobject(py)?)
    }

    /// Returns the hooks that have a callback.
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

impl Callbacks {
    /// Keeps what a callback has raised to end the server. Only the first comes out.
    pub(super) fn raise_later(&self, value: Py<PyAny>) {
        let second = {
            let mut first = held(&self.raised);
            if first.is_none() { first.replace(value) } else { Some(value) }
        };
        // After the lock: its end may run Python.
        drop(second);
    }
}

#[pymethods]
impl Callbacks {
    #[new]
    #[pyo3(signature = (*, connection, side, report, known, passes_errors, views, apart))]
    #[expect(clippy::too_many_arguments, reason = "the façade gives each by its name, once")]
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
            passes_errors,
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

/// One lane's connections by their id. Each stays until its last callback has returned.
#[derive(Default)]
pub(super) struct ObjectCache(ById<Objects>);

pub(super) struct Objects {
    connection: Py<PyAny>,
    /// Where each socket is carried alone, weak references.
    client: Option<Py<PyAny>>,
    upstream: Option<Py<PyAny>>,
}

impl ObjectCache {
    fn objects(&mut self, py: Python<'_>, callbacks: &Callbacks, connection: &Connection) -> PyResult<&mut Objects> {
        use std::collections::hash_map::Entry;
        match self.0.entry(connection.id()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let native = Bound::new(py, handle::Connection::new(connection.clone()))?;
                let connection = callbacks.connection_of(py, native)?.unbind();
                Ok(new.insert(Objects { connection, client: None, upstream: None }))
            }
        }
    }

    /// Returns the façade's Connection.
    pub(super) fn connection<'py>(
        &mut self,
        py: Python<'py>,
        callbacks: &Callbacks,
        connection: &Connection,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.objects(py, callbacks, connection)?.connection.bind(py).clone())
    }

    /// Returns the façade's Side that sends in this direction.
    pub(super) fn source<'py>(
        &mut self,
        py: Python<'py>,
        callbacks: &Callbacks,
        connection: &Connection,
        direction: Direction,
    ) -> PyResult<Bound<'py, PyAny>> {
        let objects = self.objects(py, callbacks, connection)?;
        let is_client = direction == Direction::ToUpstream;
        let place = if is_client { &mut objects.client } else { &mut objects.upstream };
        if callbacks.apart {
            // A side that nobody else has any more is closed: only a weak reference to it is to be kept here.
            let known = place.as_ref().and_then(|side| side.bind(py).cast::<PyWeakrefReference>().ok()?.upgrade());
            if let Some(side) = known {
                return Ok(side);
            }
            let side = callbacks.side_of(py, objects.connection.bind(py), is_client)?;
            *place = PyWeakrefReference::new(&side).ok().map(|side| side.into_any().unbind());
            return Ok(side);
        }
        match place {
            Some(side) => Ok(side.bind(py).clone()),
            empty => {
                let side = callbacks.side_of(py, objects.connection.bind(py), is_client)?;
                *empty = Some(side.clone().unbind());
                Ok(side)
            }
        }
    }

    /// Returns the objects of a connection that is over, for their end.
    pub(super) fn forget(&mut self, connection: &Connection) -> Option<Objects> {
        self.0.remove(&connection.id())
    }

    /// Returns whether there are objects of the connection.
    pub(super) fn has(&self, connection: &Connection) -> bool {
        self.0.contains_key(&connection.id())
    }
}
