//! The thread on which callbacks run: attached to the interpreter once per turn, and the place where they are called.
#![allow(unsafe_code)] // Attaching for longer than a closure lasts, and calls that survive the interpreter's end; argued below.

use std::{
    cell::{Cell, RefCell},
    ffi::c_int,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pyo3::{ffi, prelude::*, types::PyTuple};
use tokio::{sync::Notify, time::timeout};

use super::{
    calls::{Running, Slot},
    errors,
    hooks::Callbacks,
    kept::Kept,
    runtime::{Process, end_forked_child},
    server::Server,
    view::Spare,
};
use crate::{
    io::sys::Ticks,
    live::handle::Connection,
    server,
    threads::lane,
    words::{
        chunk::Room,
        error::{Error, ErrorKind},
    },
};

/// How long a lane stays attached while it has work. Python's own threads give the interpreter up after 5 ms
/// (sys.getswitchinterval), so others wait for a lane no longer than for each other.
const HOLD: Duration = Duration::from_millis(5);

/// How long connections that were aborted may take to be gone.
const ABORT_TIME: Duration = Duration::from_secs(1);

/// What the callbacks of the calling thread need. There while it drives a lane.
pub(super) struct Here {
    pub callbacks: Py<Callbacks>,
    pub kept: RefCell<Kept>,
    pub spare: RefCell<Spare>,
    pub server: server::Server,
    running: Arc<Running>,
    process: Process,
    /// What a signal handler has raised, and the word that it has.
    raised: RefCell<Option<PyErr>>,
    interrupted: Notify,
}

impl Here {
    /// Ends the lane with what a signal handler has raised.
    fn interrupt(&self, error: PyErr) {
        self.raised.borrow_mut().get_or_insert(error);
        self.interrupted.notify_one();
    }
}

thread_local! {
    static HERE: RefCell<Option<Rc<Here>>> = const { RefCell::new(None) };
    static HELD: Cell<Option<Held>> = const { Cell::new(None) };
}

/// The interpreter, held for the rest of a turn.
#[derive(Clone, Copy)]
struct Held {
    state: ffi::PyGILState_STATE,
    since: Instant,
    /// When the last callback ended.
    last: Instant,
    /// A callback has run in this turn.
    used: bool,
}

/// Whether the calling thread drives a lane.
pub(super) fn is_here() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// Whether this lane has objects of the connection.
pub(super) fn keeps(connection: &Connection) -> bool {
    HERE.with_borrow(|here| here.as_ref().is_some_and(|here| here.kept.borrow().has(connection)))
}

/// The bytes object that this lane has ready for a chunk of this size.
pub(super) fn spare(size: usize) -> Option<Arc<dyn Room>> {
    let here = HERE.with_borrow(Clone::clone)?;
    let spare = here.spare.borrow_mut().take(size);
    spare.map(|blank| blank as Arc<dyn Room>)
}

/// The same, not needed or with a chunk that has passed.
pub(super) fn leave(room: Arc<dyn Room>) {
    let Some(here) = HERE.with_borrow(Clone::clone) else { return };
    let filled = here.spare.borrow_mut().put(room);
    if let Some(filled) = filled {
        attached(|py, here| here.spare.borrow_mut().renew(py, filled));
    }
}

/// Runs `f` attached, with what this lane's callbacks need. Stays attached until the turn is over.
pub(super) fn attached<T>(f: impl FnOnce(Python<'_>, &Here) -> T) -> Option<T> {
    let here = HERE.with_borrow(Clone::clone)?;
    let fresh = hold();
    let done = Python::attach(|py| {
        // A signal that came while the lane waited is not for the callback that is due, which would not even begin.
        if fresh {
            look_for_signals(py, &here);
        }
        let done = f(py, &here);
        // Whatever ran there may have forked.
        end_forked_child(here.process);
        done
    });
    if HELD.get().is_some_and(|held| held.last.duration_since(held.since) >= HOLD) {
        release();
    }
    Some(done)
}

/// Attaches, and says so, unless the lane is attached already.
fn hold() -> bool {
    let fresh = HELD.get().is_none();
    if fresh {
        // SAFETY: the thread entered through Python and is detached by `drive`, so it has a thread state that outlives
        // this. Every return from here is matched by `release` on the same thread: when the lane idles, when it has held
        // the interpreter for long, and before `drive` attaches again.
        let state = unsafe { ensure() };
        let now = Instant::now();
        HELD.set(Some(Held { state, since: now, last: now, used: false }));
    }
    fresh
}

/// Lets the interpreter go: nothing is ready to run.
fn release() {
    if let Some(held) = HELD.take() {
        // SAFETY: matches the one `PyGILState_Ensure` that gave this state, on this thread; no reference that needs the
        // interpreter is used between here and the next `hold`.
        unsafe { ffi::PyGILState_Release(held.state) };
    }
}

/// Returns when the last callback ended, or reads the clock if the lane is not attached.
pub(super) fn now() -> Instant {
    HELD.get().map_or_else(Instant::now, |held| held.last)
}

/// Lets the interpreter go after a turn that did not need it, or if it was held for long enough.
pub(super) fn turn_over() {
    let Some(held) = HELD.get() else { return };
    if held.used && held.since.elapsed() < HOLD {
        HELD.set(Some(Held { used: false, ..held }));
    } else {
        release();
    }
}

/// Calls a callback. `slot` says which, for the log of those that take long.
pub(super) fn call<'py>(
    here: &Here,
    slot: Slot,
    callback: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    // One look at the clock for each callback: what lies between the last one's end and this one is short.
    let began = now();
    here.running.begin(slot, began);
    let result = invoke(callback, arguments);
    let now = Instant::now();
    here.running.end(slot, began, now);
    HELD.set(HELD.get().map(|held| Held { last: now, used: true, ..held }));
    result
}

/// Calls what may run Python, and so may be where this thread ends.
pub(super) fn invoke<'py>(callable: &Bound<'py, PyAny>, arguments: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: both are live objects, and the call gives a new reference or NULL with an exception set.
    unsafe {
        let result = call_object(callable.as_ptr(), arguments.as_ptr());
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

#[cfg(not(windows))]
mod raw {
    use pyo3::ffi::{PyGILState_STATE, PyObject};

    // `pyo3::ffi` has them as functions that do not unwind, which a thread that ends within one does.
    /// What `PyObject_Call` is.
    pub(super) type Call = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;

    unsafe extern "C-unwind" {
        pub(super) fn PyGILState_Ensure() -> PyGILState_STATE;
        pub(super) fn PyObject_Call(callable: *mut PyObject, arguments: *mut PyObject, keywords: *mut PyObject) -> *mut PyObject;
    }
}

/// Before Python 3.14, a thread that is in Python, or comes to it, when the interpreter goes is ended by `pthread_exit`,
/// which unwinds its stack. Rust's frames below must not be: such a thread waits here for the end of the process.
#[cfg(not(windows))]
struct StaysInside;

#[cfg(not(windows))]
impl Drop for StaysInside {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// # Safety
/// As for `PyGILState_Ensure`.
#[cfg(not(windows))]
unsafe fn ensure() -> ffi::PyGILState_STATE {
    let inside = StaysInside;
    // SAFETY: the caller's.
    let state = unsafe { raw::PyGILState_Ensure() };
    std::mem::forget(inside);
    state
}

/// # Safety
/// As for `PyGILState_Ensure`.
#[cfg(windows)]
unsafe fn ensure() -> ffi::PyGILState_STATE {
    // SAFETY: the caller's.
    unsafe { ffi::PyGILState_Ensure() }
}

/// # Safety
/// Attached, with a callable and a tuple.
#[cfg(not(windows))]
unsafe fn call_object(callable: *mut ffi::PyObject, arguments: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // Hidden from the optimizer: `pyo3::ffi` declares the same function as one that does not unwind, and linked together
    // the two are one, for which no guard would be run.
    let call: raw::Call = std::hint::black_box(raw::PyObject_Call);
    let inside = StaysInside;
    // SAFETY: the caller's.
    let result = unsafe { call(callable, arguments, std::ptr::null_mut()) };
    std::mem::forget(inside);
    result
}

/// # Safety
/// Attached, with a callable and a tuple.
#[cfg(windows)]
unsafe fn call_object(callable: *mut ffi::PyObject, arguments: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller's.
    unsafe { ffi::PyObject_Call(callable, arguments, std::ptr::null_mut()) }
}

/// A lane for one Python thread to drive.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Lane {
    /// Gone once it is driven. So is every handle of it then: they hold descriptors.
    lane: Mutex<Option<lane::Lane>>,
}

impl Lane {
    /// How to give it work, until it is driven.
    pub(super) fn handle(&self) -> Option<lane::LaneHandle> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(lane::Lane::handle)
    }
}

#[pymethods]
impl Lane {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let lane = lane::Lane::new(release).map_err(|error| errors::raise(py, &error))?;
        Ok(Self { lane: Mutex::new(Some(lane)) })
    }

    /// Drives it in the calling thread, whose `threading.get_ident()` is `thread`, until the server is closed. `woken`
    /// is a pipe that tells of signals: their handlers run then, and what one raises is raised here.
    #[pyo3(signature = (server, callbacks, thread, woken=None))]
    fn run(&self, py: Python<'_>, server: &Server, callbacks: Py<Callbacks>, thread: u64, woken: Option<c_int>) -> PyResult<()> {
        if is_here() {
            let message = "main_loop: this thread runs the callbacks of a server already; start() the other in the background";
            return Err(errors::raise(py, &Error::new(ErrorKind::Busy, message)));
        }
        let taken = self.lane.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(lane) = taken else { return Ok(()) };
        let running = Running::start(Arc::clone(&callbacks.get().log), thread);
        let core = server.here(py)?.clone();
        let process = Process::this();
        let (raised, interrupted) = (RefCell::default(), Notify::new());
        let here = Rc::new(Here {
            callbacks,
            kept: RefCell::default(),
            spare: RefCell::default(),
            server: core.clone(),
            running,
            process,
            raised,
            interrupted,
        });
        HERE.set(Some(here));
        py.detach(|| {
            lane.run(until_closed(core, lane.handle(), woken));
            lane.shut_down();
            release();
        });
        let raised = HERE.take().and_then(|here| here.raised.borrow_mut().take());
        raised.map_or(Ok(()), Err)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A runtime may not be dropped where it could be waited for.
        if let Some(lane) = self.lane.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            lane.shut_down();
        }
    }
}

