//! A connection, as Python holds it.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::prelude::*;

use super::convert::Name;
use crate::{
    registry::{self, State},
    stats::{Direction, Ledger},
};

#[pyclass(frozen, eq, module = "interpose._native")]
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connection(pub(super) registry::Connection);

#[pymethods]
impl Connection {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[getter]
    fn state(&self) -> &'static str {
        match self.0.state() {
            State::Connecting => "connecting",
            State::Open => "open",
            State::Closed => "closed",
        }
    }

    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.0.reason().map(|reason| reason.word())
    }

    #[getter]
    fn error(&self) -> Option<String> {
        self.0.error()
    }

    #[getter]
    fn client_peer(&self) -> Name {
        Name::of_socket(&self.0.client().peer)
    }

    #[getter]
    fn client_local(&self) -> Name {
        Name::of_socket(&self.0.client().local)
    }

    #[getter]
    fn upstream_peer(&self) -> Option<Name> {
        self.0.upstream().map(|names| Name::of_socket(&names.peer))
    }

    #[getter]
    fn upstream_local(&self) -> Option<Name> {
        self.0.upstream().map(|names| Name::of_socket(&names.local))
    }

    /// `(read, delivered, undeliverable)` bytes of one direction.
    fn ledger(&self, to_upstream: bool) -> (u64, u64, u64) {
        let direction = if to_upstream { Direction::ToUpstream } else { Direction::ToClient };
        let Ledger { read, delivered, undeliverable } = self.0.ledger(direction);
        (read, delivered, undeliverable)
    }

    fn close(&self) {
        self.0.close();
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}
