//! The answers of callbacks, read from Python objects and checked.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBool, PyBytes, PyList, PyTuple, PyType},
};

use super::{
    data::{self, Unfit, kind_of},
    forward::Forward,
    outgoing::Outgoing,
    tls::Tls,
};
use crate::hooks::{Decision, EndVerdict, HelloDecision, Verdict};

/// The answers that a hook accepts, and the advice for a number, which is most often the result of `send()`.
struct Wanted {
    text: &'static str,
    after_send: &'static str,
}

const OF_RECV: Wanted = Wanted {
    text: "None (pass it on), bytes or a list of bytes (send that instead; b\"\" drops it)",
    after_send: "return b\"\"",
};
const OF_EOF: Wanted =
    Wanted { text: "None (pass the end on), bytes (send that before it) or False (withhold it)", after_send: "return None" };
const OF_ACCEPT: Wanted =
    Wanted { text: "None (use forward_to), a Forward or an address (go there) or False (refuse)", after_send: "return None" };
const OF_HELLO: Wanted = Wanted {
    text: "None (as the server is set up), interpose.PASS (undecrypted), a Forward or an address (go there), a Tls (decrypt \
           with that) or False (refuse)",
    after_send: "return None",
};
const NOTHING: Wanted = Wanted { text: "None", after_send: "return None" };

/// Returns advice on the answer `given`, of which `part` was wrong.
fn hint(given: &Bound<'_, PyAny>, part: &Bound<'_, PyAny>, wanted: &Wanted) -> String {
    let text = match (kind_of(part).as_str(), part.is(given)) {
        ("coroutine", true) => {
            // Closed, because Python would complain later, and elsewhere, that the coroutine was never awaited.
            let _ = given.call_method0("close");
            "it was not awaited: await it, in an async def"
        }
        ("coroutine", false) => "await it: give bytes that are there already",
        ("generator" | "async_generator", _) => "a callback with a yield in it makes a generator: return a list",
        ("int", true) => return format!("; send() returns a number: {} after it", wanted.after_send),
        ("int", false) => "bytes(numbers) makes bytes of a list of numbers",
        ("bool", _) => "True and False say nothing here",
        ("str", _) => "make bytes of it with encode()",
        ("NoneType", false) => "leave it out of the list",
        ("list" | "tuple", false) => "give one list, without lists in it",
        ("dict", _) => "make bytes of it, such as json.dumps(value).encode()",
        ("set" | "frozenset", _) => "a set has no order: give a list",
        _ => return String::new(),
    };
    format!("; {text}")
}

fn wrong(name: &dyn fmt::Display, given: &Bound<'_, PyAny>, unfit: Unfit<'_>, wanted: &Wanted) -> PyErr {
    let py = given.py();
    let found =
        if unfit.value().is(given) { unfit.found() } else { format!("a {} with {} in it", kind_of(given), unfit.found()) };
    let hint = match unfit {
        Unfit::Raised(_, error) => {
            // The exception of the object's own code is kept; a note about its origin is added.
            let _ = error.value(py).call_method1("add_note", (format!("{name} returned {found}, whose buffer raised this"),));
            return error;
        }
        Unfit::Addresses(_) => "; send what they refer to".to_owned(),
        Unfit::Kind(part) => hint(given, &part, wanted),
    };
    PyTypeError::new_err(format!("{name} returned {found}, not {}{hint}", wanted.text))
}

