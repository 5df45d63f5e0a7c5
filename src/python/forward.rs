//! A target with its settings, for Python.

use std::net::IpAddr;

use pyo3::prelude::*;

use super::{
    convert::{self, Name},
    errors,
    tls::TlsUpstream,
};
use crate::{
    settings::forward,
    words::{
        addr::Address,
        error::{Error, ErrorKind},
    },
};

#[pyclass(frozen, eq, hash, module = "interpose._native")]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Forward(pub(super) forward::Forward);

#[pymethods]
impl Forward {
    #[new]
    #[pyo3(signature = (host, port, *, connect_timeout, source))]
    fn new(py: Python<'_>, host: &str, port: Option<u16>, connect_timeout: f64, source: Option<&str>) -> PyResult<Self> {
        let address = convert::address(py, host, port)?;
        let mut target = forward::Forward::to(address);
        if let Some(timeout) = convert::seconds(py, "connect_timeout", Some(connect_timeout))? {
            target.connect_timeout = timeout;
        }
        target.source = source.map(|source| parse_source(py, source, &target.address)).transpose()?;
        Ok(Self(target))
    }

    /// Returns this target with TLS.
    fn with_tls(&self, py: Python<'_>, tls: &TlsUpstream) -> PyResult<Self> {
        tls.0.check(self.0.address.host()).map_err(|error| errors::raise(py, &error))?;
        let mut target = self.0.clone();
        target.tls = Some(tls.0.clone());
        Ok(Self(target))
    }

    /// Returns this target with others that take its place, and with the seconds in which all are tried again.
    fn or_else(&self, py: Python<'_>, fallback: Vec<PyRef<'_, Self>>, retry: Option<f64>) -> PyResult<Self> {
        let mut target = fallback.into_iter().fold(self.0.clone(), |target, other| target.or_else(other.0.clone()));
        target.retry = convert::seconds(py, "retry", retry)?;
        target.check("forward_to").map_err(|error| errors::raise(py, &error))?;
        Ok(Self(target))
    }

    #[getter]
    fn address(&self) -> Name {
        Name::of_address(&self.0.address)
    }

    fn __repr__(&self) -> String {
        format!("Forward({:?})", self.0.address.to_string())
    }
}

fn parse_source(py: Python<'_>, source: &str, target: &Address) -> PyResult<IpAddr> {
    let wrong = |why: &str| {
        let message = format!("source {:?}: {why}", crate::words::error::printable(source));
        errors::raise(py, &Error::new(ErrorKind::Config, message))
    };
    let ip: IpAddr =
        source.parse().map_err(|_| wrong("it is not an IP address; give one of this machine's, such as 192.0.2.7"))?;
    match target.ip() {
        _ if matches!(target, Address::Unix(_)) => Err(wrong("a Unix socket has no source address; leave it out")),
        Some(other) if other.is_ipv4() != ip.is_ipv4() => {
            Err(wrong("it is not of the target's address family; give both as IPv4 or both as IPv6"))
        }
        _ => Ok(ip),
    }
}
