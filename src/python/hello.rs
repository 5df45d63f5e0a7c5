//! The first message of a TLS client, and targets by the name in it, for Python.

use std::sync::Arc;

use pyo3::{
    prelude::*,
    types::{PyString, PyTuple},
};

use super::{errors, forward::Forward};
use crate::{settings::by_name, wire::hello::ClientHello};

/// Targets by the names that clients ask for.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct ByName(pub(super) Arc<by_name::ByName>);

#[pymethods]
impl ByName {
    #[new]
    #[pyo3(signature = (targets, default, *, refuses_others))]
    fn new(
        py: Python<'_>,
        targets: Vec<(String, PyRef<'_, Forward>)>,
        default: Option<PyRef<'_, Forward>>,
        refuses_others: bool,
    ) -> PyResult<Self> {
        let targets = targets.iter().map(|(name, forward)| (name.clone(), forward.0.clone()));
        let by_name = by_name::ByName::new(targets, default.map(|forward| forward.0.clone()));
        let by_name = by_name.map_err(|error| errors::raise(py, &error))?;
        Ok(Self(Arc::new(if refuses_others { by_name.refusing_others() } else { by_name })))
    }
}

/// Returns the parts of a hello: the name, the protocols, the versions, the cipher suites, the fingerprint.
pub(super) fn parts<'py>(py: Python<'py>, hello: &ClientHello) -> PyResult<Bound<'py, PyTuple>> {
    // As OpenSSL's functions in Python have them: texts, whatever bytes they are.
    let text = |name: &[u8]| name.iter().map(|byte| char::from(*byte)).collect::<String>();
    let protocols = PyTuple::new(py, hello.alpn().map(text).collect::<Vec<_>>())?;
    let versions = PyTuple::new(py, hello.versions.iter().map(ToString::to_string))?;
    let suites = PyTuple::new(py, &hello.cipher_suites)?;
    let name = hello.server_name.as_ref().map(|name| PyString::new(py, name.as_str()));
    (name, protocols, versions, suites, hello.ja4()).into_pyobject(py)
}
