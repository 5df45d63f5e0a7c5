//! Filters that rewrite what passes, and that look for something in it, for Python.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;

use super::{
    convert,
    errors::Kind,
    filters::{Directions, Filter},
};
use crate::{
    inspect::filters::{replace::Replace, rewrite::Rewrite},
    matching::{expression::Expression, matcher::Matcher},
    taps::{event::Place, grep::Grep},
    words::{direction::Both, error::printable},
};

fn replaced(
    py: Python<'_>,
    made: Result<Rewrite, String>,
    (to_upstream, to_client): Directions,
    count: Option<u64>,
    hold: f64,
) -> PyResult<Filter> {
    let mut rewrite = made.map_err(|error| Kind::Config.raise(py, error))?;
    rewrite.count = count;
    rewrite.hold = convert::seconds(py, "hold", Some(hold))?.unwrap_or_default();
    Ok(Filter::changing(Replace { rewrite: Arc::new(rewrite), directions: Both { to_upstream, to_client } }))
}

/// Returns the filter that replaces bytes, each first of a pair by its second.
#[pyfunction]
pub(super) fn replace(
    py: Python<'_>,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    directions: Directions,
    count: Option<u64>,
    hold: f64,
) -> PyResult<Filter> {
    let pairs = pairs.into_iter().map(|(old, new)| (Bytes::from(old), Bytes::from(new))).collect();
    let made = Rewrite::literals(pairs).map_err(|error| format!("old: {error}"));
    replaced(py, made, directions, count, hold)
}

/// Returns the filter that replaces what an expression matches.
#[pyfunction]
pub(super) fn replace_regex(
    py: Python<'_>,
    pattern: Vec<u8>,
    replacement: Vec<u8>,
    directions: Directions,
    count: Option<u64>,
    hold: f64,
) -> PyResult<Filter> {
    replaced(py, Rewrite::expression(&pattern, &replacement), directions, count, hold)
}

/// Returns the filter that shows others the connections in which one of the expressions matches.
#[pyfunction]
pub(super) fn grep(
    py: Python<'_>,
    patterns: Vec<Vec<u8>>,
    directions: Directions,
    most: usize,
    shown: Vec<PyRef<'_, Filter>>,
) -> PyResult<Filter> {
    // Each by itself: flags and comments of one are no part of another.
    let matcher = |pattern: &Vec<u8>| match Expression::new(pattern) {
        Ok(expression) => Ok(Matcher::Expression(Box::new(expression))),
        Err(error) if patterns.len() > 1 => Err(format!("pattern {}: {error}", printable(&String::from_utf8_lossy(pattern)))),
        Err(error) => Err(format!("pattern: {error}")),
    };
    let matchers: Result<Vec<_>, _> = patterns.iter().map(matcher).collect();
    let matchers = matchers.map_err(|error| Kind::Config.raise(py, error))?;
    let targets: Vec<_> = shown.iter().filter_map(|filter| filter.core().target()).collect();
    let places: Vec<Place> =
        [Place::In, Place::Out].into_iter().filter(|place| targets.iter().any(|target| target.places.contains(place))).collect();
    let (to_upstream, to_client) = directions;
    let sink = Grep::new(matchers, Both { to_upstream, to_client }, most, targets);
    Filter::looking(py, "Grep".to_owned(), sink, (true, true), (&places, false))
}
