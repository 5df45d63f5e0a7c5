//! A framing as a value, for Python.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBool, PyBytes, PyInt, PyList},
};

use super::{
    data::{self, kind_of},
    errors::{self, Kind},
    view,
};
use crate::{
    inspect::framing::{self, Broken, Cut, Framer, FramingErrors, FramingPair, FramingRules},
    words::{
        direction::{Both, Direction},
        error::{Error, printable},
        lock::EvenPoisoned,
    },
};

/// A protocol with its arguments.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Framing(Cutter);

enum Cutter {
    /// A framing of the core.
    Core(Arc<dyn framing::Framing>),
    /// A function of the user's.
    Function(Py<PyAny>),
}

impl Framing {
    fn of(core: impl framing::Framing + 'static) -> Self {
        Self(Cutter::Core(Arc::new(core)))
    }

    fn checked(py: Python<'_>, core: Result<impl framing::Framing + 'static, Error>) -> PyResult<Self> {
        core.map(Self::of).map_err(|error| errors::raise(py, &error))
    }

    /// Returns the framing of the core, if it is one.
    pub(super) fn core(&self) -> Option<Arc<dyn framing::Framing>> {
        match &self.0 {
            Cutter::Core(core) => Some(Arc::clone(core)),
            Cutter::Function(_) => None,
        }
    }

    /// Returns the function of the user's, if it is one.
    pub(super) fn function(&self) -> Option<&Py<PyAny>> {
        match &self.0 {
            Cutter::Core(_) => None,
            Cutter::Function(function) => Some(function),
        }
    }
}

/// The framing of each direction: of what the client sends, and of what the upstream sends.
pub(super) type Framings = (Option<Py<Framing>>, Option<Py<Framing>>);

/// Returns the limits of messages. `unframes` says that an error ends the framing of its direction and no connection.
pub(super) fn rules(max_message: usize, unframes: bool) -> FramingRules {
    let errors = if unframes { FramingErrors::Chunk } else { FramingErrors::Close };
    FramingRules { max_message, errors }
}

/// Returns true if a function of the user's is among `framings`.
pub(super) fn has_function((of_client, of_upstream): &Framings) -> bool {
    let is_function = |framing: &Option<Py<Framing>>| framing.as_ref().is_some_and(|framing| framing.get().core().is_none());
    is_function(of_client) || is_function(of_upstream)
}

/// Returns the framing with which messages are read before the relay: the core's. A function of the user's needs the lane.
pub(super) fn pair_for_reads((of_client, of_upstream): &Framings) -> FramingPair {
    let core = |framing: &Option<Py<Framing>>| framing.as_ref().and_then(|framing| framing.get().core());
    FramingPair { of_client: core(of_client), of_upstream: core(of_upstream) }
}

/// The framer that was made for one direction together with that of the other, with which it shares its state.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct OtherFramer {
    of: Arc<dyn framing::Framing>,
    framer: Mutex<Option<Box<dyn Framer>>>,
    direction: Direction,
}

impl OtherFramer {
    pub(super) fn new(of: Arc<dyn framing::Framing>, framer: Box<dyn Framer>, direction: Direction) -> Self {
        Self { of, framer: Mutex::new(Some(framer)), direction }
    }

    /// Takes the framer of `direction`, if it is one of `of`.
    pub(super) fn take(&self, of: &Arc<dyn framing::Framing>, direction: Direction) -> Option<Box<dyn Framer>> {
        let is_it = self.direction == direction && Arc::ptr_eq(&self.of, of);
        is_it.then(|| self.framer.lock().even_poisoned().take()).flatten()
    }
}

#[pymethods]
impl Framing {
    #[staticmethod]
    fn lines() -> Self {
        Self::of(framing::Lines)
    }

    #[staticmethod]
    fn delimited(py: Python<'_>, delimiter: &[u8]) -> PyResult<Self> {
        Self::checked(py, framing::Delimited::new(delimiter))
    }

    #[staticmethod]
    fn fixed(py: Python<'_>, n: u64) -> PyResult<Self> {
        Self::checked(py, framing::Fixed::new(n))
    }

    #[staticmethod]
    fn length_prefixed(py: Python<'_>, width: u64, offset: u64, is_big: bool, adjust: i64) -> PyResult<Self> {
        let order = if is_big { framing::ByteOrder::Big } else { framing::ByteOrder::Little };
        Self::checked(py, framing::LengthPrefixed::new(width, offset, order, adjust))
    }

    #[staticmethod]
    fn varint() -> Self {
        Self::of(framing::Varint)
    }

    #[staticmethod]
    fn tls_records() -> Self {
        Self::of(framing::TlsRecords)
    }

    #[staticmethod]
    fn resp() -> Self {
        Self::of(framing::Resp)
    }

    #[staticmethod]
    fn postgres() -> Self {
        Self::of(framing::Postgres)
    }

