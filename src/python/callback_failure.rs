//! The effect of a callback that raises: its exception is counted and logged, and ends the connection, the server or nothing.

use std::time::Duration;

use pyo3::{
    exceptions::{PyKeyboardInterrupt, PySystemExit},
    prelude::*,
};

use super::{
    calls::Slot,
    locals::{self, LaneLocals},
};
use crate::{
    hooks::Failed,
    live::handle::Connection,
    words::{log_target, outcome::CloseReason},
};

/// Counts and logs the exception of the callback in `slot`. Returns `None` if it ends nothing.
pub(super) fn handle(py: Python<'_>, here: &LaneLocals, slot: Slot, connection: &Connection, error: PyErr) -> Option<Failed> {
    if ends_server(py, &error) {
        return Some(end_server(py, here, slot, error));
    }
    let callbacks = here.callbacks.get();
    callbacks.log.failed();
    match report(py, here, slot, connection, &error) {
        // Ctrl-C may arrive while the exception is reported.
        Err(error) if ends_server(py, &error) => Some(end_server(py, here, slot, error)),
        // Only the callback's own output could not be written.
        Ok(None) => None,
        _ if callbacks.passes_errors => None,
        line => {
            let line = line.ok().flatten().unwrap_or_else(|| format!("{} raised an exception", callbacks.log.name(slot)));
            Some(Failed { reason: CloseReason::CallbackError, error: line })
        }
    }
}

/// Logs an exception, and returns one line about it; `None` if it ends nothing.
fn report(py: Python<'_>, here: &LaneLocals, slot: Slot, connection: &Connection, error: &PyErr) -> PyResult<Option<String>> {
    let callbacks = here.callbacks.get();
    let connection = here.objects.borrow_mut().connection(py, callbacks, connection)?;
    let only_looks = !callbacks.log.has_answered(slot);
    let name = callbacks.log.name(slot);
    let arguments = (name, connection, error.clone_ref(py).into_value(py), only_looks).into_pyobject(py)?;
    // Timed as a part of the callback: the exception's text and the log's handlers are user code too.
    locals::call(here, slot, callbacks.report.bind(py), &arguments)?.extract()
}

fn ends_server(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// Stops the server, whose main loop raises the exception.
fn end_server(py: Python<'_>, here: &LaneLocals, slot: Slot, error: PyErr) -> Failed {
    let callbacks = here.callbacks.get();
    let kind = if error.is_instance_of::<PySystemExit>(py) { "SystemExit" } else { "KeyboardInterrupt" };
    let line = format!("{} raised {kind}: the server stops", callbacks.log.name(slot));
    log::error!(target: log_target::CALLBACK, "{line}");
    callbacks.raise_later(error.into_value(py).into_any());
    here.server.stop(Duration::ZERO);
    Failed { reason: CloseReason::Stopped, error: line }
}
