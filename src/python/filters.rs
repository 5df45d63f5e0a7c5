//! Filters, for Python. A filter that only looks has a tap, whose thread never attaches to the interpreter.
#![allow(unsafe_code)] // The descriptor of an output, which the script has opened.

use std::{fs::File, io, sync::Arc, time::Duration};

use pyo3::prelude::*;

use super::{convert, errors::Kind, framing::Framing, handle};
use crate::{
    inspect::filters::{self, gate, look::Look, messages::Messages},
    live::inbox::Refused,
    taps::{
        event::Place,
        output::Output,
        queue::{Missed, Queue},
        sinks::{Hexdump, HexdumpStyle, JsonLines, LineStyle, Render, Rendered, Text},
        writer::{Sink, Tap},
    },
    words::direction::Both,
};

/// A filter, which several servers may share.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Filter {
    filter: Arc<dyn filters::Filter>,
    /// The tap of a filter that only looks. Connections have it, too, so that it goes on while they live.
    tap: Option<Arc<Tap>>,
}

/// The directions that a filter concerns, to the upstream and to the client.
pub(super) type Directions = (bool, bool);

impl Filter {
    /// Returns a filter that shows connections to a sink. `name` stands in log lines.
    pub(super) fn looking(
        py: Python<'_>,
        name: String,
        sink: impl Sink + 'static,
        directions: Directions,
        (places, out_if_changed): (&[Place], bool),
    ) -> PyResult<Self> {
        let failed =
            |error: io::Error| Kind::Thread.raise(py, format!("thread interpose-tap: {error}; raise the limit of processes"));
        let tap = Arc::new(Tap::start(name, Queue::default(), sink).map_err(failed)?);
        let (to_upstream, to_client) = directions;
        let (directions, places) = (Both { to_upstream, to_client }, places.to_vec());
        let look = Look { witness: Arc::clone(&tap) as _, directions, places, out_if_changed, messages: false };
        Ok(Self { filter: Arc::new(look), tap: Some(tap) })
    }

    /// Returns a filter that only changes what passes.
    pub(super) fn changing(filter: impl filters::Filter + 'static) -> Self {
        Self { filter: Arc::new(filter), tap: None }
    }

    /// Returns the filter of the core.
    pub(super) fn core(&self) -> &dyn filters::Filter {
        &*self.filter
    }

    fn rendering(
        py: Python<'_>,
        output: (String, i64),
        render: impl Render + 'static,
        directions: Directions,
        framing: Option<&Framing>,
    ) -> PyResult<Self> {
        Self::rendering_at(py, output, render, directions, (&[Place::In], false), framing)
    }

    fn rendering_at(
        py: Python<'_>,
        (name, descriptor): (String, i64),
        render: impl Render + 'static,
        directions: Directions,
        places: (&[Place], bool),
        framing: Option<&Framing>,
    ) -> PyResult<Self> {
        let sink = Rendered::new(render, Output::new(copy_of(descriptor)?));
        match framing.map(Framing::core) {
            None => Self::looking(py, name, sink, directions, places),
            Some(Some(framing)) => {
                let (to_upstream, to_client) = directions;
                // What one direction says may depend on the other.
                let looked_at = if framing.needs_both() { (true, true) } else { directions };
                let messages = Messages::new(sink, framing).only(Both { to_upstream, to_client });
                Self::looking(py, name, messages, looked_at, places)
            }
            Some(None) => {
                let message = "framing: a custom one calls Python, which what looks does not; give another, or leave it out";
                Err(Kind::Type.raise(py, message))
            }
        }
    }
}

/// Two gates, one for each direction: what passes stops before one that is shut, and its source meets backpressure.
#[pyclass(frozen, module = "interpose._native")]
#[derive(Default)]
pub(super) struct Gate(Arc<gate::Gate>);

#[pymethods]
impl Gate {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Returns the filter that has these gates.
    fn filter(&self) -> Filter {
        Filter::changing(gate::Gated(Arc::clone(&self.0)))
    }

    /// Shuts or opens the gate of one direction. The connections of a server notice it with the next bytes, or when it wakes
    /// them.
    fn shut(&self, to_upstream: bool, is_shut: bool) {
        self.0.shut(handle::direction(to_upstream), is_shut);
    }
}

