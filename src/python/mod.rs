//! The Python binding: the module `interpose._native`, on which the package's façade is built.
//!
//! No thread started here ever attaches to the interpreter, except where pyo3-async-runtimes completes an
//! awaitable, which is on the control thread's side and never on an I/O thread. Callbacks run on threads of
//! Python's own: `lane` drives one, `locals` has what its callbacks need, `attach` holds the interpreter for a turn.

mod answers;
mod arguments;
mod asking;
mod attach;
mod awaitable;
mod bridge;
mod callback_failure;
mod callbacks;
mod calls;
mod captures;
mod config;
mod convert;
mod coroutine;
mod custom_framer;
mod data;
mod deciding;
mod errors;
mod expression;
mod fault;
mod faults;
mod filters;
mod forward;
mod framers;
mod framing;
mod handle;
mod hello;
mod hooks;
mod in_place;
mod intercept;
mod lane;
mod locals;
mod logging;
mod loop_threads;
mod loop_turn;
#[cfg(unix)]
mod loop_wake;
mod outgoing;
mod process;
mod questions;
mod reading;
mod rewriting;
mod runtime;
mod server;
mod start_tls;
mod tls;
mod transcript;
mod view;
mod worker;

use pyo3::prelude::*;

/// Parses an address text: `9090`, `host:9090`, `[::1]:9090`, `unix:/path`.
#[pyfunction]
fn parse_address(py: Python<'_>, text: &str) -> PyResult<convert::Name> {
    let address = text.parse().map_err(|error| errors::raise(py, &error))?;
    Ok(convert::Name::of_address(&address))
}

/// Returns the callbacks that have run for `least` seconds and do not return, each once: the name, the seconds, and the
/// thread as `threading.get_ident()` returns it.
#[pyfunction]
fn stuck_callbacks(py: Python<'_>, least: f64) -> PyResult<Vec<calls::Stuck>> {
    Ok(calls::stuck(convert::seconds(py, "least", Some(least))?.unwrap_or_default()))
}

/// Returns true if the calling thread runs callbacks.
#[pyfunction]
fn on_lane() -> bool {
    attach::is_held()
}

// Switches the GIL on in a free-threaded interpreter: the binding was not yet checked without it, and the walk of a list in
// `data` relies on it.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    logging::install();
    // Defined here because a frozen program has the module, and no metadata of the package.
    module.add("version", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<config::Config>()?;
    module.add_class::<expression::Expression>()?;
    module.add_class::<fault::Fault>()?;
    module.add_class::<filters::Filter>()?;
    module.add_class::<filters::Gate>()?;
    module.add_class::<forward::Forward>()?;
    module.add_class::<framing::Framing>()?;
    module.add_class::<framing::OtherFramer>()?;
    module.add_class::<handle::Connection>()?;
    module.add_class::<bridge::Bridge>()?;
    module.add_class::<callbacks::Callbacks>()?;
    module.add_class::<captures::CaptureReader>()?;
    module.add_class::<hello::ByName>()?;
    module.add_class::<intercept::Intercept>()?;
    module.add_class::<lane::Lane>()?;
    module.add_class::<outgoing::Outgoing>()?;
    module.add_class::<reading::Reading>()?;
    module.add_class::<server::Server>()?;
    module.add_class::<tls::Tls>()?;
    module.add_class::<tls::TlsUpstream>()?;
    module.add_class::<transcript::Transcript>()?;
    module.add_class::<worker::Worker>()?;
    module.add_function(wrap_pyfunction!(captures::capture, module)?)?;
    module.add_function(wrap_pyfunction!(parse_address, module)?)?;
    module.add_function(wrap_pyfunction!(framers::set_framing, module)?)?;
    module.add_function(wrap_pyfunction!(faults::set_faults, module)?)?;
    module.add_function(wrap_pyfunction!(filters::set_filters, module)?)?;
    module.add_function(wrap_pyfunction!(rewriting::replace, module)?)?;
    module.add_function(wrap_pyfunction!(rewriting::replace_regex, module)?)?;
    module.add_function(wrap_pyfunction!(rewriting::grep, module)?)?;
    module.add_function(wrap_pyfunction!(logging::start_logging, module)?)?;
    module.add_function(wrap_pyfunction!(logging::next_logs, module)?)?;
    module.add_function(wrap_pyfunction!(logging::queue_record, module)?)?;
    module.add_function(wrap_pyfunction!(logging::flush_logs, module)?)?;
    module.add_function(wrap_pyfunction!(logging::logs_flushed, module)?)?;
    module.add_function(wrap_pyfunction!(logging::log_held_up, module)?)?;
    module.add_function(wrap_pyfunction!(loop_turn::answer_questions, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_of, module)?)?;
    module.add_function(wrap_pyfunction!(tls::settle_secrets, module)?)?;
    module.add_function(wrap_pyfunction!(tls::missed_secrets, module)?)?;
    module.add_function(wrap_pyfunction!(start_tls::start_tls, module)?)?;
    module.add_function(wrap_pyfunction!(stuck_callbacks, module)?)?;
    module.add_function(wrap_pyfunction!(on_lane, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::prepare, module)?)?;
    module.add_function(wrap_pyfunction!(process::shutdown, module)?)?;
    module.add_function(wrap_pyfunction!(process::forget_after_fork, module)?)?;
    Ok(())
}
