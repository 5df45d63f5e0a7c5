//! A connection, for Python.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pyo3::prelude::*;

use super::{
    attach,
    convert::{self, Name},
    data,
    errors::Kind,
    loop_threads,
    process::Process,
};
use crate::{
    live::{
        handle::{self, State},
        inbox::{Patience, Refused, WAITING_ON_LANE},
    },
    words::{direction::Direction, outcome::CloseReason, stats::Ledger},
};

/// Time between two checks for Python's signals while a sender waits.
const LOOK: Duration = Duration::from_millis(50);

#[pyclass(frozen, eq, module = "interpose._native")]
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connection(pub(super) handle::Connection, Process);

pub(super) fn direction(to_upstream: bool) -> Direction {
    if to_upstream { Direction::ToUpstream } else { Direction::ToClient }
}

impl Connection {
    pub(super) fn new(connection: handle::Connection) -> Self {
        Self(connection, Process::this())
    }

    /// Returns the connection, for requests to its task. Raises in a forked child, which does not have that task.
    pub(super) fn task(&self, py: Python<'_>) -> PyResult<&handle::Connection> {
        if self.1 == Process::this() {
            return Ok(&self.0);
        }
        let message = "connection: it belongs to the process this one was forked from; end it there";
        Err(Kind::Forked.raise(py, message))
    }

    /// Waits for room for `bytes`, at most for `wait`, detached from the interpreter. Raises the exception of a signal
    /// handler that runs meanwhile.
    fn put(&self, py: Python<'_>, direction: Direction, bytes: &Bytes, wait: Option<Duration>) -> PyResult<Result<(), Refused>> {
        let connection = self.task(py)?;
        let deadline = wait.and_then(|wait| Instant::now().checked_add(wait));
        loop {
            let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            let patience = Patience::Wait(Some(left.min(LOOK)));
            match py.detach(|| connection.inject(direction, bytes.clone(), patience)) {
                Err(Refused::Full) if left > LOOK || deadline.is_none() => py.check_signals()?,
                done => return Ok(done),
            }
        }
    }

    /// Returns the exception for an injection that was refused.
    fn explain(&self, py: Python<'_>, direction: Direction, refused: Refused) -> PyErr {
        let (id, peer) = (self.0.id(), if direction == Direction::ToUpstream { "upstream" } else { "client" });
        match refused {
            Refused::Ended => {
                let why = self.0.reason().map_or("that direction has ended", CloseReason::word);
                let message = format!(
                    "send: connection {id} takes nothing for its {peer} any more: {why}; look at phase and reason before"
                );
                Kind::Ended.raise(py, message)
            }
            Refused::Full => {
                let most = WAITING_ON_LANE / 1024;
                let message = format!(
                    "send: {most} KiB wait for the {peer} of connection {id}, which does not read; send less in a callback, or from a thread, where it waits"
                );
                Kind::Full.raise(py, message)
            }
        }
    }
}

