//! The way from connections to the event loop on which asynchronous callbacks run.
//!
//! The core's hooks put questions into the queue of their server without the interpreter; the loop takes all that wait at once,
//! runs each callback to its first wait, and completes the replies of those that have answered by then.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use pyo3::{PyTraverseError, PyVisit, intern, prelude::*, types::PyDict};
use tokio::runtime::Handle;

use super::{
    callbacks::{Callbacks, ObjectCache},
    calls::Running,
    errors, loop_threads,
    loop_wake::Wake,
    process::{Process, end_forked_child},
    questions::Item,
    runtime, server,
};
use crate::{
    hooks::Answered,
    live::handle::Connection,
    server::Server,
    words::{
        direction::Direction,
        error::{Error, ErrorKind},
        lock::EvenPoisoned,
    },
};

/// The event loop's end of the queue of one server.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Bridge {
    pub callbacks: Py<Callbacks>,
    pub server: Server,
    pub process: Process,
    /// Called with an awaitable, returns a coroutine that awaits it.
    awaiting: Py<PyAny>,
    /// The context of which each callback gets a copy.
    context: Py<PyAny>,
    /// The tasks of callbacks that wait, by the keys of their questions: the façade's.
    pub tasks: Py<PyDict>,
    /// True for a loop of ours, out of which no exception comes.
    pub is_own: bool,
    pub running: Running,
    /// `None` once it is closed: a server that is over holds no descriptor.
    wake: Mutex<Option<Arc<Wake>>>,
    objects: Mutex<ObjectCache>,
    /// The vector of the items that were taken last, empty.
    spare: Mutex<Vec<Item>>,
    answers: Mutex<Answers>,
}

/// The connections that have answers and were not woken for them yet.
#[derive(Default)]
struct Answers {
    /// True while answers are gathered, until [`Bridge::wake_answered`].
    gathers: bool,
    /// By the runtime of their thread: there are few.
    homes: Vec<(Handle, Vec<Answered>)>,
}

impl Bridge {
    fn objects(&self) -> MutexGuard<'_, ObjectCache> {
        self.objects.lock().even_poisoned()
    }

    /// Returns the façade's Connection.
    pub(super) fn connection<'py>(&self, py: Python<'py>, connection: &Connection) -> PyResult<Bound<'py, PyAny>> {
        self.objects().connection(py, self.callbacks.get(), connection)
    }

    /// Returns the façade's Side that sends in this direction.
    pub(super) fn source<'py>(
        &self,
        py: Python<'py>,
        connection: &Connection,
        direction: Direction,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.objects().source(py, self.callbacks.get(), connection, direction)
    }

    /// Removes the objects of a connection that has ended, and whose callbacks have seen the end.
    pub(super) fn forget(&self, py: Python<'_>, connection: &Connection) {
        // Marked first, so that a thread that re-adds the entry sees that it must remove it.
        connection.set_close_notified();
        let objects = self.objects().forget(connection);
        self.callbacks.get().forget(py, connection.id());
        drop(objects);
    }

    /// Gathers answers from here on, until `wake_answered`.
    pub(super) fn gather_answers(&self) {
        self.answers().gathers = true;
    }

    /// Wakes the connections whose answers were gathered so far: a callback has taken long, and others of its batch may too.
    pub(super) fn wake_early(&self) {
        let homes = mem::take(&mut self.answers().homes);
        homes.into_iter().for_each(|(home, answered)| Answered::wake_all(&home, answered));
    }

    /// Keeps the loop from being woken until it takes the next items, which it does soon.
    pub(super) fn look_again(&self) {
        self.callbacks.get().queue.look_again();
    }

    /// Wakes the connection that has an answer: at once, or with others.
    pub(super) fn answered(&self, home: Option<&Handle>, answered: Option<Answered>) {
        let (Some(home), Some(answered)) = (home, answered) else { return };
        let mut answers = self.answers();
        if !answers.gathers {
            drop(answers);
            drop(answered);
            return;
        }
        match answers.homes.iter_mut().find(|(known, _)| known.id() == home.id()) {
            Some((_, all)) => all.push(answered),
            None => answers.homes.push((home.clone(), vec![answered])),
        }
    }

    fn wake(&self) -> MutexGuard<'_, Option<Arc<Wake>>> {
        self.wake.lock().even_poisoned()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().even_poisoned()
    }

    /// Takes all items that wait, in their order. `is_woken` is true if the descriptor has woken the loop.
    pub(super) fn take(&self, is_woken: bool) -> Vec<Item> {
        end_forked_child(self.process);
        #[cfg(unix)]
        if is_woken && let Some(Wake::Descriptor(descriptor)) = self.wake().as_deref() {
            descriptor.clear();
        }
        let spare = mem::take(&mut *self.spare());
        self.callbacks.get().queue.take(spare)
    }

    /// Keeps the vector of the items for the next ones.
    pub(super) fn give_back(&self, items: Vec<Item>) {
        *self.spare() = items;
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Item>> {
        self.spare.lock().even_poisoned()
    }

    /// Puts back items that were taken, before those that have come since.
    pub(super) fn put_back(&self, items: Vec<Item>) {
        self.callbacks.get().queue.put_back(items);
    }

    /// Returns a coroutine that awaits an awaitable of another class.
    pub(super) fn awaiting<'py>(&self, awaitable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.awaiting.bind(awaitable.py()).call1((awaitable,))
    }

    /// Returns a copy of the context in which the server was made.
    pub(super) fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.context.bind(py).call_method0(intern!(py, "copy"))
    }
}

