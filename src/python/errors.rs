//! One table that maps the core's errors, and the binding's own, to the exceptions of `interpose._exceptions`.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::words::error::{Error, ErrorKind};

/// The kinds of errors that only the binding raises.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A value has the wrong type.
    Type,
    /// The object belongs to the process that this one was forked from.
    Forked,
    /// The connection has ended, or that direction of it.
    Ended,
    /// The limit of bytes that wait to be sent is reached.
    Full,
    /// The thread runs callbacks already.
    Busy,
    /// Bytes break the protocol of a framing.
    Framing,
    /// A thread could not be started.
    Thread,
    /// A value is of the right type, and wrong.
    Config,
}

impl Kind {
    /// Returns the exception with this message.
    pub(super) fn raise(self, py: Python<'_>, message: impl Into<String>) -> PyErr {
        let class = match self {
            Self::Type => "ArgumentTypeError",
            Self::Forked => "ForkError",
            Self::Ended => "ConnectionClosedError",
            Self::Full => "SendBufferFullError",
            Self::Busy => "LaneError",
            Self::Framing => "FramingError",
            Self::Thread => "RuntimeStartError",
            Self::Config => "ConfigError",
        };
        make(py, class, None, message.into())
    }
}

/// Returns the exception for a core error.
pub(super) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    // The first argument of an OSError is a number.
    let (class, number) = match error.kind() {
        ErrorKind::Address => ("AddressError", None),
        ErrorKind::Config => ("ConfigError", None),
        ErrorKind::Bind => ("BindError", Some(error.os_error().unwrap_or(0))),
        ErrorKind::BindPermission => ("BindPermissionError", Some(error.os_error().unwrap_or(0))),
        ErrorKind::Resolve => ("ResolveError", Some(error.os_error().unwrap_or(0))),
        ErrorKind::Connect => ("ConnectError", None),
        ErrorKind::Stopped => ("ServerStoppedError", None),
        ErrorKind::Tls => ("TlsError", None),
        ErrorKind::TlsFile => ("TlsFileError", Some(error.os_error().unwrap_or(0))),
        ErrorKind::Runtime => ("RuntimeStartError", None),
    };
    make(py, class, number, error.to_string())
}

fn make(py: Python<'_>, class: &str, number: Option<i32>, message: String) -> PyErr {
    // A module of its own, because it needs another that takes long to load.
    let module = if class.starts_with("Tls") { "interpose._tls_exceptions" } else { "interpose._exceptions" };
    let made = py.import(module).and_then(|module| module.getattr(class)).and_then(|class| match number {
        Some(number) => class.call1((number, &message)),
        None => class.call1((&message,)),
    });
    made.map_or_else(|_| PyRuntimeError::new_err(message), PyErr::from_value)
}
