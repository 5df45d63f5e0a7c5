//! A question to an asynchronous callback, as a task of the event loop sees it: called, then answered.

use std::sync::{Mutex, MutexGuard};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyBytes, PyList, PyTuple},
};

use super::{
    answers, attach,
    bridge::Bridge,
    callback_failure::{self, Raised},
    callbacks::Callbacks,
    calls::{CallLog, Slot},
    process::end_forked_child,
    questions::{Asked, Item, Question},
    view,
};
use crate::{
    hooks::{Answered, Reply},
    words::{chunk::Chunk, direction::Direction, lock::EvenPoisoned},
};

/// One question. Calling it calls the callback; `answer` or `fail` completes it.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Asking {
    bridge: Py<Bridge>,
    #[pyo3(get)]
    key: u64,
    slot: Slot,
    state: Mutex<State>,
}

struct State {
    question: Box<Question>,
    /// The arguments of the call, once it was made.
    arguments: Option<Py<PyTuple>>,
}

impl Asking {
    pub(super) fn new(bridge: Py<Bridge>, question: Box<Question>) -> Self {
        let (key, slot) = (question.key, question.slot);
        Self { bridge, key, slot, state: Mutex::new(State { question, arguments: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }

    /// Returns the arguments of the call.
    fn arguments<'py>(&self, py: Python<'py>, bridge: &Bridge) -> PyResult<Bound<'py, PyTuple>> {
        let state = self.state();
        let connection = &state.question.connection;
        let side = |direction: Direction| bridge.source(py, connection, direction);
        match state.question.asked() {
            Some(Asked::Chunk(direction, bytes, _)) => {
                let side = side(*direction)?;
                let data = if bridge.callbacks.get().views {
                    view::view_of(py, &Chunk::from(bytes.clone()))?
                } else {
                    PyBytes::new(py, bytes).into_any()
                };
                PyTuple::new(py, [side, data])
            }
            Some(Asked::End(direction, _)) => PyTuple::new(py, [side(*direction)?]),
            Some(Asked::Preread(bytes, _)) => {
                PyTuple::new(py, [bridge.connection(py, connection)?, PyBytes::new(py, bytes).into_any()])
            }
            Some(Asked::Accept(_) | Asked::Connect(_) | Asked::Close(_)) => {
                PyTuple::new(py, [bridge.connection(py, connection)?])
            }
            None => Err(PyRuntimeError::new_err("the question is answered already")),
        }
    }

    fn fail_with(&self, py: Python<'_>, error: PyErr) {
        let (asked, connection) = {
            let question = &mut self.state().question;
            (question.take(), question.connection.clone())
        };
        let Some(asked) = asked else { return };
        let bridge = self.bridge.get();
        let (callbacks, server, slot) = (bridge.callbacks.get(), &bridge.server, self.slot);
        let raised = Raised { callbacks, server, slot, connection: bridge.connection(py, &connection) };
        let failed = raised.handle(py, error, |arguments| attach::invoke(callbacks.report.bind(py), arguments));
        let is_close = matches!(asked, Asked::Close(_));
        asked.fail(failed, &connection);
        if is_close || connection.is_close_notified() {
            bridge.forget(py, &connection);
        }
    }
}

/// The questions, those about ends of connections, the keys of questions that are cancelled and of reads that have results, and
/// true if the server is closed.
type Taken<'py> = (Bound<'py, PyList>, Bound<'py, PyList>, Vec<u64>, Vec<u64>, bool);

/// Takes all items that wait for the loop of `bridge`, which `is_woken` by its descriptor, or looks again because there were
/// questions: it is not woken for what comes before that.
#[pyfunction]
pub(super) fn next_questions<'py>(bridge: &Bound<'py, Bridge>, is_woken: bool) -> PyResult<Taken<'py>> {
    let py = bridge.py();
    let (asked, closed) = (PyList::empty(py), PyList::empty(py));
    let (mut cancelled, mut read, mut is_over) = (Vec::new(), Vec::new(), false);
    let mut items = bridge.get().take(is_woken);
    for item in items.drain(..) {
        match item {
            Item::Ask(question) if question.is_cancelled() => drop(question),
            Item::Ask(question) => {
                let list = if question.slot == Slot::Close { &closed } else { &asked };
                list.append(Bound::new(py, Asking::new(bridge.clone().unbind(), question))?)?;
            }
            Item::Cancel(key) => cancelled.push(key),
            Item::Read(key) => read.push(key),
            Item::Forget(connection) => bridge.get().forget(py, &connection),
            Item::Over => is_over = true,
        }
    }
    bridge.get().give_back(items);
    if !asked.is_empty() {
        bridge.get().gather_answers();
    }
    Ok((asked, closed, cancelled, read, is_over))
}

/// The name of a callback, read only for a wrong answer.
struct NameOf<'a>(&'a CallLog, Slot);

impl std::fmt::Display for NameOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.name(self.1))
    }
}

/// Completes the reply with an answer that has a meaning. Returns the connection to be woken.
fn complete<T>(reply: Reply<T>, answer: PyResult<T>) -> Result<Option<Answered>, (Reply<T>, PyErr)> {
    match answer {
        Ok(answer) => Ok(reply.complete_unwoken(Ok(answer))),
        Err(error) => Err((reply, error)),
    }
}

