//! The beginning of TLS amid a connection, for Python.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{
    attach, data,
    handle::Connection,
    intercept::Intercept,
    loop_threads,
    tls::{Tls, TlsUpstream},
};
use crate::{
    live::sides_tls::Unstarted,
    tls::start::{ClientTls, Start},
    words::direction::Direction,
};

/// Begins TLS with the sides that have some here. Returns the reason why it does not begin, and the side; None if it does.
///
/// `early` has the first bytes of the client's session that a callback was shown.
#[pyfunction]
pub(super) fn start_tls(
    py: Python<'_>,
    connection: &Connection,
    client: (Option<PyRef<'_, Tls>>, Option<PyRef<'_, Intercept>>),
    upstream: Option<PyRef<'_, TlsUpstream>>,
    early: &Bound<'_, PyAny>,
) -> PyResult<Option<(&'static str, &'static str)>> {
    let task = connection.task(py)?;
    let (tls, intercept) = client;
    let client = tls.map(|tls| ClientTls::Terminate(Arc::clone(&tls.0)));
    let client = client.or_else(|| intercept.map(|by| ClientTls::LookInside(Arc::clone(&by.0))));
    let early = data::bytes_of(early).map_err(|unfit| unfit.into_error(py))?;
    let is_called_back = attach::is_held() || loop_threads::is_one();
    let is_seen = Direction::ALL.iter().any(|direction| !task.is_passed_through(*direction));
    if !is_called_back || !is_seen {
        return Ok(Some(("outside", "")));
    }
    let start = Start { client, upstream: upstream.map(|tls| tls.0.clone()), early };
    let of = |is_client: bool| if is_client { "client" } else { "upstream" };
    Ok(match task.start_tls(start) {
        Ok(()) => None,
        Err(Unstarted::Already { is_client }) => Some(("already", of(is_client))),
        Err(Unstarted::Ended { is_client }) => Some(("ended", of(is_client))),
        Err(Unstarted::NoUpstream) => Some(("missing", "upstream")),
    })
}
