//! A fault as a value, for Python.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::inspect::faults::set;

/// A fault, which several servers may share.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Fault(pub Arc<set::Fault>);
