//! Captures: those that filters write, and those that are read, for `interpose inspect`.

use std::{mem, num::NonZeroUsize, path::PathBuf};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyList},
};

use super::{convert, errors, filters::Filter};
use crate::{
    taps::{
        capture::{
            files::{Files, Rotation, Target},
            sink,
        },
        event::Place,
    },
    wire::{
        capture::{reader::Reader, record::Broken},
        tcp::conversation::{Conversation, Conversations, Ending, Seen},
    },
    words::direction::Direction,
};

/// When the next file begins, by bytes or seconds, and the number of files that are kept.
type Rotate = (Option<u64>, Option<f64>, Option<usize>);

/// Returns a filter that writes a capture into a file, or to standard output without a path. With `both_sides`, what passes
/// is captured as it came and as it is sent on.
#[pyfunction]
pub(super) fn capture(
    py: Python<'_>,
    path: Option<PathBuf>,
    snap_length: u32,
    rotate: Rotate,
    both_sides: bool,
) -> PyResult<Filter> {
    let (size, after, keep) = rotate;
    let after = convert::seconds(py, "rotate_seconds", after)?;
    let rotation = Rotation { size, after, keep: keep.and_then(NonZeroUsize::new) };
    let name = path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let target = path.map_or(Target::Output, Target::Path);
    let opened = py.detach(|| sink::Capture::new(Files::open(target, rotation)?, snap_length, both_sides));
    let sink = opened.map_err(|error| errors::raise(py, &error))?;
    let places = if both_sides { &[Place::In, Place::Out][..] } else { &[Place::In] };
    Filter::looking(py, format!("capture {name}"), sink, (true, true), places)
}

/// A capture that is read: fed the bytes of a file, it returns events of its connections.
#[pyclass(module = "interpose._native")]
#[derive(Default)]
pub(super) struct CaptureReader {
    reader: Reader,
    found: Conversations,
    broken: Option<Broken>,
    /// The bytes themselves are wanted, not only their numbers.
    with_bytes: bool,
}

/// An event: its time in nanoseconds, its connection's number, its kind, its direction, its place in the stream, its bytes,
/// and the number of bytes.
type Event<'py> = (u64, u64, &'static str, &'static str, u64, Option<Bound<'py, PyBytes>>, u64);

/// A connection: number, client, server, interface, times of the first and the last packet, bytes and missing bytes of both
/// directions, its end, and the text about that which interpose has written.
type Found = (u64, String, String, String, (u64, u64), (u64, u64), (u64, u64), &'static str, Option<String>);

#[pymethods]
impl CaptureReader {
    #[new]
    fn new(with_bytes: bool) -> Self {
        Self { with_bytes, ..Self::default() }
    }

    /// Takes the next bytes of the file. Returns the events that they bring, up to a fault.
    fn feed<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyList>> {
        let events = PyList::empty(py);
        let mut failed = Ok(());
        if self.broken.is_some() {
            return Ok(events);
        }
        self.reader.push(data);
        loop {
            match self.reader.next_packet() {
                Ok(Some(packet)) => self.found.packet(&packet, &mut watcher(py, self.with_bytes, &events, &mut failed)),
                Ok(None) => break,
                Err(broken) => {
                    self.broken = Some(broken);
                    break;
                }
            }
        }
        failed.map(|()| events)
    }

    /// Takes the end of the file. Returns the events that it brings.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let events = PyList::empty(py);
        let mut failed = Ok(());
        self.found.finish(&mut watcher(py, self.with_bytes, &events, &mut failed));
        self.broken = mem::take(&mut self.broken).or_else(|| self.reader.finish().err());
        failed.map(|()| events)
    }

    /// Returns the place from which the file cannot be read, and the reason.
    fn fault(&self) -> Option<(u64, String)> {
        self.broken.as_ref().map(|broken| (broken.place, broken.fault.clone()))
    }

    /// Returns the connections.
    fn connections(&self) -> Vec<Found> {
        self.found.all().iter().map(described).collect()
    }

    /// Returns the number of packets, of those that are no TCP, and of those of each link that is not known.
    fn counts(&self) -> (u64, u64, Vec<(u16, u64)>) {
        (self.found.packets(), self.found.others(), self.found.unknown().collect())
    }
}

/// Returns a function that appends events to a list. Python may have no memory for one; then it fails.
fn watcher<'a, 'py>(
    py: Python<'py>,
    with_bytes: bool,
    events: &'a Bound<'py, PyList>,
    failed: &'a mut PyResult<()>,
) -> impl FnMut(&Conversation, u64, Seen) + use<'a, 'py> {
    move |of, at, seen| {
        let nowhere = ("", 0, None, 0);
        let (kind, (direction, place, bytes, length)) = match seen {
            Seen::Opened => ("opened", nowhere),
            Seen::Bytes(way, place, bytes) => {
                ("data", (way.word(), place, with_bytes.then(|| PyBytes::new(py, &bytes)), bytes.len() as u64))
            }
            Seen::Missing(way, place, length) => ("missing", (way.word(), place, None, length)),
            Seen::End(way) => ("end", (way.word(), 0, None, 0)),
            Seen::Closed => ("closed", nowhere),
        };
        let event: Event<'_> = (at, of.number, kind, direction, place, bytes, length);
        if failed.is_ok() {
            *failed = events.append(event);
        }
    }
}

fn described(one: &Conversation) -> Found {
    let ending = match one.ending {
        Ending::Open => "open",
        Ending::Finished => "finished",
        Ending::Reset(Direction::ToUpstream) => "client_reset",
        Ending::Reset(Direction::ToClient) => "upstream_reset",
    };
    (
        one.number,
        one.client.to_string(),
        one.server.to_string(),
        one.interface.name.clone(),
        (one.began, one.last),
        (one.bytes.to_upstream, one.bytes.to_client),
        (one.missing.to_upstream, one.missing.to_client),
        ending,
        one.close_comment().map(str::to_owned),
    )
}
