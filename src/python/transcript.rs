//! A record of what happened to connections, for Python, which reads it when it wants to know.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyList},
};

use super::{awaitable::awaitable, convert, errors, filters::Filter};
use crate::{
    inspect::filters::look::Look,
    taps::{
        capture::{
            connections::Sides,
            files::{Files, Rotation, Target},
            sink::{Capture, WHOLE},
        },
        event::{Event, EventKind, Place},
        queue::Missed,
        transcript,
        writer::Sink,
    },
    words::{
        direction::Both,
        error::{Error, ErrorKind},
    },
};

/// A record, which a server has as the first of its filters.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct Transcript {
    transcript: Arc<transcript::Transcript>,
}

/// An event: the seconds since 1970, its connection's number, its kind, its direction, true for bytes behind the hooks, their
/// place in the stream, and what belongs to it: bytes, a name, a close reason, a number of missed events; and a second text.
type Listed<'py> = (f64, u64, &'static str, &'static str, bool, u64, Bound<'py, PyAny>, Option<String>);

#[pymethods]
impl Transcript {
    /// Makes a record that takes at most `most` bytes of memory.
    #[new]
    fn new(most: usize) -> Self {
        Self { transcript: Arc::new(transcript::Transcript::new(most)) }
    }

    /// Returns the filter that records the connections of a server: what comes, and what is sent on.
    fn filter(&self) -> Filter {
        let (directions, places) = (Both { to_upstream: true, to_client: true }, vec![Place::In, Place::Out]);
        Filter::changing(Look { witness: self.transcript.clone(), directions, places, out_if_changed: false, messages: true })
    }

    /// The number of events so far.
    #[getter]
    fn count(&self) -> u64 {
        self.transcript.count()
    }

    /// Waits, detached from the interpreter, until there are more than `since` events, at most `limit` seconds. Returns their
    /// number.
    fn wait(&self, py: Python<'_>, since: u64, limit: f64) -> PyResult<u64> {
        let limit: Duration = convert::seconds(py, "limit", Some(limit))?.unwrap_or_default();
        Ok(py.detach(|| self.transcript.wait(since, limit)))
    }

    /// Returns an awaitable of the running loop: the number of events, once there are more than `since`.
    fn changed<'py>(&self, py: Python<'py>, since: u64) -> PyResult<Bound<'py, PyAny>> {
        let transcript = Arc::clone(&self.transcript);
        awaitable(py, async move { transcript.changed(since).await })
    }

    /// Returns the events from the number `since` on that are kept, and the number of the first.
    fn events<'py>(&self, py: Python<'py>, since: u64) -> PyResult<(u64, Bound<'py, PyList>)> {
        let (first, events) = self.transcript.events(since);
        let list = PyList::empty(py);
        for event in &events {
            list.append(listed(py, event)?)?;
        }
        Ok((first, list))
    }

    /// The events that found no room, and their bytes.
    #[getter]
    fn missed(&self) -> (u64, u64) {
        let Missed { events, bytes } = self.transcript.missed();
        (events, bytes)
    }

    /// Forgets the events so far.
    fn forget(&self) {
        self.transcript.forget();
    }

    /// Writes the events that are kept into a capture (pcapng).
    fn write_capture(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let (_, events) = self.transcript.events(0);
        py.detach(|| write(path, &events)).map_err(|error| errors::raise(py, &error))
    }
}

fn write(path: PathBuf, events: &[Event]) -> Result<(), Error> {
    let name = path.display().to_string();
    let unwritten = |error| Error::from_io(ErrorKind::Config, format!("capture {name}: it cannot be written"), error);
    let mut capture = Capture::new(Files::open(Target::Path(path), Rotation::default())?, WHOLE, Sides::Both, None)?;
    events.iter().try_for_each(|event| capture.event(event)).map_err(unwritten)?;
    capture.finish().map_err(unwritten)
}

fn listed<'py>(py: Python<'py>, event: &Event) -> PyResult<Listed<'py>> {
    let at = event.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let text = |value: String| Ok::<_, PyErr>(value.into_pyobject(py)?.into_any());
    let nothing = || py.None().into_bound(py);
    let (kind, direction, behind, place, what, more) = match &event.kind {
        EventKind::Opened { client, local, .. } => ("opened", "", false, 0, text(client.to_string())?, Some(local.to_string())),
        EventKind::Connected { upstream, local } => {
            ("connected", "", false, 0, text(upstream.to_string())?, Some(local.to_string()))
        }
        EventKind::Data { direction, place, offset, bytes } => {
            ("data", direction.word(), *place == Place::Out, *offset, PyBytes::new(py, bytes).into_any(), None)
        }
        EventKind::End { direction, place, .. } => ("end", direction.word(), *place == Place::Out, 0, nothing(), None),
        EventKind::Struck { direction, fault } => ("fault", direction.word(), false, 0, text(fault.to_string())?, None),
        EventKind::Closed { reason, error, .. } => ("closed", "", false, 0, text(reason.word().to_owned())?, error.clone()),
        EventKind::Missed { events, .. } => ("missed", "", false, 0, events.into_pyobject(py)?.into_any(), None),
    };
    Ok((at, event.connection.number, kind, direction, behind, place, what, more))
}
