//! One table from the core's errors to the exceptions of `interpose._exceptions`.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::words::error::{Error, ErrorKind};

/// The exception's class, and whether it is an OSError, which wants a number first.
fn class(kind: ErrorKind) -> (&'static str, bool) {
    match kind {
        ErrorKind::Address => ("AddressError", false),
        ErrorKind::Type => ("ArgumentTypeError", false),
        ErrorKind::Config => ("ConfigError", false),
        ErrorKind::Bind => ("BindError", true),
        ErrorKind::BindPermission => ("BindPermissionError", true),
        ErrorKind::Resolve => ("ResolveError", true),
        ErrorKind::Stopped => ("ServerStoppedError", false),
        ErrorKind::Forked => ("ForkError", false),
        ErrorKind::Connect => ("ConnectError", false),
        ErrorKind::Ended => ("ConnectionClosedError", false),
        ErrorKind::Full => ("SendBufferFullError", false),
        ErrorKind::Busy => ("LaneError", false),
        ErrorKind::Runtime => ("RuntimeStartError", false),
    }
}

/// The exception for a core error.
pub(super) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).unwrap_or_else(|_| PyRuntimeError::new_err(error.to_string()))
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let (name, numbered) = class(error.kind());
    let class = py.import("interpose._exceptions")?.getattr(name)?;
    let message = error.to_string();
    let value = match (numbered, error.os_error()) {
        (true, number) => class.call1((number.unwrap_or(0), message))?,
        (false, _) => class.call1((message,))?,
    };
    Ok(PyErr::from_value(value))
}