/// Returns the answer of `on_recv`, whose arguments are a side and a chunk.
#[inline]
pub(super) fn verdict(name: &dyn fmt::Display, given: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<Verdict> {
    if given.is_none() || arguments.get_borrowed_item(1).is_ok_and(|chunk| chunk.is(given)) {
        return Ok(Verdict::Pass);
    }
    instead(name, given, data::parts_of(given))
}

/// Returns the answer of `on_recv` to a message in which a length field is set: each item of a list is a message.
pub(super) fn verdict_of_messages(
    name: &dyn fmt::Display,
    given: &Bound<'_, PyAny>,
    arguments: &Bound<'_, PyTuple>,
) -> PyResult<Verdict> {
    if given.is_none() || arguments.get_borrowed_item(1).is_ok_and(|message| message.is(given)) {
        return Ok(Verdict::Pass);
    }
    instead(name, given, data::items_of(given))
}

#[inline]
fn instead(name: &dyn fmt::Display, given: &Bound<'_, PyAny>, parts: Result<Vec<Bytes>, Unfit<'_>>) -> PyResult<Verdict> {
    match parts {
        Ok(instead) if instead.is_empty() => Ok(Verdict::Drop),
        Ok(instead) => Ok(Verdict::Replace(instead)),
        Err(unfit) => Err(wrong(name, given, unfit, &OF_RECV)),
    }
}

/// Returns the answer of `on_eof`.
pub(super) fn end_verdict(name: &dyn fmt::Display, given: &Bound<'_, PyAny>, _: &Bound<'_, PyTuple>) -> PyResult<EndVerdict> {
    if given.is_none() {
        return Ok(EndVerdict::Pass(Vec::new()));
    }
    if given.cast::<PyBool>().is_ok_and(|answer| !answer.is_true()) {
        return Ok(EndVerdict::Withhold);
    }
    data::parts_of(given).map(EndVerdict::Pass).map_err(|unfit| wrong(name, given, unfit, &OF_EOF))
}

/// Returns the answer of `on_accept`, which the façade has converted to one of these forms.
pub(super) fn decision(name: &dyn fmt::Display, given: &Bound<'_, PyAny>, _: &Bound<'_, PyTuple>) -> PyResult<Decision> {
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
    Err(wrong(name, given, Unfit::Kind(given.clone()), &OF_ACCEPT))
}

/// Returns the answer of `on_client_hello`, which the façade has converted to one of these forms.
pub(super) fn hello_decision(
    name: &dyn fmt::Display,
    given: &Bound<'_, PyAny>,
    _: &Bound<'_, PyTuple>,
) -> PyResult<HelloDecision> {
    if given.is_none() {
        return Ok(HelloDecision::Default);
    }
    if let Ok(answer) = given.cast::<PyBool>() {
        return Ok(if answer.is_true() { HelloDecision::Pass } else { HelloDecision::Refuse });
    }
    if let Ok(forward) = given.cast::<Forward>() {
        return Ok(HelloDecision::Forward(forward.get().0.clone()));
    }
    if let Ok(tls) = given.cast::<Tls>() {
        return Ok(HelloDecision::Terminate(Arc::clone(&tls.get().0)));
    }
    Err(wrong(name, given, Unfit::Kind(given.clone()), &OF_HELLO))
}

/// Returns the answer of `on_preread`, which the façade has converted to one of these forms; `None` if it asks for more bytes.
pub(super) fn preread(
    name: &dyn fmt::Display,
    given: &Bound<'_, PyAny>,
    arguments: &Bound<'_, PyTuple>,
) -> PyResult<Option<Decision>> {
    if given.is(given.py().Ellipsis()) {
        return Ok(None);
    }
    decision(name, given, arguments).map(Some)
}

/// Returns true if an answer of a plain callback is to be awaited. Answers that are bytes or lists cost no search.
#[inline]
pub(super) fn may_be_awaited(given: &Bound<'_, PyAny>) -> bool {
    !given.is_exact_instance_of::<PyBytes>() && !given.is_exact_instance_of::<PyList>() && is_awaitable(given)
}

/// Returns true if the object can be awaited.
pub(super) fn is_awaitable(given: &Bound<'_, PyAny>) -> bool {
    let kind = given.get_type();
    is_coroutine(&kind) || (!given.is_none() && kind.hasattr(intern!(given.py(), "__await__")).unwrap_or(false))
}

/// Returns true for the class of what coroutine functions return.
#[inline]
pub(super) fn is_coroutine(kind: &Bound<'_, PyType>) -> bool {
    static KIND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = kind.py();
    let coroutine = KIND.get_or_try_init(py, || Ok::<_, PyErr>(py.import("types")?.getattr("CoroutineType")?.unbind()));
    coroutine.is_ok_and(|coroutine| kind.is(coroutine.bind(py)))
}

/// Checks the answer of a callback whose answer has no meaning: any object but a coroutine is accepted.
pub(super) fn nothing(name: &dyn fmt::Display, given: &Bound<'_, PyAny>, _: &Bound<'_, PyTuple>) -> PyResult<()> {
    if kind_of(given) == "coroutine" {
        return Err(wrong(name, given, Unfit::Kind(given.clone()), &NOTHING));
    }
    Ok(())
}
