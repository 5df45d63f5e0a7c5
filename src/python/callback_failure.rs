//! The effect of a callback that raises: its exception is counted and logged, and ends the connection, the server or nothing.

use pyo3::{
    exceptions::{PyKeyboardInterrupt, PySystemExit},
    prelude::*,
    types::PyTuple,
};

use super::{
    callbacks::Callbacks,
    calls::Slot,
    locals::{self, LaneLocals},
};
use crate::{
    hooks::Failed,
    live::handle::Connection,
    server::Server,
    words::{log_target, outcome::CloseReason},
};

/// Counts and logs the exception of the callback in `slot`, which the lane has called. Returns `None` if it ends nothing.
pub(super) fn handle(py: Python<'_>, here: &LaneLocals, slot: Slot, connection: &Connection, error: PyErr) -> Option<Failed> {
    let callbacks = here.callbacks.get();
    let connection = here.objects.borrow_mut().connection(py, callbacks, connection);
    let raised = Raised { callbacks, server: &here.server, slot, connection };
    // Timed as a part of the callback: the exception's text and the log's handlers are user code too.
    raised.handle(py, error, |arguments| locals::call(here, slot, callbacks.report.bind(py), arguments))
}

/// A callback that has raised an exception.
pub(super) struct Raised<'a, 'py> {
    pub callbacks: &'a Callbacks,
    pub server: &'a Server,
    pub slot: Slot,
    /// The façade's Connection for which the callback was called.
    pub connection: PyResult<Bound<'py, PyAny>>,
}

impl<'py> Raised<'_, 'py> {
    /// Counts the exception, and logs it by `call`, which calls the façade's report. Returns `None` if it ends nothing.
    pub(super) fn handle(
        self,
        py: Python<'py>,
        error: PyErr,
        call: impl FnOnce(&Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>>,
    ) -> Option<Failed> {
        let Self { callbacks, server, slot, connection } = self;
        if ends_server(py, &error) {
            return Some(end_server(py, callbacks, server, slot, error));
        }
        let log = &callbacks.log;
        log.failed();
        let report = || -> PyResult<Option<String>> {
            let arguments = (log.name(slot), connection?, error.into_value(py), !log.has_answered(slot)).into_pyobject(py)?;
            call(&arguments)?.extract()
        };
        match report() {
            // Ctrl-C may arrive while the exception is reported.
            Err(error) if ends_server(py, &error) => Some(end_server(py, callbacks, server, slot, error)),
            // Only the callback's own output could not be written.
            Ok(None) => None,
            _ if callbacks.passes_errors => None,
            line => {
                let line = line.ok().flatten().unwrap_or_else(|| format!("{} raised an exception", log.name(slot)));
                Some(Failed { reason: CloseReason::CallbackError, error: line })
            }
        }
    }
}

/// Returns true for an exception that ends the server, whatever is chosen for others.
pub(super) fn ends_server(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// Stops the server, whose main loop raises the exception.
fn end_server(py: Python<'_>, callbacks: &Callbacks, server: &Server, slot: Slot, error: PyErr) -> Failed {
    let kind = if error.is_instance_of::<PySystemExit>(py) { "SystemExit" } else { "KeyboardInterrupt" };
    let line = format!("{} raised {kind}: the server stops", callbacks.log.name(slot));
    log::error!(target: log_target::CALLBACK, "{line}");
    callbacks.raise_later(error.into_value(py).into_any());
    server.stop(std::time::Duration::ZERO);
    Failed { reason: CloseReason::Stopped, error: line }
}
