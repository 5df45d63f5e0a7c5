//! The callbacks of a server, and the Python objects with which they are called.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use pyo3::{
    PyTraverseError, PyVisit,
    prelude::*,
    types::{PyAny, PyDict, PyTuple, PyWeakrefMethods, PyWeakrefReference},
};

use super::{
    attach,
    calls::{CallLog, Slot},
    convert,
    framing::{self, Framings},
    handle,
    questions::{OnTimeout, Queue},
};
use crate::{
    inspect::framing::FramingRules,
    live::{by_id::ById, handle::Connection},
    words::{direction::Direction, interest::Interest, lock::EvenPoisoned},
};

/// The callbacks of one server. Owned by its façade, and by the lanes while they run; never by the core, whose references the
/// garbage collector cannot visit.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Callbacks {
    slots: Mutex<[Option<Py<PyAny>>; Slot::ALL.len()]>,
    /// The façade's class Connection; called with a native connection.
    connection: Py<PyAny>,
    /// The façade's connections by their id: one object for each, wherever it is requested.
    known: Py<PyDict>,
    /// The façade's class Side; called with a connection, and true for the client's side.
    side: Py<PyAny>,
    /// Logs an exception, and returns one line about it.
    pub report: Py<PyAny>,
    /// Sees to an event loop for awaitables.
    pub open_loop: Py<PyAny>,
    /// A KeyboardInterrupt or SystemExit that ends the server and that its main loop raises.
    raised: Mutex<Option<Py<PyAny>>>,
    /// True if a callback that raises counts as one that returned None.
    pub passes_errors: bool,
    /// True if callbacks get chunks as memoryviews.
    pub views: bool,
    /// True if each socket is carried alone.
    pub apart: bool,
    /// The framing with which each connection begins, and the limits of its messages.
    pub framings: Framings,
    pub rules: FramingRules,
    /// True if a function of the user's is among the framings.
    has_function: bool,
    /// The functions that decide for faults, by the faults' numbers.
    faults: Mutex<ById<Py<PyAny>>>,
    pub log: Arc<CallLog>,
    /// The time limit of asynchronous callbacks, and its effect.
    pub limit: Option<(Duration, OnTimeout)>,
    /// The questions to asynchronous callbacks.
    pub queue: Arc<Queue>,
}

impl Callbacks {
    /// Returns the current callback of a slot. No lock is held while it runs.
    pub(super) fn get<'py>(&self, py: Python<'py>, slot: Slot) -> Option<Bound<'py, PyAny>> {
        self.slots.lock().even_poisoned()[slot as usize].as_ref().map(|callback| callback.bind(py).clone())
    }

    /// Returns the function that decides for a fault. No lock is held while it runs.
    pub(super) fn fault<'py>(&self, py: Python<'py>, number: u64) -> Option<Bound<'py, PyAny>> {
        self.faults.lock().even_poisoned().get(&number).map(|function| function.bind(py).clone())
    }

    /// Returns the façade's Connection for a native one.
    fn connection_of<'py>(&self, py: Python<'py>, native: Bound<'py, handle::Connection>) -> PyResult<Bound<'py, PyAny>> {
        let (known, id) = (self.known.bind(py), native.get().0.id());
        if let Some(connection) = known.get_item(id)? {
            return Ok(connection);
        }
        // Two threads may create an object for the same connection; the first to enter it wins.
        let made = attach::invoke(self.connection.bind(py), &PyTuple::new(py, [native])?)?;
        known.call_method1("setdefault", (id, made))
    }

    /// Removes a connection that has ended, and whose callbacks have seen the end.
    pub(super) fn forget(&self, py: Python<'_>, id: u64) {
        let _ = self.known.bind(py).del_item(id);
    }

    /// Returns the façade's Side of its connection.
    fn side_of<'py>(&self, py: Python<'py>, connection: &Bound<'py, PyAny>, is_client: bool) -> PyResult<Bound<'py, PyAny>> {
        attach::invoke(self.side.bind(py), &(connection, is_client).into_pyobject(py)?)
    }

    /// Returns the hooks that have a callback.
    pub(super) fn interest(&self) -> Interest {
        let slots = self.slots.lock().even_poisoned();
        let of = |slot: Slot| match slot {
            Slot::Accept => Interest::ACCEPT,
            Slot::Hello => Interest::HELLO,
            Slot::Preread => Interest::PREREAD,
            Slot::Connect => Interest::CONNECT,
            Slot::ClientRecv => Interest::TO_UPSTREAM,
            Slot::UpstreamRecv => Interest::TO_CLIENT,
            Slot::Eof => Interest::EOF,
            Slot::Close => Interest::CLOSE,
            Slot::Framing | Slot::Fault => Interest::NONE,
        };
        let by_faults = !self.faults.lock().even_poisoned().is_empty();
        let wanted = Slot::ALL.into_iter().filter(|slot| slots[*slot as usize].is_some());
        // The function of a framing is called on the lane, and so are then the hooks that see what it has cut.
        let is_cut = |slot| self.has_function && matches!(slot, Slot::ClientRecv | Slot::UpstreamRecv | Slot::Eof);
        wanted.fold(if by_faults { Interest::STAGES } else { Interest::NONE }, |all, slot| {
            let hook = of(slot);
            all.with(if self.queue.is_asynchronous(slot) && !is_cut(slot) { hook.on_any_thread() } else { hook })
        })
    }
}

