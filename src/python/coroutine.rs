//! Exceptions that are raised where a coroutine waits, and cancellations.

use pyo3::{exceptions::PyStopIteration, intern, prelude::*, sync::PyOnceLock, types::PyTuple};

use super::attach::{self, Step};

/// Raises an exception where a coroutine waits, and runs it to its next wait.
pub(super) fn throw<'py>(coroutine: &Bound<'py, PyAny>, error: Bound<'py, PyAny>) -> PyResult<Step<'py>> {
    let py = coroutine.py();
    let thrown = attach::invoke(&coroutine.getattr(intern!(py, "throw"))?, &PyTuple::new(py, [error])?);
    match thrown {
        Ok(waited) => Ok(Step::Waits(waited)),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => error.value(py).getattr("value").map(Step::Returned),
        Err(error) => Err(error),
    }
}

/// Returns true for the exception of a task that is cancelled.
pub(super) fn is_cancellation(py: Python<'_>, error: &PyErr) -> bool {
    static KIND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let kind = KIND.get_or_try_init(py, || Ok::<_, PyErr>(py.import("asyncio.exceptions")?.getattr("CancelledError")?.unbind()));
    kind.is_ok_and(|kind| error.matches(py, kind.bind(py)).unwrap_or(false))
}

/// Returns true if the task that runs now was cancelled.
pub(super) fn is_task_cancelled(py: Python<'_>) -> bool {
    let requests = || py.import("asyncio")?.call_method0("current_task")?.call_method0("cancelling")?.extract::<usize>();
    requests().is_ok_and(|requests| requests > 0)
}
