//! A question to an asynchronous callback, as the event loop sees it: called, run from wait to wait, then answered.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyRuntimeError, PyStopIteration},
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{
    answers,
    attach::{self, Step},
    bridge::Bridge,
    callback_failure::{self, Raised},
    callbacks::Callbacks,
    calls::{CallLog, Slot},
    coroutine, hello,
    process::end_forked_child,
    questions::{Asked, Question},
    view,
};
use crate::{
    hooks::{Answered, Reply},
    words::{chunk::Chunk, direction::Direction, lock::EvenPoisoned},
};

/// The duration of a step from which on the answers of its batch do not wait for the rest of the batch.
const LONG: Duration = Duration::from_millis(1);

/// One question. Calling it runs the callback to its next wait; awaiting it runs the callback to its end.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Asking {
    bridge: Py<Bridge>,
    #[pyo3(get)]
    pub(super) key: u64,
    slot: Slot,
    state: Mutex<State>,
}

struct State {
    question: Box<Question>,
    /// The arguments of the call, once it was made.
    arguments: Option<Py<PyTuple>>,
    /// The coroutine of the call, while it waits.
    coroutine: Option<Py<PyAny>>,
}

/// The result of a call.
enum Called<'py> {
    Coroutine(Bound<'py, PyAny>),
    /// A plain function has taken the place of an asynchronous one just now, or no function has.
    Answer(Bound<'py, PyAny>),
}

impl Asking {
    pub(super) fn new(bridge: Py<Bridge>, question: Box<Question>) -> Self {
        let (key, slot) = (question.key, question.slot);
        Self { bridge, key, slot, state: Mutex::new(State { question, arguments: None, coroutine: None }) }
    }

    pub(super) fn bridge(&self) -> &Bridge {
        self.bridge.get()
    }

    /// Runs the callback to its next wait, with an exception that is raised where it waits now. Returns the object for which it
    /// waits, or this one once it is over. Raises what ends the server.
    pub(super) fn step<'py>(this: &Bound<'py, Self>, raised: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (py, asking) = (this.py(), this.get());
        let running = &asking.bridge.get().running;
        let began = Instant::now();
        running.begin(asking.slot, began);
        let stepped = asking.go_on(py, raised);
        let now = Instant::now();
        running.end(asking.slot, began, now);
        let result = match stepped {
            Ok(Step::Waits(waited)) => Ok(waited),
            Ok(Step::Returned(answer)) => {
                asking.answer(py, &answer);
                Ok(this.clone().into_any())
            }
            Err(error) => asking.failed(py, error).map(|()| this.clone().into_any()),
        };
        if now.duration_since(began) >= LONG {
            asking.bridge.get().wake_early();
        }
        result
    }

    fn go_on<'py>(&self, py: Python<'py>, raised: Option<Bound<'py, PyAny>>) -> PyResult<Step<'py>> {
        let waiting = self.state().coroutine.as_ref().map(|coroutine| coroutine.bind(py).clone());
        if let Some(coroutine) = waiting {
            let stepped = match raised {
                Some(error) => coroutine::throw(&coroutine, error),
                None => attach::step(&coroutine),
            };
            if !matches!(stepped, Ok(Step::Waits(_))) {
                let over = self.state().coroutine.take();
                drop(over);
            }
            return stepped;
        }
        if let Some(error) = raised {
            return Err(PyErr::from_value(error));
        }
        let coroutine = match self.call(py)? {
            Called::Coroutine(coroutine) => coroutine,
            Called::Answer(answer) => return Ok(Step::Returned(answer)),
        };
        let stepped = attach::step(&coroutine);
        if let Ok(Step::Waits(_)) = stepped {
            self.state().coroutine = Some(coroutine.unbind());
        }
        stepped
    }

    /// Calls the callback.
    fn call<'py>(&self, py: Python<'py>) -> PyResult<Called<'py>> {
        let bridge = self.bridge.get();
        let callbacks: &Callbacks = bridge.callbacks.get();
        let returned = self.state().question.returned.take();
        let given = match returned {
            Some((awaitable, arguments)) => {
                self.state().arguments = Some(arguments);
                awaitable.into_bound(py)
            }
            None => {
                let Some(callback) = callbacks.get(py, self.slot) else {
                    return Ok(Called::Answer(py.None().into_bound(py)));
                };
                let arguments = self.arguments(py, bridge)?;
                self.state().arguments = Some(arguments.clone().unbind());
                attach::invoke(&callback, &arguments)?
            }
        };
        if answers::is_coroutine(&given.get_type()) {
            Ok(Called::Coroutine(given))
        } else if answers::is_awaitable(&given) {
            bridge.awaiting(&given).map(Called::Coroutine)
        } else {
            Ok(Called::Answer(given))
        }
    }

    /// Completes the question with an exception of the callback. Raises one that ends the server.
    fn failed(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if coroutine::is_cancellation(py, &error) && (self.cancelled() || coroutine::is_task_cancelled(py)) {
            // Nobody waits for it, or the loop ends.
            self.abandon(py);
            return Ok(());
        }
        let raised = callback_failure::ends_server(py, &error) && !self.bridge.get().is_own;
        let kept = raised.then(|| error.clone_ref(py));
        self.fail_with(py, error);
        // It comes out of the loop that a script runs, as any task's does.
        kept.map_or(Ok(()), Err)
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
            Some(Asked::Hello(message, _)) => {
                PyTuple::new(py, [bridge.connection(py, connection)?, hello::parts(py, message)?.into_any()])
            }
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

impl Asking {
    /// Completes the question with what the callback has returned.
    fn answer(&self, py: Python<'_>, value: &Bound<'_, PyAny>) {
        let bridge = self.bridge.get();
        end_forked_child(bridge.process);
        let (asked, arguments, connection) = {
            let mut state = self.state();
            (state.question.take(), state.arguments.take(), state.question.connection.clone())
        };
        let Some(asked) = asked else { return };
        // None where there was no callback any more.
        let arguments = arguments.map_or_else(|| PyTuple::empty(py), |arguments| arguments.into_bound(py));
        let log = &bridge.callbacks.get().log;
        if !value.is_none() {
            log.answered(self.slot);
        }
        let name = NameOf(log, self.slot);
        let completed = match asked {
            Asked::Accept(reply) => complete(reply, answers::decision(&name, value, &arguments))
                .map_err(|(reply, error)| (Asked::Accept(reply), error)),
            Asked::Hello(hello, reply) => complete(reply, answers::hello_decision(&name, value, &arguments))
                .map_err(|(reply, error)| (Asked::Hello(hello, reply), error)),
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
            Ok(answered) => bridge.answered(self.state().question.home.as_ref(), answered),
            Err((asked, error)) => {
                self.state().question.put_back(asked);
                self.fail_with(py, error);
            }
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

    /// Returns true once nobody waits for the answer: the connection has ended, or has gone on without it.
    fn cancelled(&self) -> bool {
        self.state().question.is_cancelled()
    }

    /// Returns the coroutine of the call, while it waits.
    pub(super) fn coroutine<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state().coroutine.as_ref().map(|coroutine| coroutine.bind(py).clone())
    }
}

#[pymethods]
impl Asking {
    /// Runs the callback to its next wait, with an exception that is raised where it waits now. Returns the object for which it
    /// waits, or this one once it is over.
    #[pyo3(signature = (raised = None))]
    fn __call__<'py>(slf: &Bound<'py, Self>, raised: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        Self::step(slf, raised)
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(Some(Self::step(slf, None)?).filter(|waited| !waited.is(slf)))
    }

    /// Raises `error` where the callback waits. Returns the object for which it waits then.
    #[pyo3(signature = (error, *_rest))]
    fn throw<'py>(slf: &Bound<'py, Self>, error: Bound<'py, PyAny>, _rest: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let waited = Self::step(slf, Some(error))?;
        if waited.is(slf) { Err(PyStopIteration::new_err(())) } else { Ok(waited) }
    }

    /// Ends the callback where it waits: no loop runs it any more.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let coroutine = self.state().coroutine.take();
        let closed = coroutine.map_or(Ok(()), |coroutine| coroutine.bind(py).call_method0("close").map(drop));
        self.abandon(py);
        closed
    }

    /// Counts the callback as one that has not answered in time.
    fn late(&self) {
        let callbacks = self.bridge.get().callbacks.get();
        if let Some((limit, _)) = callbacks.limit {
            callbacks.log.late(self.slot, limit);
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.bridge)?;
        if let Ok(state) = self.state.try_lock() {
            visit.call(&state.arguments)?;
            visit.call(&state.coroutine)?;
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
            (state.arguments.take(), state.question.returned.take(), state.coroutine.take())
        };
        drop(before);
    }
}