impl Callbacks {
    /// Keeps an exception with which a callback ends the server. Only the first is kept.
    pub(super) fn raise_later(&self, value: Py<PyAny>) {
        let second = {
            let mut first = self.raised.lock().even_poisoned();
            if first.is_none() { first.replace(value) } else { Some(value) }
        };
        // Dropped after the lock is released: the drop may run Python.
        drop(second);
    }
}

#[pymethods]
impl Callbacks {
    #[new]
    #[pyo3(signature = (*, connection, side, report, open_loop, known, passes_errors, views, apart, timeout, on_timeout,
        framings, max_message, unframes))]
    #[expect(clippy::too_many_arguments, reason = "the façade gives each by its name, once")]
    fn new(
        py: Python<'_>,
        connection: Py<PyAny>,
        side: Py<PyAny>,
        report: Py<PyAny>,
        open_loop: Py<PyAny>,
        known: Py<PyDict>,
        passes_errors: bool,
        views: bool,
        apart: bool,
        timeout: Option<f64>,
        on_timeout: &str,
        framings: Framings,
        max_message: usize,
        unframes: bool,
    ) -> PyResult<Self> {
        let limit = convert::seconds(py, "timeout", timeout)?.map(|limit| (limit, OnTimeout::of(on_timeout)));
        let log = Arc::<CallLog>::default();
        log.rename(Slot::Framing, Slot::Framing.word().to_owned());
        // The function of a framing decides about every byte: its failures are not those of a mere observer.
        log.answered(Slot::Framing);
        log.rename(Slot::Fault, Slot::Fault.word().to_owned());
        log.answered(Slot::Fault);
        Ok(Self {
            slots: Mutex::default(),
            connection,
            known,
            side,
            report,
            open_loop,
            raised: Mutex::default(),
            passes_errors,
            views,
            apart,
            has_function: framing::has_function(&framings),
            framings,
            faults: Mutex::default(),
            rules: framing::rules(max_message, unframes),
            log,
            limit,
            queue: Arc::default(),
        })
    }

    /// Sets the callbacks of all slots at once: for each its word, the name by which its user knows it, the callback or None,
    /// and true for a coroutine function. No signal handler and no other thread sees half of them.
    fn fill(&self, places: Vec<(String, String, Option<Py<PyAny>>, bool)>) {
        let mut slots: [Option<Py<PyAny>>; Slot::ALL.len()] = Default::default();
        let mut asynchronous = Vec::new();
        for (place, name, callback, is_asynchronous) in places {
            if let Some(slot) = Slot::ALL.into_iter().find(|slot| slot.word() == place) {
                self.log.rename(slot, name);
                slots[slot as usize] = callback;
                asynchronous.extend(is_asynchronous.then_some(slot));
            }
        }
        // The old callbacks are dropped after the lock is released: the drop may run Python.
        let before = {
            let mut now = self.slots.lock().even_poisoned();
            for (slot, (old, new)) in Slot::ALL.into_iter().zip(now.iter().zip(&slots)) {
                let ends = (old.as_ref().map(Py::as_ptr), new.as_ref().map(Py::as_ptr));
                if ends.0 != ends.1 {
                    self.log.begins_anew(slot);
                }
            }
            self.queue.set_asynchronous(asynchronous.into_iter());
            std::mem::replace(&mut *now, slots)
        };
        drop(before);
    }

    /// Adds functions that decide for faults, by the faults' numbers, and forgets those of other faults.
    fn decide(&self, added: Vec<(u64, Py<PyAny>)>, forgotten: Vec<u64>) {
        // The old functions are dropped after the lock is released: the drop may run Python.
        let mut old = Vec::new();
        let mut faults = self.faults.lock().even_poisoned();
        old.extend(added.into_iter().filter_map(|(number, function)| faults.insert(number, function)));
        old.extend(forgotten.iter().filter_map(|number| faults.remove(number)));
        drop(faults);
        drop(old);
    }

    /// True if anything is called on a lane.
    #[getter]
    fn needs_lane(&self) -> bool {
        self.interest().on_lane() != Interest::NONE
    }

    /// True if any slot has a coroutine function.
    #[getter]
    fn needs_loop(&self) -> bool {
        let slots = self.slots.lock().even_poisoned();
        Slot::ALL.into_iter().any(|slot| slots[slot as usize].is_some() && self.queue.is_asynchronous(slot))
    }

    /// The time limit of asynchronous callbacks, in seconds.
    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.limit.map(|(limit, _)| limit.as_secs_f64())
    }

    /// True if there is a callback for the ends of connections.
    #[getter]
    fn wants_close(&self) -> bool {
        self.interest().has(Interest::CLOSE)
    }

    /// Returns the exception with which a callback has ended the server, once.
    fn raised(&self) -> Option<Py<PyAny>> {
        self.raised.lock().even_poisoned().take()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        visit.call(&self.known)?;
        visit.call(&self.side)?;
        visit.call(&self.report)?;
        visit.call(&self.open_loop)?;
        visit.call(self.framings.0.as_ref())?;
        visit.call(self.framings.1.as_ref())?;
        // If another thread holds the lock, the objects are in use, so they need no visit.
        if let Ok(slots) = self.slots.try_lock() {
            slots.iter().flatten().try_for_each(|callback| visit.call(callback))?;
        }
        if let Ok(faults) = self.faults.try_lock() {
            faults.values().try_for_each(|function| visit.call(function))?;
        }
        // The traceback refers to the callback's frames, and so to everything.
        if let Ok(raised) = self.raised.try_lock() {
            visit.call(raised.as_ref())?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let before = (std::mem::take(&mut *self.slots.lock().even_poisoned()), self.raised());
        let faults = std::mem::take(&mut *self.faults.lock().even_poisoned());
        drop((before, faults));
    }
}

/// The Python objects of one lane's connections, by their id. Each stays until the connection's last callback has returned.
#[derive(Default)]
pub(super) struct ObjectCache(ById<Objects>);

pub(super) struct Objects {
    connection: Py<PyAny>,
    /// Weak references if each socket is carried alone.
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
            // Only a weak reference: a side to which nothing else refers is closed.
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

    /// Removes the objects of a connection that has ended. Returns them for its last callback.
    pub(super) fn forget(&mut self, connection: &Connection) -> Option<Objects> {
        self.0.remove(&connection.id())
    }

    /// Visits the objects, for the garbage collector.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.values().try_for_each(|Objects { connection, client, upstream }| {
            visit.call(connection)?;
            visit.call(client)?;
            visit.call(upstream)
        })
    }

    /// Returns true if there are objects of the connection.
    pub(super) fn has(&self, connection: &Connection) -> bool {
        self.0.contains_key(&connection.id())
    }
}
