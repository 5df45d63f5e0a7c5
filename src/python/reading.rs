//! Reads that asynchronous callbacks request of a side before its bytes are relayed.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use bytes::Bytes;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{bridge::Bridge, convert, framing, handle, questions::Item};
use crate::{
    live::{
        handle::Connection,
        read_requests::{Unread, Wanted, Wish},
    },
    words::{direction::Direction, lock::EvenPoisoned},
};

/// One read. Its result comes through the queue of the event loop, so the connection's thread never attaches.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Reading {
    connection: Connection,
    direction: Direction,
    /// The connection's number of the read; `None` if it was refused at once.
    number: Option<u64>,
    peeks: bool,
    is_message: bool,
    state: Arc<Mutex<State>>,
}

enum State {
    Asked,
    Answered(Result<Bytes, Unread>),
    /// The result was taken.
    Over,
    /// Nobody waits for the result any more.
    Withdrawn,
}

fn held(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().even_poisoned()
}

/// Returns the end of what is wanted, by its word.
fn wanted(bridge: &Bridge, word: &str, size: usize, delimiter: &[u8]) -> Wanted {
    match word {
        "message" => Wanted::Message { framing: framing::pair_for_reads(&bridge.callbacks.get().framings), limit: size },
        "most" | "peek_most" => Wanted::AtMost(size),
        "until" => Wanted::Until { delimiter: Bytes::copy_from_slice(delimiter), limit: size },
        _ => Wanted::Exactly(size),
    }
}

#[pymethods]
impl Reading {
    /// Requests a read of the client's side or the upstream's. `key` is put into the queue of `bridge` once there is a result.
    ///
    /// `word` is "most" or "exactly" for as many bytes as `size`, the same with "peek_" in front, which leaves the bytes where
    /// they are, "until" for bytes up to `delimiter`, or "message" for one of the server's framing, `size` at most.
    #[new]
    #[expect(clippy::too_many_arguments, reason = "the façade has one call for all reads")]
    fn new(
        py: Python<'_>,
        bridge: &Bridge,
        key: u64,
        connection: &handle::Connection,
        is_client: bool,
        word: &str,
        size: usize,
        delimiter: &[u8],
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let connection = connection.task(py)?.clone();
        let direction = if is_client { Direction::ToUpstream } else { Direction::ToClient };
        let peeks = word.starts_with("peek");
        let is_message = word == "message";
        let deadline = convert::seconds(py, "timeout", timeout)?.and_then(|limit| Instant::now().checked_add(limit));
        let wish = Wish { wanted: wanted(bridge, word, size, delimiter), peeks, holds: !peeks, deadline };
        let state = Arc::new(Mutex::new(State::Asked));
        let answered = {
            let (state, queue, connection) = (Arc::clone(&state), Arc::clone(&bridge.callbacks.get().queue), connection.clone());
            Box::new(move |result: Result<Bytes, Unread>| {
                let mut state = held(&state);
                if matches!(*state, State::Withdrawn) {
                    drop(state);
                    // Before the connection's thread, which is this one, serves the next read.
                    put_back(&connection, direction, peeks, is_message, &result);
                } else {
                    *state = State::Answered(result);
                    drop(state);
                    let _ = queue.put(Item::Read(key));
                }
            })
        };
        let number = match connection.read(direction, wish, answered) {
            Ok(number) => Some(number),
            Err(unread) => {
                *held(&state) = State::Answered(Err(unread));
                None
            }
        };
        Ok(Self { connection, direction, number, peeks, is_message, state })
    }

    /// Takes the result, if there is one: bytes, or the word, number and text of a failure.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let result = {
            let mut state = held(&self.state);
            match mem::replace(&mut *state, State::Over) {
                State::Answered(result) => result,
                before => {
                    *state = before;
                    return Ok(None);
                }
            }
        };
        match result {
            Ok(bytes) => {
                if !self.peeks {
                    self.connection.note_seen(self.direction);
                }
                Ok(Some(PyBytes::new(py, &bytes).into_any()))
            }
            Err(unread) => failure(py, &unread).map(|tuple| Some(tuple.into_any())),
        }
    }

    /// Withdraws the read. Bytes that it has taken, and that nobody has seen, are read again.
    fn withdraw(&self) {
        let cancelled = self.number.is_some_and(|number| self.connection.cancel_read(self.direction, number));
        let before = mem::replace(&mut *held(&self.state), State::Withdrawn);
        if let (false, State::Answered(result)) = (cancelled, before) {
            put_back(&self.connection, self.direction, self.peeks, self.is_message, &result);
        }
    }
}

fn put_back(connection: &Connection, direction: Direction, peeks: bool, is_message: bool, result: &Result<Bytes, Unread>) {
    if let (Ok(bytes), false) = (result, peeks) {
        connection.put_back(direction, bytes, is_message);
    }
}

/// Returns the word, number and text of a failure.
fn failure<'py>(py: Python<'py>, unread: &Unread) -> PyResult<Bound<'py, PyTuple>> {
    let (word, number, text) = match unread {
        Unread::Closed => ("closed", 0, ""),
        Unread::Busy => ("busy", 0, ""),
        Unread::End(bytes) => ("end", *bytes, ""),
        Unread::TooMuch(limit) => ("long", *limit, ""),
        Unread::Late => ("late", 0, ""),
        Unread::Broken(text) => ("broken", 0, text.as_str()),
        Unread::Unframed => ("unframed", 0, ""),
    };
    (word, number, text).into_pyobject(py)
}
