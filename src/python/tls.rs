//! The TLS of a listener and of a target, for Python.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pyo3::{prelude::*, types::PyBytes};

use super::{convert, errors, handle::Connection};
use crate::taps::queue::Missed;
use crate::tls::{
    Truncation,
    description::Description,
    key_log,
    originate::{self, UpstreamSettings},
    terminate::{self, Pair, TlsSettings},
};
use crate::wire::certificate::Certificate;

/// The settings that both ends have: protocols, whether a missing notice of the end is an end, a time limit, a file.
pub(super) type Common = (Vec<Vec<u8>>, bool, f64, Option<PathBuf>);

/// The files of the issuers of client certificates, and of the lists of revoked ones.
type OfClients = (Option<PathBuf>, Option<PathBuf>);

#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Tls(pub(super) Arc<terminate::Tls>);

#[pymethods]
impl Tls {
    #[new]
    fn new(py: Python<'_>, pairs: Vec<(PathBuf, PathBuf)>, of_clients: OfClients, common: Common) -> PyResult<Self> {
        let (client_ca, client_crl) = of_clients;
        let (alpn, allows_truncation, handshake_timeout, keylog) = common;
        let pairs = pairs.into_iter().map(|(certificate, key)| Pair { certificate, key }).collect();
        let mut settings = TlsSettings { client_ca, client_crl, alpn, keylog, ..TlsSettings::new(pairs) };
        settings.truncation = truncation(allows_truncation);
        settings.handshake_timeout = limit(py, handshake_timeout)?.unwrap_or(settings.handshake_timeout);
        // Detached, because files are read.
        let tls = py.detach(|| terminate::Tls::load(settings)).map_err(|error| errors::raise(py, &error))?;
        Ok(Self(Arc::new(tls)))
    }
}

#[pyclass(frozen, module = "interpose._native")]
pub(super) struct TlsUpstream(pub(super) originate::TlsUpstream);

#[pymethods]
impl TlsUpstream {
    #[new]
    fn new(
        py: Python<'_>,
        trust: (Option<PathBuf>, Option<String>, bool, Option<PathBuf>),
        pair: Option<(PathBuf, PathBuf)>,
        common: Common,
    ) -> PyResult<Self> {
        let (alpn, allows_truncation, handshake_timeout, keylog) = common;
        let (ca, server_name, verify, crl) = trust;
        let pair = pair.map(|(certificate, key)| Pair { certificate, key });
        let mut settings = UpstreamSettings { ca, crl, server_name, verify, pair, alpn, keylog, ..UpstreamSettings::default() };
        settings.truncation = truncation(allows_truncation);
        settings.handshake_timeout = limit(py, handshake_timeout)?.unwrap_or(settings.handshake_timeout);
        let tls = py.detach(|| originate::TlsUpstream::load(settings)).map_err(|error| errors::raise(py, &error))?;
        Ok(Self(tls))
    }
}

pub(super) fn truncation(is_allowed: bool) -> Truncation {
    if is_allowed { Truncation::Allow } else { Truncation::Reset }
}

pub(super) fn limit(py: Python<'_>, seconds: f64) -> PyResult<Option<Duration>> {
    convert::seconds(py, "handshake_timeout", Some(seconds))
}

/// The properties of a side's TLS: version, cipher, name, protocol, certificate and its properties, and whether it was
/// resumed.
type Described<'py> =
    (&'static str, String, Option<String>, Option<Bound<'py, PyBytes>>, Option<String>, Option<Properties>, bool);

/// The properties of a certificate: subject, issuer, names, and the first and the last second in which it is good.
type Properties = (String, String, Vec<String>, i64, i64);

/// Returns the properties of the TLS of a side, if it has some.
#[pyfunction]
pub(super) fn tls_of<'py>(py: Python<'py>, connection: &Connection, is_client: bool) -> Option<Described<'py>> {
    let Description { version, cipher, server_name, alpn, peer_certificate, peer, resumed } = connection.0.tls(is_client)?;
    let alpn = alpn.map(|name| PyBytes::new(py, &name));
    let peer = peer.map(|Certificate { subject, issuer, names, validity, .. }| (subject, issuer, names, validity.0, validity.1));
    Some((version, cipher, server_name, alpn, peer_certificate, peer, resumed))
}

/// Waits until the secrets of all sessions so far are written, at most `limit` seconds. Returns true if they are.
#[pyfunction]
pub(super) fn settle_secrets(py: Python<'_>, limit: f64) -> PyResult<bool> {
    let limit = convert::seconds(py, "timeout", Some(limit))?.unwrap_or_default();
    Ok(py.detach(|| key_log::settle(limit)))
}

/// Returns the number of the secrets that were left out so far, and of their bytes.
#[pyfunction]
pub(super) fn missed_secrets(py: Python<'_>) -> (u64, u64) {
    let Missed { events, bytes } = py.detach(key_log::missed);
    (events, bytes)
}
