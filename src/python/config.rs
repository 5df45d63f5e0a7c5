//! The settings of a server, as Python holds them: each by its name in the façade's table.

use std::time::Duration;

use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    types::{PyBool, PyDict, PyFloat},
};

use super::{convert, errors::Kind};
use crate::settings::config::{self, Coalesce, Limits, Listen, Preread, Relay, Splice, Timeouts, Undecided};

/// The settings of a server, except where it listens and where it forwards. A setting that is left out has the core's
/// default.
#[pyclass(frozen, module = "interpose._native")]
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    timeouts: Timeouts,
    limits: Limits,
    listening: Listen,
    relay: Relay,
    preread: Preread,
}

/// Expands the one list of settings to a function that sets a value and one that reads all values back.
macro_rules! settings {
    ($($name:literal => $group:ident.$field:ident),* $(,)?) => {
        fn put(config: &mut Config, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
            match name {
                $($name => config.$group.$field = Value::from_python(name, value)?,)*
                _ => {
                    let message = format!("{name}: the native side has no such setting; there are {}", [$($name),*].join(", "));
                    return Err(Kind::Type.raise(value.py(), message));
                }
            }
            Ok(())
        }

        fn all<'py>(config: &Config, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
            let values = PyDict::new(py);
            $(values.set_item($name, config.$group.$field.to_python(py)?)?;)*
            Ok(values)
        }
    };
}

settings! {
    "half_close" => timeouts.half_close,
    "idle" => timeouts.idle,
    "unacknowledged" => timeouts.unacknowledged,
    "max_connections" => limits.max_connections,
    "backlog" => listening.backlog,
    "reuse_port" => listening.reuse_port,
    "log_connections" => listening.log_connections,
    "buffer_size" => relay.chunk,
    "inspect_limit" => relay.inspect_limit,
    "splice" => relay.splice,
    "coalesce" => relay.coalesce,
    "preread_limit" => preread.limit,
    "preread_timeout" => preread.timeout,
    "on_timeout" => preread.undecided,
}

impl Config {
    /// Puts the settings that may change while a server runs.
    pub(super) fn put_live(&self, timeouts: &mut Timeouts, limits: &mut Limits) {
        (*timeouts, *limits) = (self.timeouts.clone(), self.limits.clone());
    }
}

#[pymethods]
impl Config {
    #[new]
    #[pyo3(signature = (**values))]
    fn new(values: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut config = Self::default();
        for (name, value) in values.into_iter().flatten() {
            put(&mut config, &name.extract::<String>()?, &value)?;
        }
        Ok(config)
    }

    /// Returns every setting by its name, with the core's value.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        all(self, py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Config(**{})", self.values(py)?))
    }
}

impl Config {
    /// Returns `config` with these settings in place of its own.
    pub(super) fn over(&self, config: config::Config) -> config::Config {
        let Self { timeouts, limits, listening, relay, preread } = self.clone();
        config::Config { timeouts, limits, listening, relay, preread, ..config }
    }
}

/// A setting's value, converted from Python and back.
trait Value: Sized {
    fn from_python(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self>;

    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

impl Value for Option<Duration> {
    fn from_python(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        convert::seconds(value.py(), name, value.extract()?)
    }

    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Some(time) => PyFloat::new(py, time.as_secs_f64()).into_any(),
            None => py.None().into_bound(py),
        })
    }
}

impl Value for Undecided {
    fn from_python(_name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        // Every other word ends the client.
        Ok(if value.extract::<&str>()? == "pass" { Self::Default } else { Self::Refuse })
    }

    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let word = match self {
            Self::Default => "pass",
            Self::Refuse => "close",
        };
        word.into_bound_py_any(py)
    }
}

/// Implements [`Value`] for types that PyO3 converts.
macro_rules! plain {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            fn from_python(_name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
                value.extract()
            }

            fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.into_bound_py_any(py)
            }
        }
    )*};
}

plain!(bool, u32, usize, Option<usize>);

/// Implements [`Value`] for types that are a bool in Python: the first variant is True, the second False.
macro_rules! switch {
    ($($kind:ty: $on:path, $off:path);*) => {$(
        impl Value for $kind {
            fn from_python(_name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
                Ok(if value.extract()? { $on } else { $off })
            }

            fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(PyBool::new(py, *self != $off).to_owned().into_any())
            }
        }
    )*};
}

switch!(Splice: Splice::Streaming, Splice::Never; Coalesce: Coalesce::Streaming, Coalesce::Never);
