//! A server, for Python.

use std::{ffi::c_int, sync::Arc, time::Duration};

use pyo3::{prelude::*, types::PyDict};
use tokio::time::timeout;

use super::{
    awaitable::awaitable,
    callbacks::Callbacks,
    config::Config,
    convert::{self, Name},
    errors::{self, Kind},
    fault::Fault,
    faults,
    filters::{self, Filter},
    forward::Forward,
    handle::Connection,
    hello::ByName,
    hooks,
    intercept::Intercept,
    lane::Lane,
    outgoing::{self, Outgoing},
    runtime,
    tls::Tls,
};
use crate::{server, settings::config};

#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Server {
    server: server::Server,
    /// The process that made the server: its threads and its locks work only there.
    process: u32,
}

impl Server {
    /// Returns the server. Raises in a forked child.
    pub(super) fn here(&self, py: Python<'_>) -> PyResult<&server::Server> {
        if self.process == std::process::id() {
            return Ok(&self.server);
        }
        let message = format!(
            "server {}: it was made in process {}, which this one was forked from; make a new server here, or start processes with spawn",
            self.server.address(),
            self.process
        );
        Err(Kind::Forked.raise(py, message))
    }
}

/// The second target, the TLS of clients, whether that is looked into, targets by name, and whether clients without TLS are
/// taken.
type Beside<'py> =
    (Option<PyRef<'py, Forward>>, Option<PyRef<'py, Tls>>, Option<PyRef<'py, Intercept>>, Option<PyRef<'py, ByName>>, bool);

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (listen, forward, config, beside=(None, None, None, None, false), stages=(Vec::new(), Vec::new(), None)))]
    fn new(
        py: Python<'_>,
        listen: (String, Option<u16>),
        forward: Option<&Forward>,
        config: &Config,
        beside: Beside<'_>,
        stages: (Vec<PyRef<'_, Filter>>, Vec<PyRef<'_, Fault>>, Option<u64>),
    ) -> PyResult<Self> {
        let (host, port) = listen;
        let listen = convert::address(py, &host, port)?;
        let mut config = config.over(config::Config::new(listen, forward.map(|forward| forward.0.clone())));
        let (mirror, tls, intercept, by_name, takes_plain) = beside;
        config.tls = tls.map(|tls| Arc::clone(&tls.0));
        config.intercept = intercept.map(|intercept| Arc::clone(&intercept.0));
        (config.by_name, config.takes_plain) = (by_name.map(|names| Arc::clone(&names.0)), takes_plain);
        config.mirror = mirror.map(|mirror| mirror.0.clone());
        let (filters, faults, seed) = stages;
        (config.filters, config.faults, config.seed) = (filters::list(&filters), faults::list(&faults), seed);
        // Detached, because a lookup of the listener's name may block.
        let server = py.detach(|| server::Server::bind(config)).map_err(|error| errors::raise(py, &error))?;
        Ok(Self { server, process: std::process::id() })
    }

    #[getter]
    fn address(&self) -> Name {
        Name::of_socket(self.server.address())
    }

    #[getter]
    fn started(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.here(py)?.is_started())
    }

    #[getter]
    fn stopping(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.here(py)?.is_stopping())
    }

    #[getter]
    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.here(py)?.is_closed())
    }

    /// Registers these callbacks. They run once there are lanes, from this call or from a later one.
    fn hook(&self, py: Python<'_>, callbacks: &Callbacks, lanes: Vec<Bound<'_, Lane>>) -> PyResult<()> {
        let server = self.here(py)?;
        server.hook(hooks::of(callbacks), lanes.iter().filter_map(|lane| lane.get().handle()));
        Ok(())
    }

    /// Updates which hooks are wanted: live connections notice before their next chunk.
    fn rehook(&self, py: Python<'_>, callbacks: &Callbacks) -> PyResult<()> {
        self.here(py)?.set_interest(callbacks.interest());
        Ok(())
    }

    /// Drives `lane` in the calling thread, whose `threading.get_ident()` is `thread`, until the server is closed. `woken` is
    /// a pipe to which every signal writes.
    #[pyo3(signature = (lane, callbacks, thread, woken=None))]
    fn drive(&self, py: Python<'_>, lane: &Lane, callbacks: Py<Callbacks>, thread: u64, woken: Option<c_int>) -> PyResult<()> {
        lane.run(py, self.here(py)?, callbacks, thread, woken)
    }

    /// Carries the socket of `outgoing` alone, and does not read from it yet.
    fn adopt(&self, py: Python<'_>, outgoing: &Outgoing) -> PyResult<Connection> {
        let server = self.here(py)?;
        let socket = outgoing.take().ok_or_else(|| outgoing.closed(py, "pair it"))?;
        server.adopt(socket, outgoing::called().as_ref()).map(Connection::new).map_err(|error| errors::raise(py, &error))
    }

    /// Changes where new clients go, and what holds for them; only time limits and quantity limits are taken from `config`.
    #[pyo3(signature = (forward, config, mirror=None, filters=Vec::new()))]
    fn change(
        &self,
        py: Python<'_>,
        forward: Option<&Forward>,
        config: &Config,
        mirror: Option<&Forward>,
        filters: Vec<PyRef<'_, Filter>>,
    ) -> PyResult<()> {
        let changed = self.here(py)?.change(|settings| {
            *settings.forward = forward.map(|forward| forward.0.clone());
            *settings.mirror = mirror.map(|mirror| mirror.0.clone());
            *settings.filters = filters::list(&filters);
            config.put_live(settings.timeouts, settings.limits);
        });
        changed.map_err(|error| errors::raise(py, &error))
    }

    /// Puts faults in force, for live connections as well, in the places of those of the numbers `before`. Returns False if
    /// others are in force.
    fn swap_faults(&self, py: Python<'_>, before: Vec<u64>, faults: Vec<PyRef<'_, Fault>>) -> PyResult<bool> {
        let (server, faults) = (self.here(py)?, faults::list(&faults));
        py.detach(|| server.swap_faults(Some(&before), faults)).map_err(|error| errors::raise(py, &error))
    }

    /// The numbers of the faults in force, in their order.
    #[getter]
    fn faults(&self) -> Vec<u64> {
        self.server.faults().iter().map(|fault| fault.number).collect()
    }

    /// Lets faults draw for the connections to come as they did for the first ones.
    fn draw_anew(&self, py: Python<'_>) -> PyResult<()> {
        self.here(py)?.draw_anew();
        Ok(())
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.server.seed()
    }

    /// Refuses clients, or listens again, detached from the interpreter: the accepting task may have to log meanwhile.
    fn pause_listening(&self, py: Python<'_>, pauses: bool) -> PyResult<()> {
        let server = self.here(py)?;
        let done = py.detach(|| if pauses { server.pause_listening() } else { server.resume_listening() });
        done.map_err(|error| errors::raise(py, &error))
    }

    #[getter]
    fn is_listening(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.here(py)?.is_listening())
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        runtime::start(py, self.here(py)?)
    }

    /// Begins to stop the server. With `leave`, only connections in which something is under way may go on for `drain`
    /// seconds.
    #[pyo3(signature = (drain, *, leave=false))]
    fn stop(&self, py: Python<'_>, drain: f64, leave: bool) -> PyResult<()> {
        let drain = convert::seconds(py, "drain", Some(drain))?.unwrap_or_default();
        let server = self.here(py)?;
        if leave {
            server.leave(drain)
        } else {
            server.stop(drain)
        }
        Ok(())
    }

    /// Waits until the server is closed, detached from the interpreter. Signals do not interrupt the wait.
    #[pyo3(signature = (timeout))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout: Option<Duration> = convert::seconds(py, "timeout", timeout)?;
        let server = self.here(py)?;
        Ok(py.detach(|| server.wait(timeout)))
    }

    /// Returns an awaitable of the running loop: true once the server is closed, false after `limit` seconds.
    #[pyo3(signature = (limit=None))]
    fn closed<'py>(&self, py: Python<'py>, limit: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let limit = convert::seconds(py, "limit", limit)?;
        let closed = self.here(py)?.closed();
        awaitable(py, async move {
            match limit {
                Some(limit) => timeout(limit, closed).await.is_ok(),
                None => {
                    closed.await;
                    true
                }
            }
        })
    }

    fn connections(&self, py: Python<'_>) -> PyResult<Vec<Connection>> {
        Ok(self.here(py)?.connections().into_iter().map(Connection::new).collect())
    }

    /// Wakes every connection, because something that a stage looks at has changed.
    fn wake_all(&self, py: Python<'_>) -> PyResult<()> {
        self.here(py)?.wake_all();
        Ok(())
    }

    /// Keeps the last `most` connections that end from now on; 0 forgets those that are kept.
    fn keep_ended(&self, py: Python<'_>, most: usize) -> PyResult<()> {
        self.here(py)?.keep_ended(most);
        Ok(())
    }

    fn ended(&self, py: Python<'_>) -> PyResult<Vec<Connection>> {
        Ok(self.here(py)?.ended().into_iter().map(Connection::new).collect())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.here(py)?.stats();
        let closed = PyDict::new(py);
        for (reason, count) in &stats.closed {
            closed.set_item(reason.word(), count)?;
        }
        let dict = counters(py, stats.counters())?;
        dict.set_item("closed", closed)?;
        dict.set_item("to_upstream", counters(py, stats.to_upstream.counters())?)?;
        dict.set_item("to_client", counters(py, stats.to_client.counters())?)?;
        dict.set_item("accept_paused", stats.accept_paused)?;
        Ok(dict)
    }
}

fn counters<'py, const N: usize>(py: Python<'py>, counters: [(&'static str, u64); N]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, count) in counters {
        dict.set_item(name, count)?;
    }
    Ok(dict)
}
