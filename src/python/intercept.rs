//! Looking inside TLS, for Python.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use pyo3::prelude::*;

use super::{
    errors,
    tls::{Common, TlsUpstream, limit, truncation},
};
use crate::tls::intercept::{self, InterceptSettings};

#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Intercept(pub(super) Arc<intercept::Intercept>);

#[pymethods]
impl Intercept {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf, upstream: PyRef<'_, TlsUpstream>, common: Common, starttls: bool) -> PyResult<Self> {
        let (_, allows_truncation, handshake_timeout, keylog) = common;
        let upstream = upstream.0.clone();
        let handshake_timeout = limit(py, handshake_timeout)?.unwrap_or(upstream.settings().handshake_timeout);
        let truncation = truncation(allows_truncation);
        let settings = InterceptSettings { folder, upstream, truncation, handshake_timeout, starttls, keylog };
        // Detached, because files are read, and made.
        let intercept = py.detach(|| intercept::Intercept::load(settings)).map_err(|error| errors::raise(py, &error))?;
        Ok(Self(Arc::new(intercept)))
    }

    /// Returns the path of the authority's file.
    #[getter]
    fn path(&self) -> PathBuf {
        self.0.authority().path().to_owned()
    }

    /// Returns the authority's certificate in PEM.
    #[getter]
    fn pem(&self) -> &str {
        self.0.authority().pem()
    }

    /// Returns a new certificate of the authority for `names`, with the authority's, and its key, in PEM.
    #[pyo3(signature = (names, begins, ends))]
    fn pair(&self, py: Python<'_>, names: Vec<String>, begins: Option<i64>, ends: Option<i64>) -> PyResult<(String, String)> {
        py.detach(|| self.0.pair(names, (begins, ends))).map_err(|error| errors::raise(py, &error))
    }

    /// Returns the time at which the authority's certificate expires, in seconds since 1970.
    #[getter]
    fn expires(&self) -> u64 {
        let expires: SystemTime = self.0.authority().expires();
        expires.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
