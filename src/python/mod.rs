//! The Python binding: the module `interpose._native`, which the package's façade is written on.
//!
//! No thread started here ever attaches to the interpreter, except where pyo3-async-runtimes completes an
//! awaitable, which is on the control thread's side and never on an I/O thread.

mod convert;
mod errors;
mod forward;
mod handle;
mod logging;
mod runtime;
mod server;

use pyo3::prelude::*;

/// Address text of the grammar `9090`, `host:9090`, `[::1]:9090`, `unix:/path`.
#[pyfunction]
fn parse_address(py: Python<'_>, text: &str) -> PyResult<convert::Name> {
    let address = text.parse().map_err(|error| errors::raise(py, &error))?;
    Ok(convert::Name::of_address(&address))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    logging::install();
    module.add_class::<forward::Forward>()?;
    module.add_class::<handle::Connection>()?;
    module.add_class::<server::Server>()?;
    module.add_function(wrap_pyfunction!(parse_address, module)?)?;
    module.add_function(wrap_pyfunction!(logging::start_logging, module)?)?;
    module.add_function(wrap_pyfunction!(logging::next_logs, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::shutdown, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::forget_after_fork, module)?)?;
    Ok(())
}