/// Returns the filters of a server or a side.
pub(super) fn list(filters: &[PyRef<'_, Filter>]) -> filters::Filters {
    filters.iter().map(|filter| Arc::clone(&filter.filter)).collect()
}

/// Returns a file with its own copy of a descriptor that the caller keeps open meanwhile; on Windows of a handle.
pub(super) fn copy_of(descriptor: i64) -> io::Result<File> {
    #[cfg(unix)]
    {
        let descriptor = i32::try_from(descriptor).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: the caller's descriptor is open for the length of this call; what is kept is a copy of it.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned().map(File::from)
    }
    #[cfg(windows)]
    {
        let handle = descriptor as isize as std::os::windows::io::RawHandle;
        // SAFETY: as above, for the caller's handle.
        unsafe { std::os::windows::io::BorrowedHandle::borrow_raw(handle) }.try_clone_to_owned().map(File::from)
    }
}

#[pymethods]
impl Filter {
    #[staticmethod]
    fn hexdump(
        py: Python<'_>,
        output: (String, i64),
        style: (bool, i64),
        size: (usize, Option<usize>),
        directions: Directions,
        framing: Option<&Framing>,
    ) -> PyResult<Self> {
        let ((color, utc_offset), (width, truncate)) = (style, size);
        let style = HexdumpStyle { line: LineStyle { color, utc_offset }, width, truncate };
        Self::rendering(py, output, Hexdump::new(style), directions, framing)
    }

    #[staticmethod]
    fn text(
        py: Python<'_>,
        output: (String, i64),
        style: (bool, i64),
        truncate: Option<usize>,
        directions: Directions,
        framing: Option<&Framing>,
    ) -> PyResult<Self> {
        let (color, utc_offset) = style;
        Self::rendering(py, output, Text::new(LineStyle { color, utc_offset }, truncate), directions, framing)
    }

    #[staticmethod]
    fn json_lines(py: Python<'_>, output: (String, i64), directions: Directions, framing: Option<&Framing>) -> PyResult<Self> {
        Self::rendering(py, output, JsonLines, directions, framing)
    }

    /// Returns a filter that records what replays need: the bytes as they came, and as they are sent on where something may
    /// change them.
    #[staticmethod]
    fn record(py: Python<'_>, output: (String, i64), framing: Option<&Framing>) -> PyResult<Self> {
        Self::rendering_at(py, output, JsonLines, (true, true), (&[Place::In, Place::Out], true), framing)
    }

    /// Takes no more events, and waits, detached from the interpreter, until those before are written: at most `limit`
    /// seconds. Returns true if they are.
    fn finish(&self, py: Python<'_>, limit: f64) -> PyResult<bool> {
        let limit: Duration = convert::seconds(py, "limit", Some(limit))?.unwrap_or_default();
        Ok(py.detach(|| self.tap.as_ref().is_none_or(|tap| tap.finish(limit))))
    }

    /// Waits, detached from the interpreter, until everything that was seen before is written: at most `limit` seconds.
    /// Returns true if it is, or never will be.
    fn settle(&self, py: Python<'_>, limit: f64) -> PyResult<bool> {
        let limit: Duration = convert::seconds(py, "limit", Some(limit))?.unwrap_or_default();
        Ok(py.detach(|| self.tap.as_ref().is_none_or(|tap| tap.settle(limit))))
    }

    /// True if connections show what passes to this filter, or another filter does.
    #[getter]
    fn is_in_use(&self) -> bool {
        // This one and its filter have it anyway.
        self.tap.as_ref().is_some_and(|tap| Arc::strong_count(tap) > 2)
    }

    /// The events that were left out so far, and their bytes.
    #[getter]
    fn missed(&self) -> (u64, u64) {
        let Missed { events, bytes } = self.tap.as_deref().map(Tap::missed).unwrap_or_default();
        (events, bytes)
    }
}

/// Puts filters in the places of those before, for what one side of a connection sends.
#[pyfunction]
pub(super) fn set_filters(
    py: Python<'_>,
    connection: &handle::Connection,
    to_upstream: bool,
    filters: Vec<PyRef<'_, Filter>>,
) -> PyResult<()> {
    let connection = connection.task(py)?;
    match connection.set_filters(handle::direction(to_upstream), list(&filters)) {
        // Nothing comes there any more.
        Ok(()) | Err(Refused::Ended) => Ok(()),
        Err(Refused::Full) => {
            let id = connection.id();
            let message =
                format!("filters: 64 changes wait on connection {id}, from which nothing is read meanwhile; set them once");
            Err(Kind::Full.raise(py, message))
        }
    }
}
