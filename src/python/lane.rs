//! The thread on which callbacks run: it drives a runtime of its own until its server is closed.
#![allow(unsafe_code)] // A pipe of Python's, whose descriptor it has; argued below.

use std::{ffi::c_int, sync::Mutex, time::Duration};

use pyo3::prelude::*;
use tokio::time::timeout;

use super::{
    attach,
    callbacks::Callbacks,
    errors::{self, Kind},
    locals::{self, LaneLocals, attached, look_for_signals},
};
use crate::{
    server::Server,
    threads::lane::{self, Ticks},
    words::{lock::EvenPoisoned, log_target},
};

/// How long aborted connections may take to end.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// A lane for one Python thread to drive.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Lane {
    /// Taken when the lane is driven, so that no handle of it outlives that: handles hold descriptors.
    lane: Mutex<Option<lane::Lane>>,
}

impl Lane {
    /// Returns a handle for sending work to the lane, until it is driven.
    pub(super) fn handle(&self) -> Option<lane::LaneHandle> {
        self.lane.lock().even_poisoned().as_ref().map(lane::Lane::handle)
    }
}

#[pymethods]
impl Lane {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let lane = lane::Lane::new(attach::release).map_err(|error| errors::raise(py, &error))?;
        Ok(Self { lane: Mutex::new(Some(lane)) })
    }
}

impl Lane {
    /// Drives the lane in the calling thread, whose `threading.get_ident()` is `thread`, until `server` is closed. `woken` is
    /// a pipe to which every signal writes: then Python's handlers run, and the exception of one is raised here.
    pub(super) fn run(
        &self,
        py: Python<'_>,
        server: &Server,
        callbacks: Py<Callbacks>,
        thread: u64,
        woken: Option<c_int>,
    ) -> PyResult<()> {
        if attach::is_held() {
            let message = "main_loop: this thread runs the callbacks of a server already; start() the other in the background";
            return Err(Kind::Busy.raise(py, message));
        }
        let taken = self.lane.lock().even_poisoned().take();
        let Some(lane) = taken else { return Ok(()) };
        locals::set(Some(LaneLocals::new(callbacks, server.clone(), thread)));
        py.detach(|| {
            lane.run(until_closed(server.clone(), lane.handle(), woken));
            lane.shut_down();
            attach::release();
        });
        let raised = locals::set(None).and_then(|here| here.raised());
        raised.map_or(Ok(()), Err)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Not dropped here: the drop of a runtime may block.
        if let Some(lane) = self.lane.get_mut().even_poisoned().take() {
            lane.shut_down();
        }
    }
}

async fn until_closed(server: Server, handle: lane::LaneHandle, woken: Option<c_int>) {
    tokio::select! {
        () = server.closed() => {}
        () = interrupted(woken) => {
            server.stop(Duration::ZERO);
            let _ = timeout(ABORT_TIME, server.closed()).await;
        }
    }
    // Callbacks may still have to run for the last ends: waits while their number falls.
    loop {
        let left = handle.seats();
        if timeout(ABORT_TIME, handle.emptied()).await.is_ok() {
            return;
        }
        if handle.seats() >= left {
            log::error!(
                target: log_target::CALLBACK,
                "{}: {left} connections end without on_close: a callback does not return",
                server.address()
            );
            return;
        }
    }
}

/// Completes when a signal handler has raised an exception.
async fn interrupted(woken: Option<c_int>) {
    let Some(here) = locals::here() else { return };
    tokio::select! {
        () = here.interrupted() => {}
        () = handle_signals(woken) => {}
    }
}

/// Runs Python's signal handlers when a signal has come: attaching runs them.
#[cfg(unix)]
async fn handle_signals(woken: Option<c_int>) {
    use std::os::fd::BorrowedFd;
    let pipe = woken.and_then(|woken| {
        // SAFETY: the caller of `run` keeps its descriptor open for as long as that lasts; this is a copy of it.
        let copy = unsafe { BorrowedFd::borrow_raw(woken) }.try_clone_to_owned().ok()?;
        tokio::net::unix::pipe::Receiver::from_owned_fd(copy).ok()
    });
    let Some(pipe) = pipe else { return std::future::pending().await };
    // A callback may have replaced the pipe of the signals, as asyncio's handlers do: the ticks notice that.
    let ticks = Ticks::every(Duration::from_secs(1)).ok();
    let tick = async || match &ticks {
        Some(ticks) => drop(ticks.next().await),
        None => std::future::pending().await,
    };
    loop {
        tokio::select! {
            _ = pipe.readable() => while matches!(pipe.try_read(&mut [0; 256]), Ok(1..)) {},
            () = tick() => {}
        }
        attached(look_for_signals);
    }
}

/// Runs Python's signal handlers on a system where a signal cannot end a wait: checks for one now and then.
#[cfg(not(unix))]
async fn handle_signals(_: Option<c_int>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        attached(look_for_signals);
    }
}
