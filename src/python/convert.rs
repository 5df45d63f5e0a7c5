//! Conversions between Python's values and the core's.

use std::time::Duration;

use pyo3::prelude::*;

use super::errors;
use crate::words::{
    addr::{Address, SocketName},
    error::{Error, ErrorKind},
};

/// A socket's name in Python: `(host, port)`, or `unix:/path`; of a listener that is not bound here, `fd:3`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, IntoPyObject)]
pub(super) enum Name {
    Inet(String, u16),
    #[pyo3(transparent)]
    Unix(String),
}

impl Name {
    pub(super) fn of_address(address: &Address) -> Self {
        match address {
            Address::Inet { host, port } => Self::Inet(host.clone(), *port),
            Address::Unix(path) => Self::Unix(format!("unix:{path}")),
            Address::Descriptor(_) => Self::Unix(address.to_string()),
        }
    }

    pub(super) fn of_socket(name: &SocketName) -> Self {
        Self::of_address(&name.clone().into())
    }
}

/// Returns the address of a host and a port, or of a host alone that is an address text.
pub(super) fn address(py: Python<'_>, host: &str, port: Option<u16>) -> PyResult<Address> {
    let address = match port {
        Some(port) => Address::inet(host, port),
        None => host.parse(),
    };
    address.map_err(|error| errors::raise(py, &error))
}

/// Converts a number of seconds; `None` is no limit.
pub(super) fn seconds(py: Python<'_>, name: &str, value: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(value) = value else { return Ok(None) };
    Duration::try_from_secs_f64(value).map(Some).map_err(|_| {
        let message = format!("{name}: {value} is not a number of seconds; give 0 or more, such as 10.0");
        errors::raise(py, &Error::new(ErrorKind::Config, message))
    })
}
