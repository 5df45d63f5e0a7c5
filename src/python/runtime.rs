//! The process's one native runtime: the workers, the control thread, and the servers that run on them.
//!
//! Started with the first server, never at import. The lock is only taken while attached to the interpreter and never kept
//! while detached: `fork` happens while attached too, so a child never inherits it locked.

use std::{
    io,
    sync::{
        Mutex, MutexGuard,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use pyo3::prelude::*;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
};

use super::errors;
use crate::{
    server::Server,
    settings::forward::Forward,
    threads::workers::{self, Connecting, Origin, Workers},
    words::{
        error::{Error, ErrorKind},
        lock::EvenPoisoned,
    },
};

static RUNTIME: Mutex<Option<Native>> = Mutex::new(None);

/// How long the interpreter's exit waits for aborted connections.
const EXIT_TIME: Duration = Duration::from_secs(1);

struct Native {
    workers: Workers,
    control: Control,
    servers: Vec<Server>,
}

/// The thread on which awaitables and other waits of Python complete. Performs no I/O.
struct Control {
    handle: Handle,
    /// Dropped to end the thread.
    running: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

fn lock() -> MutexGuard<'static, Option<Native>> {
    RUNTIME.lock().even_poisoned()
}

fn with<T>(py: Python<'_>, f: impl FnOnce(&mut Native) -> T) -> PyResult<T> {
    // The exception is created after the lock is released: creating it runs Python.
    locked(f).map_err(|error| errors::raise(py, &error))
}

fn locked<T>(f: impl FnOnce(&mut Native) -> T) -> Result<T, Error> {
    let mut runtime = lock();
    let native = match &mut *runtime {
        Some(native) => native,
        empty => empty.insert(Native::start()?),
    };
    Ok(f(native))
}

/// Starts the threads that all servers of this process share, unless they run: the part of a start that can fail.
#[pyfunction]
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    with(py, |_| ())
}

/// Starts the server on the workers of this process.
pub(super) fn start(py: Python<'_>, server: &Server) -> PyResult<()> {
    with(py, |native| {
        native.servers.retain(|known| !known.is_closed());
        if !server.is_started() {
            native.servers.push(server.clone());
        }
        server.start(&native.workers)
    })?
    .map_err(|error| errors::raise(py, &error))
}

/// Connects on a worker of this process. The result arrives through the returned channel.
pub(super) fn connect(py: Python<'_>, forward: Forward, origin: Origin) -> PyResult<Receiver<Connecting>> {
    let (answer, answered) = sync_channel(1);
    with(py, |native| {
        native.workers.connect(forward, origin, move |connected| drop(answer.send(connected)));
    })?;
    Ok(answered)
}

/// Returns the runtime of the control thread, which is started if it does not run yet.
pub(super) fn control(py: Python<'_>) -> PyResult<Handle> {
    with(py, |native| native.control.handle.clone())
}

impl Native {
    fn start() -> Result<Self, Error> {
        Ok(Self { workers: Workers::per_core()?, control: Control::start()?, servers: Vec::new() })
    }
}

impl Control {
    fn start() -> Result<Self, Error> {
        let start = || -> io::Result<Self> {
            // One blocking thread, because it only passes results to Python.
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .max_blocking_threads(1)
                .thread_name("interpose-await")
                .build()?;
            let handle = runtime.handle().clone();
            let (running, ended) = oneshot::channel::<()>();
            let body = move || {
                let _ = runtime.block_on(ended);
                runtime.shutdown_timeout(EXIT_TIME);
            };
            let thread = workers::spawn("interpose-control".to_owned(), body)?;
            Ok(Self { handle, running, thread })
        };
        start().map_err(|error| {
            let message = format!("cannot start the control thread: {error}; raise the limit of processes (ulimit -u)");
            Error::from_io(ErrorKind::Runtime, message, error)
        })
    }
}

/// Stops every server of the process at once, and the runtime with them.
pub(super) fn shut_down(py: Python<'_>) {
    let native = lock().take();
    py.detach(|| {
        if let Some(Native { workers, control, servers }) = native {
            let deadline = Instant::now() + EXIT_TIME;
            servers.iter().for_each(|server| server.stop(Duration::ZERO));
            for server in &servers {
                server.wait(Some(deadline.saturating_duration_since(Instant::now())));
            }
            drop(control.running);
            // Its time is bounded: the thread may be passing a result to a loop that does not run any more.
            let _ = control.thread.join();
            drop(workers);
        }
    });
}

/// Leaves the parent's runtime alone in a forked child, where none of its threads exists. The next server starts a runtime of
/// the child's own.
pub(super) fn start_afresh() {
    // Not dropped: its sockets and its epoll instances are still the parent's.
    std::mem::forget(lock().take());
}
