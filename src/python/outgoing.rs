//! An upstream that a script connects itself, before any connection uses it.
#![allow(unsafe_code)] // A descriptor of the script's own, argued below.

use std::{
    cell::RefCell,
    io::{self, Read},
    net::Shutdown,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use pyo3::{prelude::*, types::PyBytes};
use socket2::Socket;

use super::{
    convert::{self, Name},
    data,
    errors::{self, Kind},
    forward::Forward,
    process::Process,
    runtime,
};
use crate::{
    live::handle::Connection,
    threads::workers::{self, Dialled, Memory},
    words::{
        addr::SocketName,
        error::{Error, ErrorKind},
        lock::EvenPoisoned,
        outcome::Outcome,
    },
};

thread_local! {
    /// The connection whose callback runs in this thread, or ran last.
    static CALLED: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Records the connection whose callback runs in this thread from now on.
pub(super) fn runs_for(connection: &Connection) {
    CALLED.with_borrow_mut(|called| {
        if called.as_ref() != Some(connection) {
            *called = Some(connection.clone());
        }
    });
}

/// Returns the connection for which a callback in this thread connects or takes over an upstream.
pub(super) fn called() -> Option<Connection> {
    CALLED.with_borrow(Clone::clone)
}

/// Time between two checks for Python's signals during a wait for a peer.
const LOOK: Duration = Duration::from_millis(50);

/// Maximum bytes of one recv().
const MOST_RECEIVED: usize = 1024 * 1024;

/// Returns true if a call has ended because its timeout of `LOOK` was over, or a signal came.
fn is_over_time(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Outgoing {
    /// A blocking socket, with a timeout of `LOOK` for each call. Shared with a send() that waits for the peer without the
    /// lock: the thread that closes the socket or takes it over may hold the interpreter.
    socket: Mutex<Option<Arc<Socket>>>,
    peer: SocketName,
    local: SocketName,
    memory: Option<Memory>,
    /// The process that made it: in a forked child the socket is the parent's, and threads that do not exist there may hold
    /// the locks.
    process: Process,
}

/// Returns a socket with its own copy of a descriptor that the caller keeps open meanwhile.
#[cfg(unix)]
fn copy_of(fd: std::ffi::c_int) -> io::Result<Socket> {
    // SAFETY: the caller's descriptor is open for the length of this call; what is kept is a copy of it.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().map(Socket::from)
}

impl Outgoing {
    fn socket(&self) -> MutexGuard<'_, Option<Arc<Socket>>> {
        self.socket.lock().even_poisoned()
    }

    /// Raises ForkError in a forked child. Called before anything is locked.
    fn check_process(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.process == Process::this() {
            return Ok(());
        }
        let peer = &self.peer;
        let message =
            format!("{what}: the upstream {peer} belongs to the process this one was forked from; use it there, or connect here");
        Err(Kind::Forked.raise(py, message))
    }

    /// Takes the socket, for the connection that goes on with it.
    pub(super) fn take(&self) -> Option<Socket> {
        let socket = self.socket().take()?;
        Arc::try_unwrap(socket).or_else(|shared| shared.try_clone()).ok()
    }

    /// Sends as many bytes of `data` as the kernel takes within `LOOK`. `None` if the socket is closed, or belongs to a
    /// connection.
    fn send_some(&self, data: &[u8]) -> Option<io::Result<usize>> {
        let socket = self.socket().clone()?;
        let sent = match workers::send(&socket, data) {
            Err(error) if is_over_time(&error) => Ok(0),
            sent => sent,
        };
        // A call that fails after the close has failed because of it.
        (sent.is_ok() || self.socket().is_some()).then_some(sent)
    }

    pub(super) fn closed(&self, py: Python<'_>, what: &str) -> PyErr {
        let message = format!("{what}: the upstream {} is closed; {what} before close()", self.peer);
        Kind::Ended.raise(py, message)
    }

    fn new(dialled: Dialled) -> io::Result<Self> {
        let Dialled { socket, peer, local, memory } = dialled;
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(LOOK))?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self { socket: Mutex::new(Some(Arc::new(socket))), peer, local, memory, process: Process::this() })
    }

    /// Receives bytes that have come, at most `most`, within `LOOK`. `None` if the socket is closed, or belongs to a
    /// connection.
    fn receive_some(&self, most: usize) -> Option<io::Result<Vec<u8>>> {
        let socket = self.socket().clone()?;
        let mut data = vec![0; most.min(MOST_RECEIVED)];
        let received = (&*socket).read(&mut data);
        let closed = received.is_err() && self.socket().is_none();
        (!closed).then(|| {
            data.truncate(received?);
            Ok(data)
        })
    }

    fn end(&self) {
        let socket = self.socket().take();
        if let Some(socket) = socket {
            // Ends a waiting send(), and ends the peer also while a forked child has the socket.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

#[pymethods]
impl Outgoing {
    /// Connects, and blocks until that is done. Raises ConnectError.
    #[new]
    fn connect(py: Python<'_>, forward: &Forward) -> PyResult<Self> {
        forward.0.check("forward_to").map_err(|error| errors::raise(py, &error))?;
        let origin = called().map(|connection| connection.origin()).unwrap_or_default();
        let answer = Mutex::new(runtime::connect(py, forward.0.clone(), origin)?);
        let connected = loop {
            match py.detach(|| answer.lock().even_poisoned().recv_timeout(LOOK)) {
                Ok(connected) => break connected,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(_) => break Err(Outcome::plain(crate::words::outcome::CloseReason::Stopped)),
            }
        };
        match connected {
            Ok(dialled) => Ok(Self::new(dialled)?),
            Err(outcome) => {
                let message = outcome.error.unwrap_or_else(|| outcome.reason.word().to_owned());
                Err(errors::raise(py, &Error::new(ErrorKind::Connect, message)))
            }
        }
    }

    /// Takes over a copy of a connected socket's descriptor. The caller keeps its own open meanwhile, and closes it then.
    #[cfg(unix)]
    #[staticmethod]
    fn take_over(fd: std::ffi::c_int) -> PyResult<Self> {
        Ok(Self::new(Dialled::of(copy_of(fd)?)?)?)
    }

    /// Returns true for a socket that is connected, or was until it ended. A pending error stays for the next read.
    #[cfg(unix)]
    #[staticmethod]
    fn has_been_connected(fd: std::ffi::c_int) -> PyResult<bool> {
        Ok(workers::has_been_connected(&copy_of(fd)?))
    }

    #[getter]
    fn peer(&self) -> Name {
        Name::of_socket(&self.peer)
    }

    #[getter]
    fn local(&self) -> Name {
        Name::of_socket(&self.local)
    }

    /// Sends all of `data`; blocks until the kernel has it. Returns its length, or None when that took `wait` seconds.
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, wait: f64) -> PyResult<Option<usize>> {
        self.check_process(py, "send")?;
        let data = data::bytes_of(data).map_err(|unfit| unfit.into_error(py))?;
        let wait = convert::seconds(py, "timeout", Some(wait))?.unwrap_or_default();
        let (begin, mut left) = (Instant::now(), &data[..]);
        loop {
            let sent = py.detach(|| self.send_some(left)).ok_or_else(|| self.closed(py, "send"))?;
            left = &left[sent?..];
            if left.is_empty() {
                return Ok(Some(data.len()));
            }
            if begin.elapsed() >= wait {
                return Ok(None);
            }
            py.check_signals()?;
        }
    }

    /// Receives at most `most` bytes; blocks until there are some, or until the end, which is an empty bytes object. Returns
    /// None when nothing came within `wait` seconds.
    fn recv<'py>(&self, py: Python<'py>, most: usize, wait: Option<f64>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.check_process(py, "recv")?;
        let wait = convert::seconds(py, "timeout", wait)?;
        let begin = Instant::now();
        loop {
            let received = py.detach(|| self.receive_some(most)).ok_or_else(|| self.closed(py, "recv"))?;
            match received {
                Ok(data) => return Ok(Some(PyBytes::new(py, &data))),
                Err(error) if is_over_time(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if wait.is_some_and(|wait| begin.elapsed() >= wait) {
                return Ok(None);
            }
            py.check_signals()?;
        }
    }

    /// Sends FIN after all bytes sent before.
    fn half_close(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process(py, "shutdown")?;
        if let Some(socket) = &*self.socket() {
            let _ = socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process(py, "close")?;
        self.end();
        Ok(())
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.process == Process::this() {
            self.end();
        } else {
            // The drop closes only a copy of the socket, which no other process notices. Dropping the memory of the
            // connection would take a lock.
            std::mem::forget(self.memory.take());
        }
    }
}
