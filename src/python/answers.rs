//! What a callback's answer means.

use std::fmt;

use bytes::Bytes;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBool, PyBytes, PyList, PyMemoryView, PyTuple},
};

use super::{forward::Forward, outgoing::Outgoing};
use crate::hooks::{Decision, EndVerdict, Verdict};

/// Bytes that Python gave: a `bytes` object is kept as it is, of anything else that has a buffer a copy is made.
/// `None` if it has none.
pub(super) fn bytes_of(value: &Bound<'_, PyAny>) -> Option<Bytes> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(owned(bytes));
    }
    // A view gives the bytes of a buffer of any shape in order; text and numbers have no buffer.
    let copy = PyMemoryView::from(value).ok()?.call_method0("tobytes").ok()?;
    copy.cast::<PyBytes>().ok().map(owned)
}

fn owned(bytes: &Bound<'_, PyBytes>) -> Bytes {
    Bytes::from_owner(PyBackedBytes::from(bytes.clone()))
}

/// A bytes-like object, or several in a list or tuple; else what there is instead.
fn buffers_of(value: &Bound<'_, PyAny>) -> Result<Vec<Bytes>, String> {
    let items: Vec<Bound<'_, PyAny>> = if let Ok(list) = value.cast::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        tuple.iter().collect()
    } else {
        return bytes_of(value).map(|bytes| vec![bytes]).ok_or_else(|| kind_of(value));
    };
    let within = |item: &Bound<'_, PyAny>| format!("a {} with {} in it", kind_of(value), kind_of(item));
    items.iter().map(|item| bytes_of(item).ok_or_else(|| within(item))).collect()
}

/// The name of a value's class, inert on a terminal.
fn kind_of(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string());
    crate::error::printable(&kind)
}

fn wrong(name: &dyn fmt::Display, given: &Bound<'_, PyAny>, found: &str, wanted: &str) -> PyErr {
    let hint = match kind_of(given).as_str() {
        "coroutine" => {
            // Python would complain later, and elsewhere, that nobody awaited it.
            let _ = given.call_method0("close");
            "; callbacks run outside of asyncio: give a plain def"
        }
        "int" => "; send() returns a number: return b\"\" after it",
        "str" => "; make bytes of it with encode()",
        _ => "",
    };
    PyTypeError::new_err(format!("{name} returned {found}, not {wanted}{hint}"))
}

/// `on_recv`: `arguments` are what it was called with, the chunk last.
pub(super) fn verdict(name: &dyn fmt::Display, given: Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<Verdict> {
    if given.is_none() || arguments.get_borrowed_item(1).is_ok_and(|chunk| chunk.is(&given)) {
        return Ok(Verdict::Pass);
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(if bytes.as_bytes().is_empty() { Verdict::Drop } else { Verdict::Replace(vec![owned(bytes)]) });
    }
    match buffers_of(&given) {
        Ok(instead) if instead.iter().all(Bytes::is_empty) => Ok(Verdict::Drop),
        Ok(instead) => Ok(Verdict::Replace(instead)),
        Err(found) => {
            let wanted = "None (pass it on), bytes or a list of bytes (send that instead; b\"\" drops it)";
            Err(wrong(name, &given, &found, wanted))
        }
    }
}

/// `on_eof`.
pub(super) fn end_verdict(name: &dyn fmt::Display, given: &Bound<'_, PyAny>) -> PyResult<EndVerdict> {
    if given.is_none() {
        return Ok(EndVerdict::Pass(Vec::new()));
    }
    if given.cast::<PyBool>().is_ok_and(|answer| !answer.is_true()) {
        return Ok(EndVerdict::Withhold);
    }
    let wanted = "None (pass the end on), bytes (send that before it) or False (withhold it)";
    buffers_of(given).map(EndVerdict::Pass).map_err(|found| wrong(name, given, &found, wanted))
}

/// `on_accept`, whose answer the façade has brought into one of these forms.
pub(super) fn decision(name: &dyn fmt::Display, given: &Bound<'_, PyAny>) -> PyResult<Decision> {
    if given.is_none() {
        return Ok(Decision::Default);
    }
    if let Ok(answer) = given.cast::<PyBool>() {
        return Ok(if answer.is_true() { Decision::Nowhere } else { Decision::Refuse });
    }
    if let Ok(forward) = given.cast::<Forward>() {
        return Ok(Decision::Forward(forward.get().0.clone()));
    }
    if let Ok(outgoing) = given.cast::<Outgoing>() {
        return Ok(outgoing.get().take().map_or(Decision::Refuse, Decision::Connected));
    }
    Err(wrong(name, given, &kind_of(given), "None (use forward_to), a Forward or an address (go there) or False (refuse)"))
}

/// A callback whose answer has no meaning.
pub(super) fn nothing(name: &dyn fmt::Display, given: &Bound<'_, PyAny>) -> PyResult<()> {
    if kind_of(given) == "coroutine" {
        return Err(wrong(name, given, "coroutine", "None"));
    }
    Ok(())
}