#[pymethods]
impl Asking {
    /// The name of the callback in messages.
    #[getter]
    fn name(&self) -> String {
        self.bridge.get().callbacks.get().log.name(self.slot)
    }

    /// True once nobody waits for the answer: the connection has ended, or has gone on without it.
    #[getter]
    fn cancelled(&self) -> bool {
        self.state().question.is_cancelled()
    }

    /// Calls the callback. Returns its awaitable.
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bridge = self.bridge.get();
        let callbacks: &Callbacks = bridge.callbacks.get();
        let returned = self.state().question.returned.take();
        if let Some((awaitable, arguments)) = returned {
            self.state().arguments = Some(arguments);
            return Ok(awaitable.into_bound(py));
        }
        let Some(callback) = callbacks.get(py, self.slot) else { return bridge.ready(py.None().bind(py)) };
        let arguments = self.arguments(py, bridge)?;
        self.state().arguments = Some(arguments.clone().unbind());
        let given = attach::invoke(&callback, &arguments)?;
        // A plain function may have taken the place of an asynchronous one just now.
        if answers::is_awaitable(&given) { Ok(given) } else { bridge.ready(&given) }
    }

    /// Completes the question with what the callback has returned. Returns false if nobody waits for it, or if it is wrong.
    fn answer(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> bool {
        let bridge = self.bridge.get();
        end_forked_child(bridge.process);
        let (asked, arguments, connection) = {
            let mut state = self.state();
            (state.question.take(), state.arguments.take(), state.question.connection.clone())
        };
        let (Some(asked), Some(arguments)) = (asked, arguments) else { return false };
        let log = &bridge.callbacks.get().log;
        if !value.is_none() {
            log.answered(self.slot);
        }
        let (name, arguments) = (NameOf(log, self.slot), arguments.into_bound(py));
        let completed = match asked {
            Asked::Accept(reply) => complete(reply, answers::decision(&name, value, &arguments))
                .map_err(|(reply, error)| (Asked::Accept(reply), error)),
            Asked::Preread(data, reply) => complete(reply, answers::preread(&name, value, &arguments))
                .map_err(|(reply, error)| (Asked::Preread(data, reply), error)),
            Asked::Connect(reply) => complete(reply, answers::nothing(&name, value, &arguments))
                .map_err(|(reply, error)| (Asked::Connect(reply), error)),
            Asked::Chunk(direction, bytes, reply) if connection.has_length_field(direction) => {
                complete(reply, answers::verdict_of_messages(&name, value, &arguments))
                    .map_err(|(reply, error)| (Asked::Chunk(direction, bytes, reply), error))
            }
            Asked::Chunk(direction, bytes, reply) => complete(reply, answers::verdict(&name, value, &arguments))
                .map_err(|(reply, error)| (Asked::Chunk(direction, bytes, reply), error)),
            Asked::End(direction, reply) => complete(reply, answers::end_verdict(&name, value, &arguments))
                .map_err(|(reply, error)| (Asked::End(direction, reply), error)),
            closing @ Asked::Close(_) => {
                bridge.forget(py, &connection);
                closing.fail(None, &connection);
                Ok(None)
            }
        };
        if connection.is_close_notified() {
            bridge.forget(py, &connection);
        }
        match completed {
            Ok(answered) => {
                let is_taken = answered.is_some();
                bridge.answered(self.state().question.home.as_ref(), answered);
                is_taken
            }
            Err((asked, error)) => {
                self.state().question.put_back(asked);
                self.fail_with(py, error);
                false
            }
        }
    }

    /// Completes the question with an exception of the callback. Returns true if the exception is one that ends the server.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> bool {
        let error = PyErr::from_value(error.clone());
        let ends = callback_failure::ends_server(py, &error);
        self.fail_with(py, error);
        ends
    }

    /// Counts the callback as one that has not answered in time.
    fn late(&self) {
        let callbacks = self.bridge.get().callbacks.get();
        if let Some((limit, _)) = callbacks.limit {
            callbacks.log.late(self.slot, limit);
        }
    }

    /// Completes the question without an answer: nobody waits for it any more, or its task was cancelled from outside.
    fn abandon(&self, py: Python<'_>) {
        let (asked, connection) = {
            let question = &mut self.state().question;
            (question.take(), question.connection.clone())
        };
        if let Some(asked) = asked {
            asked.fail(Some(super::questions::no_loop()), &connection);
        }
        // What a call needed after the end is not kept either.
        if self.slot == Slot::Close || connection.is_close_notified() {
            self.bridge.get().forget(py, &connection);
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.bridge)?;
        if let Ok(state) = self.state.try_lock() {
            visit.call(&state.arguments)?;
            if let Some((awaitable, arguments)) = &state.question.returned {
                visit.call(awaitable)?;
                visit.call(arguments)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let before = {
            let mut state = self.state();
            (state.arguments.take(), state.question.returned.take())
        };
        drop(before);
    }
}
