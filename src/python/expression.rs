//! Regular expressions in time in proportion to the bytes, for Python.

use pyo3::prelude::*;

use super::errors::Kind;
use crate::matching::whole::Whole;

/// A regular expression of bytes, as filters and faults have it.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Expression(Whole);

#[pymethods]
impl Expression {
    /// Compiles a pattern. `name` is what it is given as.
    #[new]
    fn new(py: Python<'_>, name: &str, pattern: Vec<u8>) -> PyResult<Self> {
        Whole::new(&pattern).map(Self).map_err(|error| Kind::Config.raise(py, format!("{name}: {error}")))
    }

    /// Returns the places of all matches in `data`, from `begin` to `end`, in their order.
    fn find_all(&self, py: Python<'_>, data: &[u8], begin: usize, end: usize) -> Vec<(usize, usize)> {
        let hay = &data[..end.min(data.len())];
        py.detach(|| {
            let (mut found, mut from) = (Vec::new(), begin);
            while let Some(range) = (from <= hay.len()).then(|| self.0.expression().find(hay, from)).flatten() {
                from = range.end;
                found.push((range.start, range.end));
            }
            found
        })
    }

    /// Returns true if all of `data` is a match.
    fn is_whole(&self, py: Python<'_>, data: &[u8]) -> bool {
        py.detach(|| self.0.first_end(data, |at| at == data.len()).is_some())
    }

    /// Returns the first end of a match with which `data` begins and behind which lies `behind`, or None. The end of the
    /// preferred match if `behind` is empty.
    fn end_before(&self, py: Python<'_>, data: &[u8], behind: &[u8]) -> Option<usize> {
        py.detach(|| {
            if behind.is_empty() {
                let found = self.0.expression().find(data, 0)?;
                return (found.start == 0).then_some(found.end);
            }
            self.0.first_end(data, |at| at > 0 && data[at..].starts_with(behind))
        })
    }

    /// Returns true if no match with which `data` begins has `behind` behind it, whatever bytes follow.
    fn is_hopeless(&self, py: Python<'_>, data: &[u8], behind: &[u8]) -> bool {
        py.detach(|| self.0.is_hopeless(data, behind))
    }
}
