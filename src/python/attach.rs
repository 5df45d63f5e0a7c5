//! Attachment to the interpreter beyond one closure, and calls that survive the interpreter's end: the raw C calls. Uses no
//! other file.
#![allow(unsafe_code)] // Attaching for longer than a closure lasts, and calls that the interpreter's end may unwind; argued below.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use pyo3::{ffi, prelude::*, types::PyTuple};

/// How long a thread stays attached while it has work. Python's own threads release the interpreter after 5 ms
/// (sys.getswitchinterval), so other threads wait for a lane no longer than for each other.
const HOLD: Duration = Duration::from_millis(5);

thread_local! {
    static HELD: Cell<Option<Held>> = const { Cell::new(None) };
}

/// The interpreter, held for the rest of a turn.
#[derive(Clone, Copy)]
struct Held {
    state: ffi::PyGILState_STATE,
    since: Instant,
    /// When the last callback ended.
    last: Instant,
    /// True if a callback has run in this turn.
    used: bool,
}

/// Returns true if the calling thread holds the interpreter by [`held`]: then it drives a lane, and Python runs in it.
pub(super) fn is_held() -> bool {
    HELD.get().is_some()
}

/// Runs `f` attached, and stays attached until the turn is over, or until the interpreter was held for [`HOLD`]. Passes
/// `true` to `f` if the thread was not attached before.
pub(super) fn held<T>(f: impl FnOnce(Python<'_>, bool) -> T) -> T {
    let fresh = hold();
    let done = Python::attach(|py| f(py, fresh));
    if HELD.get().is_some_and(|held| held.last.duration_since(held.since) >= HOLD) {
        release();
    }
    done
}

/// Attaches the calling thread, unless it is attached already. Returns true if it was not.
fn hold() -> bool {
    let fresh = HELD.get().is_none();
    if fresh {
        // SAFETY: the thread entered through Python and is detached by its lane, so it has a thread state that outlives
        // this. Every return from here is matched by `release` on the same thread: when the lane idles, when it has held
        // the interpreter for long, and before the lane attaches again.
        let state = unsafe { ensure() };
        let now = Instant::now();
        HELD.set(Some(Held { state, since: now, last: now, used: false }));
    }
    fresh
}

/// Detaches the calling thread, if [`held`] has attached it: no task is ready to run.
pub(super) fn release() {
    if let Some(held) = HELD.take() {
        // SAFETY: matches the one `PyGILState_Ensure` that returned this state, on this thread; no reference that needs the
        // interpreter is used between here and the next `hold`.
        unsafe { ffi::PyGILState_Release(held.state) };
    }
}

/// Detaches after a turn in which no callback ran, or once the interpreter was held for [`HOLD`].
pub(super) fn turn_over() {
    let Some(held) = HELD.get() else { return };
    if held.used && held.since.elapsed() < HOLD {
        HELD.set(Some(Held { used: false, ..held }));
    } else {
        release();
    }
}

/// Returns when the last callback ended, or reads the clock if the thread holds nothing.
pub(super) fn now() -> Instant {
    HELD.get().map_or_else(Instant::now, |held| held.last)
}

/// Records that a callback has ended at `now`.
pub(super) fn ran_until(now: Instant) {
    HELD.set(HELD.get().map(|held| Held { last: now, used: true, ..held }));
}

/// Calls a Python object. The thread may end in this call, if the interpreter does.
pub(super) fn invoke<'py>(callable: &Bound<'py, PyAny>, arguments: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: both are live objects, and the call returns a new reference or NULL with an exception set.
    unsafe {
        let result = call_object(callable.as_ptr(), arguments.as_ptr());
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// The outcome of a step of a coroutine.
pub(super) enum Step<'py> {
    /// It waits, for what it has yielded.
    Waits(Bound<'py, PyAny>),
    /// It has returned.
    Returned(Bound<'py, PyAny>),
}

/// Runs a coroutine to its next wait, or to its end. The thread may end in this call, if the interpreter does.
pub(super) fn step<'py>(coroutine: &Bound<'py, PyAny>) -> PyResult<Step<'py>> {
    let py = coroutine.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: the coroutine is a live object. It has left a new reference, or an exception that is set.
    unsafe {
        match send_none(coroutine.as_ptr(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => Bound::from_owned_ptr_or_err(py, result).map(Step::Waits),
            ffi::PySendResult::PYGEN_RETURN => Bound::from_owned_ptr_or_err(py, result).map(Step::Returned),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// Returns the number of references to an object.
pub(super) fn references(object: &Bound<'_, PyAny>) -> isize {
    // SAFETY: a live object, and the thread is attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

#[cfg(not(windows))]
mod raw {
    use pyo3::ffi::{PyGILState_STATE, PyObject, PySendResult};

    // Declared here because `pyo3::ffi` declares them as functions that do not unwind; a thread that ends within one does
    // unwind.
    /// The type of `PyObject_Call`.
    pub(super) type Call = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
    /// The type of `PyIter_Send`.
    pub(super) type Send = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut *mut PyObject) -> PySendResult;

    unsafe extern "C-unwind" {
        pub(super) fn PyGILState_Ensure() -> PyGILState_STATE;
        pub(super) fn PyObject_Call(callable: *mut PyObject, arguments: *mut PyObject, keywords: *mut PyObject) -> *mut PyObject;
        pub(super) fn PyIter_Send(iterator: *mut PyObject, value: *mut PyObject, result: *mut *mut PyObject) -> PySendResult;
    }
}

/// Waits in its drop for the end of the process. Before Python 3.14, a thread that runs Python, or attaches, when the
/// interpreter ends is ended by `pthread_exit`, which unwinds its stack. Rust's frames below must not be unwound, so such a
/// thread stops here.
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
    // Hidden from the optimizer: `pyo3::ffi` declares this function as one that does not unwind. After linking the two are
    // one function, for which no guard would run.
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

/// # Safety
/// Attached, with a coroutine, and room for its result.
#[cfg(not(windows))]
unsafe fn send_none(coroutine: *mut ffi::PyObject, result: *mut *mut ffi::PyObject) -> ffi::PySendResult {
    // Hidden from the optimizer, as in `call_object`.
    let send: raw::Send = std::hint::black_box(raw::PyIter_Send);
    let inside = StaysInside;
    // SAFETY: the caller's; None lives for ever.
    let sent = unsafe { send(coroutine, ffi::Py_None(), result) };
    std::mem::forget(inside);
    sent
}

/// # Safety
/// Attached, with a coroutine, and room for its result.
#[cfg(windows)]
unsafe fn send_none(coroutine: *mut ffi::PyObject, result: *mut *mut ffi::PyObject) -> ffi::PySendResult {
    // SAFETY: the caller's; None lives for ever.
    unsafe { ffi::PyIter_Send(coroutine, ffi::Py_None(), result) }
}