#[pymethods]
impl Bridge {
    /// Opens the queue of these callbacks, which are those of `server`. `is_own` is true for a loop of ours.
    #[new]
    #[expect(clippy::too_many_arguments, reason = "the façade has one call for it")]
    fn new(
        py: Python<'_>,
        callbacks: Py<Callbacks>,
        server: &server::Server,
        awaiting: Py<PyAny>,
        context: Py<PyAny>,
        tasks: Py<PyDict>,
        is_own: bool,
    ) -> PyResult<Self> {
        let server = server.here(py)?.clone();
        let queue = Arc::clone(&callbacks.get().queue);
        let wake = queue.open().map_err(|error| {
            let message = format!("cannot wake an event loop: {error}; raise the limit of open files (ulimit -n)");
            errors::raise(py, &Error::from_io(ErrorKind::Runtime, message, error))
        })?;
        let wake = Mutex::new(Some(wake));
        let closed = server.closed();
        runtime::control(py)?.spawn(async move {
            closed.await;
            let _ = queue.put(Item::Over);
        });
        let (objects, spare, answers) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (running, process) = (Running::on_loop(Arc::clone(&callbacks.get().log)), Process::this());
        Ok(Self { callbacks, server, process, awaiting, context, tasks, is_own, running, wake, objects, spare, answers })
    }

    /// Returns the descriptor that is readable while items wait, or None where there is none.
    fn fileno(&self) -> Option<i32> {
        match self.wake().as_deref() {
            #[cfg(unix)]
            Some(Wake::Descriptor(descriptor)) => Some(descriptor.number()),
            Some(Wake::Thread) | None => None,
        }
    }

    /// Waits until items wait, detached from the interpreter. Returns false once the queue is closed.
    fn wait(&self, py: Python<'_>) -> bool {
        let queue = Arc::clone(&self.callbacks.get().queue);
        py.detach(|| queue.wait())
    }

    /// Wakes the connections whose answers were gathered, each thread of theirs once.
    pub(super) fn wake_answered(&self) {
        let homes = mem::take(&mut *self.answers()).homes;
        homes.into_iter().for_each(|(home, answered)| Answered::wake_all(&home, answered));
    }

    /// Closes the queue: connections that have asked, or ask later, end.
    fn close(&self) {
        drop(self.callbacks.get().queue.close());
        drop(self.wake().take());
    }

    /// Marks the calling thread as the loop's: what would wait there fails at once.
    #[expect(clippy::unused_self, reason = "the façade calls it as it calls the others")]
    fn enter(&self) {
        loop_threads::enter();
    }

    /// Undoes [`enter`](Self::enter).
    #[expect(clippy::unused_self, reason = "the façade calls it as it calls the others")]
    fn leave(&self) {
        loop_threads::leave();
    }

    /// The name of the callback that runs now, or None.
    #[getter]
    fn running(&self) -> Option<String> {
        self.running.name()
    }

    /// The server in messages.
    #[getter]
    fn name(&self) -> String {
        self.server.address().to_string()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.callbacks)?;
        visit.call(&self.awaiting)?;
        visit.call(&self.context)?;
        visit.call(&self.tasks)?;
        if let Ok(objects) = self.objects.try_lock() {
            objects.visit(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let objects = mem::take(&mut *self.objects());
        drop(objects);
    }
}