async fn until_closed(server: server::Server, handle: lane::LaneHandle, woken: Option<c_int>) {
    tokio::select! {
        () = server.closed() => {}
        () = interrupted(woken) => {
            server.stop(Duration::ZERO);
            let _ = timeout(ABORT_TIME, server.closed()).await;
        }
    }
    // The last ends may still have to be told to the callbacks: for as long as that goes on.
    loop {
        let left = handle.seats();
        if timeout(ABORT_TIME, handle.emptied()).await.is_ok() {
            return;
        }
        if handle.seats() >= left {
            log::error!(
                target: "interpose::callback",
                "{}: {left} connections end without on_close: a callback does not return",
                server.address()
            );
            return;
        }
    }
}

/// Completes when a signal handler has raised something.
async fn interrupted(woken: Option<c_int>) {
    let Some(here) = HERE.with_borrow(Clone::clone) else { return };
    tokio::select! {
        () = here.interrupted.notified() => {}
        () = handle_signals(woken) => {}
    }
}

/// Has Python's signal handlers run when a signal has come: attaching does that.
#[cfg(unix)]
async fn handle_signals(woken: Option<c_int>) {
    use std::os::fd::BorrowedFd;
    let pipe = woken.and_then(|woken| {
        // SAFETY: the caller of `run` keeps its descriptor open for as long as that lasts; this is a copy of it.
        let copy = unsafe { BorrowedFd::borrow_raw(woken) }.try_clone_to_owned().ok()?;
        tokio::net::unix::pipe::Receiver::from_owned_fd(copy).ok()
    });
    let Some(pipe) = pipe else { return std::future::pending().await };
    // A callback may have taken the pipe from the signals, as asyncio's handlers for them do: then this notices.
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

fn look_for_signals(py: Python<'_>, here: &Here) {
    if let Err(error) = py.check_signals() {
        here.interrupt(error);
    }
    end_forked_child(here.process);
}

/// The same where a signal cannot wake a wait: looks for one now and then.
#[cfg(not(unix))]
async fn handle_signals(_: Option<c_int>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        attached(look_for_signals);
    }
}
