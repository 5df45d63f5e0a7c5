//! An upstream that a script connects by itself, before any connection uses it.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyo3::prelude::*;
use socket2::Socket;

use super::{answers, convert::Name, errors, forward::Forward, runtime};
use crate::{
    addr::SocketName,
    error::{Error, ErrorKind},
    outcome::Outcome,
};

/// How long a peer that does not read may hold up what is sent to it before its connection takes over.
const SEND_TIME: Duration = Duration::from_secs(10);

/// Between two looks at Python's signals while a connect is waited for.
const LOOK: Duration = Duration::from_millis(50);

#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Outgoing {
    socket: Mutex<Option<Socket>>,
    peer: SocketName,
    local: SocketName,
}

impl Outgoing {
    fn socket(&self) -> MutexGuard<'_, Option<Socket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket, for the connection that takes it over.
    pub(super) fn take(&self) -> Option<Socket> {
        self.socket().take()
    }

    fn send_all(&self, data: &[u8]) -> io::Result<()> {
        let socket = self.socket();
        let mut socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(SEND_TIME))?;
        socket.write_all(data)
    }
}

#[pymethods]
impl Outgoing {
    /// Connects now; blocks until that is done. Raises ConnectError.
    #[new]
    fn connect(py: Python<'_>, forward: &Forward) -> PyResult<Self> {
        forward.0.check().map_err(|error| errors::raise(py, &error))?;
        let answer = Mutex::new(runtime::connect(py, forward.0.clone())?);
        let connected = loop {
            match py.detach(|| answer.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LOOK)) {
                Ok(connected) => break connected,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(_) => break Err(Outcome::plain(crate::outcome::CloseReason::Stopped)),
            }
        };
        match connected {
            Ok((socket, peer, local)) => Ok(Self { socket: Mutex::new(Some(socket)), peer, local }),
            Err(outcome) => {
                let message = outcome.error.unwrap_or_else(|| outcome.reason.word().to_owned());
                Err(errors::raise(py, &Error::new(ErrorKind::Connect, message)))
            }
        }
    }

    #[getter]
    fn peer(&self) -> Name {
        Name::of_socket(&self.peer)
    }

    #[getter]
    fn local(&self) -> Name {
        Name::of_socket(&self.local)
    }

    /// Sends all of `data`; blocks until the kernel has it.
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let data = answers::bytes_of(data).ok_or_else(|| super::convert::not_bytes(data))?;
        py.detach(|| self.send_all(&data))?;
        Ok(data.len())
    }

    fn close(&self) {
        drop(self.take());
    }
}