    #[staticmethod]
    fn mysql() -> Self {
        Self::of(framing::Mysql)
    }

    #[staticmethod]
    fn mqtt() -> Self {
        Self::of(framing::Mqtt)
    }

    #[staticmethod]
    fn modbus() -> Self {
        Self::of(framing::Modbus)
    }

    #[staticmethod]
    fn dns() -> Self {
        Self::of(framing::Dns)
    }

    #[staticmethod]
    fn http1() -> Self {
        Self::of(framing::Http1)
    }

    #[staticmethod]
    fn custom(function: Py<PyAny>) -> Self {
        Self(Cutter::Function(function))
    }

    /// Cuts `data` as the stream of one side of a new connection. Returns the messages, and as the last item what is left.
    fn split<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>, client: bool) -> PyResult<Bound<'py, PyList>> {
        let data = data::bytes_of(data).map_err(|unfit| unfit.into_error(py))?;
        let direction = if client { Direction::ToUpstream } else { Direction::ToClient };
        let (parts, mut rest) = (PyList::empty(py), data);
        let mut cut: Cuts<'_> = match &self.0 {
            Cutter::Core(core) => {
                let mut framer = one_of(core.framers(), direction);
                let mut offset = 0;
                Box::new(move |rest| match framer.cut(rest, 0) {
                    Ok(Cut::Message(length)) => {
                        offset += length;
                        Ok(Some(length))
                    }
                    Ok(Cut::More { .. } | Cut::Unframed) => Ok(None),
                    Err(broken) => Err(breaks(py, &*framer, offset, &broken)),
                })
            }
            Cutter::Function(function) => {
                let function = function.bind(py);
                Box::new(move |rest| {
                    let answer = function.call1((view::view_of(py, &rest.clone().into())?,))?;
                    length_of(function, &answer, rest.len())
                })
            }
        };
        while !rest.is_empty() {
            let Some(length) = cut(&rest)? else { break };
            parts.append(PyBytes::new(py, &rest.split_to(length)))?;
        }
        parts.append(PyBytes::new(py, &rest))?;
        Ok(parts)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.0 {
            Cutter::Core(_) => Ok(()),
            Cutter::Function(function) => visit.call(function),
        }
    }
}

/// Returns the length of the message at the beginning of bytes, if it is whole.
type Cuts<'a> = Box<dyn FnMut(&Bytes) -> PyResult<Option<usize>> + 'a>;

fn one_of(framers: Both<Box<dyn Framer>>, direction: Direction) -> Box<dyn Framer> {
    match direction {
        Direction::ToUpstream => framers.to_upstream,
        Direction::ToClient => framers.to_client,
    }
}

/// Returns the exception for data that break the protocol behind `offset` bytes of whole messages.
fn breaks(py: Python<'_>, framer: &dyn Framer, offset: usize, broken: &Broken) -> PyErr {
    let (protocol, at, expected) = (framer.protocol(), offset + broken.offset, &broken.expected);
    Kind::Framing.raise(py, format!("{protocol}, byte {at}: expected {expected}; cut with the framing that the bytes have"))
}

/// Returns the length that the function has answered about `has` bytes, or the exception for an answer that is none.
pub(super) fn length_of(function: &Bound<'_, PyAny>, answer: &Bound<'_, PyAny>, has: usize) -> PyResult<Option<usize>> {
    const WANTED: &str = "the number of bytes of the message, or None while more have to come";
    if answer.is_none() {
        return Ok(None);
    }
    if !answer.is_instance_of::<PyInt>() || answer.is_instance_of::<PyBool>() {
        if kind_of(answer) == "coroutine" {
            // Closed, because Python would complain later that the coroutine was never awaited.
            let _ = answer.call_method0("close");
        }
        let message = format!("{} returned {}, not {WANTED}", name_of(function), kind_of(answer));
        return Err(PyTypeError::new_err(message));
    }
    let wrong = |what: &str, advice: &str| {
        let message = format!("{} returned {what} for {has} bytes; return {advice}", name_of(function));
        Err(PyValueError::new_err(message))
    };
    match answer.extract::<i64>().map(usize::try_from) {
        Ok(Ok(0)) => wrong("0", "the length of the message with all that belongs to it, or None while more have to come"),
        Ok(Ok(length)) if length <= has => Ok(Some(length)),
        Ok(Ok(length)) => wrong(&length.to_string(), "None until the whole message is there"),
        Ok(Err(_)) => wrong("a negative number", WANTED),
        Err(_) => wrong("a number of more than 63 bits", "None until the whole message is there"),
    }
}

fn name_of(function: &Bound<'_, PyAny>) -> String {
    let name = function.getattr("__qualname__").and_then(|name| name.extract::<String>());
    name.map_or_else(|_| kind_of(function), |name| printable(&name))
}