#[pymethods]
impl Connection {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[getter]
    fn phase(&self) -> &'static str {
        match self.0.state() {
            State::Connecting => "connecting",
            State::Open => "open",
            State::Closed => "closed",
        }
    }

    /// The seconds since the connection was accepted, until now or its end.
    #[getter]
    fn age(&self) -> f64 {
        self.0.age().as_secs_f64()
    }

    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.0.reason().map(|reason| reason.word())
    }

    #[getter]
    fn error(&self) -> Option<String> {
        self.0.error()
    }

    /// Returns OpenSSL's number for what is wrong with a side's certificate, if that was the cause of the end.
    #[getter]
    fn certificate_fault(&self) -> Option<u8> {
        self.0.certificate_fault()
    }

    /// True once all callbacks for the connection's end have returned.
    #[getter]
    fn close_notified(&self) -> bool {
        self.0.is_close_notified()
    }

    #[getter]
    fn client_peer(&self) -> Name {
        Name::of_socket(&self.0.client().peer)
    }

    #[getter]
    fn client_local(&self) -> Name {
        Name::of_socket(&self.0.client().local)
    }

    /// True once the upstream is connected, also after its end.
    #[getter]
    fn has_upstream(&self) -> bool {
        self.0.has_upstream()
    }

    #[getter]
    fn upstream_peer(&self) -> Option<Name> {
        self.0.upstream().map(|names| Name::of_socket(&names.peer))
    }

    #[getter]
    fn upstream_local(&self) -> Option<Name> {
        self.0.upstream().map(|names| Name::of_socket(&names.local))
    }

    /// Returns `(read, added, delivered, dropped, undeliverable)` bytes of one direction.
    fn ledger(&self, to_upstream: bool) -> (u64, u64, u64, u64, u64) {
        let Ledger { read, added, delivered, dropped, undeliverable } = self.0.ledger(direction(to_upstream));
        (read, added, delivered, dropped, undeliverable)
    }

    /// Sends `data` in one direction. Returns its length, or None when there was no room within `wait` seconds; None waits
    /// without limit. A lane cannot wait: there a lack of room is an error at once.
    fn send(&self, py: Python<'_>, to_upstream: bool, data: &Bound<'_, PyAny>, wait: Option<f64>) -> PyResult<Option<usize>> {
        let wait = convert::seconds(py, "timeout", wait)?;
        let bytes = data::bytes_of(data).map_err(|unfit| unfit.into_error(py))?;
        let (length, direction) = (bytes.len(), direction(to_upstream));
        let must_not_wait = attach::is_held() || loop_threads::is_one();
        let sent = if must_not_wait {
            self.task(py)?.inject(direction, bytes, Patience::OnLane)
        } else {
            self.put(py, direction, &bytes, wait)?
        };
        match sent {
            Ok(()) => Ok(Some(length)),
            Err(Refused::Full) if !must_not_wait => Ok(None),
            Err(refused) => Err(self.explain(py, direction, refused)),
        }
    }

    /// Sends `data` to the peer of this side, which is carried alone, in reply to bytes from the connection `source`, which
    /// is not read while too much waits here. Returns its length, or None off the lane, where nothing is sent.
    fn send_for(&self, py: Python<'_>, data: &Bound<'_, PyAny>, source: &Self) -> PyResult<Option<usize>> {
        if !attach::is_held() {
            return Ok(None);
        }
        let bytes = data::bytes_of(data).map_err(|unfit| unfit.into_error(py))?;
        let (length, to) = (bytes.len(), direction(self.0.is_adopted()));
        match self.task(py)?.inject_from(to, bytes, (&source.0, direction(!source.0.is_adopted()))) {
            Ok(()) => Ok(Some(length)),
            Err(refused) => Err(self.explain(py, to, refused)),
        }
    }

    /// Ends one direction in order.
    fn half_close(&self, py: Python<'_>, to_upstream: bool) -> PyResult<()> {
        self.task(py)?.half_close(direction(to_upstream));
        Ok(())
    }

    /// Hides that direction from callbacks from the next chunk on.
    fn pass_through(&self, py: Python<'_>, to_upstream: bool) -> PyResult<()> {
        self.task(py)?.pass_through(direction(to_upstream));
        Ok(())
    }

    /// True while callbacks are called with bytes of that direction that are no whole message, though it is framed.
    fn is_partial(&self, to_upstream: bool) -> bool {
        self.0.is_partial(direction(to_upstream))
    }

    /// True for an upstream's socket that is carried alone.
    #[getter]
    fn is_adopted(&self) -> bool {
        self.0.is_adopted()
    }

    /// Pauses or resumes reading from the client or the upstream.
    fn pause(&self, py: Python<'_>, is_client: bool, paused: bool) -> PyResult<()> {
        let connection = self.task(py)?;
        if paused {
            connection.pause(direction(is_client))
        } else {
            connection.resume(direction(is_client))
        }
        Ok(())
    }

    /// Fails this connection with the close reason of `cause`, after bytes already sent are delivered.
    fn fail(&self, py: Python<'_>, cause: &Self) -> PyResult<()> {
        self.task(py)?.fail_with(&cause.0);
        Ok(())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.task(py)?.close();
        Ok(())
    }

    /// Closes, and listens to neither side afterwards.
    fn close_now(&self, py: Python<'_>) -> PyResult<()> {
        self.task(py)?.close_now();
        Ok(())
    }

    /// True once the connection acts on a request to close.
    #[getter]
    fn closes(&self) -> bool {
        self.0.closes()
    }

    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.task(py)?.abort();
        Ok(())
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}
