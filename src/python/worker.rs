//! The coroutine of a task in which asynchronous callbacks run.
//!
//! A task begins without a callback. While it stands still, the loop's turn runs callbacks to their first waits in its name;
//! most are over by then, and the next one is run. A callback that waits keeps the task, which from then on runs that one alone.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyAttributeError, PyStopIteration},
    intern,
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::asking::Asking;
use crate::words::lock::EvenPoisoned;

/// The coroutine of one task, as asyncio's tasks drive it.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Worker {
    event_loop: Py<PyAny>,
    state: Mutex<State>,
    /// True once code of a callback's has left something on the task that another callback must not find.
    is_marked: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The future for which the task waits while it has no callback.
    parked: Option<Py<PyAny>>,
    kept: Option<Kept>,
    /// True once the task runs nothing more.
    is_over: bool,
}

/// The callback that keeps the task.
struct Kept {
    asking: Py<Asking>,
    /// The context in which the callback runs.
    context: Py<PyAny>,
    task: Py<PyAny>,
    /// The object for which the callback waits, until the task waits for it: None for a turn of the loop.
    first: Option<Py<PyAny>>,
}

impl Worker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }

    pub(super) fn is_marked(&self) -> bool {
        self.is_marked.load(Relaxed)
    }

    /// Keeps the task for a callback that waits for `first`: an object that `task` is to wait for, or None for a turn of the
    /// loop.
    pub(super) fn keep(
        &self,
        py: Python<'_>,
        asking: &Bound<'_, Asking>,
        context: Bound<'_, PyAny>,
        task: &Bound<'_, PyAny>,
        first: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let tasks = asking.get().bridge().tasks.bind(py);
        tasks.set_item(asking.get().key, task)?;
        let parked = {
            let mut state = self.state();
            let parked = state.parked.take();
            // A task that stands still is woken behind all that is ready now, and so has waited for a turn of the loop.
            let first = Some(first).filter(|first| parked.is_none() || !first.is_none()).map(Bound::unbind);
            state.kept =
                Some(Kept { asking: asking.clone().unbind(), context: context.unbind(), task: task.clone().unbind(), first });
            parked
        };
        wake(py, parked)
    }

    /// Runs the callback to its next wait. Returns the object for which it waits; raises StopIteration once it is over.
    fn run<'py>(&self, py: Python<'py>, raised: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (asking, context) = {
            let state = self.state();
            let Some(kept) = &state.kept else { return Err(PyStopIteration::new_err(())) };
            (kept.asking.clone_ref(py), kept.context.clone_ref(py))
        };
        let waited = context.call_method1(py, intern!(py, "run"), (&asking, raised)).map(|waited| waited.into_bound(py));
        match waited {
            Ok(waited) if !waited.is(&asking) => Ok(waited),
            over => {
                self.finish(py);
                Err(over.err().unwrap_or_else(|| PyStopIteration::new_err(())))
            }
        }
    }

    /// Lets the callback go, and the task end.
    fn finish(&self, py: Python<'_>) {
        let kept = {
            let mut state = self.state();
            state.is_over = true;
            state.kept.take()
        };
        let Some(Kept { asking, task, .. }) = kept else { return };
        let (tasks, key): (&Bound<'_, PyDict>, u64) = (asking.get().bridge().tasks.bind(py), asking.get().key);
        if tasks.get_item(key).is_ok_and(|found| found.is_some_and(|found| found.is(&task))) {
            let _ = tasks.del_item(key);
        }
    }
}

/// Wakes a task that stands still without a callback.
fn wake(py: Python<'_>, parked: Option<Py<PyAny>>) -> PyResult<()> {
    if let Some(parked) = parked.map(|parked| parked.into_bound(py))
        && !parked.call_method0("done")?.is_truthy()?
    {
        parked.call_method1("set_result", (py.None(),))?;
    }
    Ok(())
}

/// Cancels the object for which a task waits, as the task does. Returns false if that has an end already.
fn cancel(waited: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>) -> PyResult<bool> {
    let message = error.getattr("args")?;
    waited.call_method1("cancel", message.cast::<PyTuple>()?)?.is_truthy()
}

#[pymethods]
impl Worker {
    #[new]
    fn new(event_loop: Py<PyAny>) -> Self {
        Self { event_loop, state: Mutex::default(), is_marked: AtomicBool::new(false) }
    }

    /// Records that code of a callback's has left something on the task.
    fn mark(&self) {
        self.is_marked.store(true, Relaxed);
    }

    /// True if the task serves for no other callback.
    #[getter]
    fn marked(&self) -> bool {
        self.is_marked()
    }

    /// True while a callback that waits keeps the task.
    #[getter]
    fn kept(&self) -> bool {
        self.state().kept.is_some()
    }

    /// Ends the task, which has no callback.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let parked = {
            let mut state = self.state();
            state.is_over = true;
            state.parked.take()
        };
        wake(py, parked)
    }

    /// Goes on, for the task. Returns the object for which it waits then.
    fn send<'py>(&self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        {
            let mut state = self.state();
            if state.is_over {
                return Err(PyStopIteration::new_err(()));
            }
            if let Some(first) = state.kept.as_mut().and_then(|kept| kept.first.take()) {
                return Ok(first.into_bound(py));
            }
            if state.kept.is_some() {
                drop(state);
                return self.run(py, None);
            }
        }
        let parked = self.event_loop.bind(py).call_method0("create_future")?;
        parked.setattr("_asyncio_future_blocking", true)?;
        self.state().parked = Some(parked.clone().unbind());
        Ok(parked)
    }

    /// Raises an exception of the task's where the callback waits.
    #[pyo3(signature = (error, *_rest))]
    fn throw<'py>(&self, py: Python<'py>, error: Bound<'py, PyAny>, _rest: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let (has_callback, first) = {
            let mut state = self.state();
            (state.kept.is_some(), state.kept.as_mut().and_then(|kept| kept.first.take()))
        };
        if !has_callback {
            self.state().is_over = true;
            self.mark();
            return Err(PyErr::from_value(error));
        }
        // Cancelled before it has begun to wait: a task that waits cancels the object for which it waits.
        if let Some(first) = first.map(|first| first.into_bound(py)).filter(|first| !first.is_none())
            && cancel(&first, &error)?
        {
            return Ok(first);
        }
        self.run(py, Some(error))
    }

    /// Ends the callback where it waits: no loop runs it any more.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let asking = self.state().kept.as_ref().map(|kept| kept.asking.clone_ref(py));
        let closed = asking.map_or(Ok(()), |asking| asking.call_method0(py, "close").map(drop));
        self.finish(py);
        closed
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Looks up the attributes by which asyncio and others name a coroutine, and see where it waits.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let asking = self.state().kept.as_ref().map(|kept| kept.asking.clone_ref(py));
        match asking.and_then(|asking| asking.get().coroutine(py)) {
            Some(coroutine) if name.starts_with("cr_") || name.starts_with("__") => coroutine.getattr(name),
            _ => Err(PyAttributeError::new_err(name.to_owned())),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        if let Ok(state) = self.state.try_lock() {
            visit.call(&state.parked)?;
            if let Some(Kept { asking, context, task, first }) = &state.kept {
                visit.call(asking)?;
                visit.call(context)?;
                visit.call(task)?;
                visit.call(first)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let before = {
            let mut state = self.state();
            (state.parked.take(), state.kept.take())
        };
        drop(before);
    }
}
