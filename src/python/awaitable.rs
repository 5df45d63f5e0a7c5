//! Awaitables of the running asyncio loop, made by pyo3-async-runtimes on the control thread's runtime.

use std::{any::Any, future::Future, pin::Pin};

use futures_util::{TryFutureExt, future::MapErr};
use pyo3::prelude::*;
use pyo3_async_runtimes::{TaskLocals, generic};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle},
};

use super::runtime;

/// Returns an awaitable that completes with the result of `future`. Cancelling it drops `future`.
pub(super) fn awaitable<F, T>(py: Python<'_>, future: F) -> PyResult<Bound<'_, PyAny>>
where
    F: Future<Output = T> + Send + 'static,
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    let control = runtime::control(py)?;
    let _entered = control.enter();
    generic::future_into_py::<Control, _, T>(py, async move { Ok(future.await) })
}

/// The runtime on which tasks are spawned: the control thread's.
struct Control;

impl generic::Runtime for Control {
    type JoinError = Failed;
    type JoinHandle = MapErr<JoinHandle<()>, fn(JoinError) -> Failed>;

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> Self::JoinHandle {
        Handle::current().spawn(future).map_err(Failed)
    }

    fn spawn_blocking<F: FnOnce() + Send + 'static>(f: F) -> Self::JoinHandle {
        Handle::current().spawn_blocking(f).map_err(Failed)
    }
}

/// Ignores the loop and the context variables of a task: none of our futures calls Python.
impl generic::ContextExt for Control {
    fn scope<F, R>(_: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(future)
    }

    fn get_task_locals() -> Option<TaskLocals> {
        None
    }
}

struct Failed(JoinError);

impl generic::JoinError for Failed {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.0.into_panic()
    }
}
