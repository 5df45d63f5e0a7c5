//! Captures: those that filters write, and those that are read, for `interpose inspect`.

use std::{
    io, mem,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyList},
};

use super::{convert, errors, filters::Filter, framing::Framing};
use crate::{
    inspect::filters::messages::Messages,
    taps::{
        capture::{
            connections::Sides,
            files::{Files, Rotation, Target},
            keys::Keys,
            sink,
        },
        event::{ConnectionKey, Event, EventKind, Place},
        sinks::{Hexdump, HexdumpStyle, JsonLines, LineStyle, Render, Shown, Text},
        writer::Sink,
    },
    wire::{
        capture::{reader::Reader, record::Broken},
        tcp::conversation::{Conversation, Conversations, Ending, Seen},
    },
    words::{
        direction::{Both, Direction},
        lock::EvenPoisoned,
        outcome::CloseReason,
        stats::Ledger,
    },
};

/// When the next file begins, by bytes or seconds, and the number of files that are kept.
type Rotate = (Option<u64>, Option<f64>, Option<usize>);

/// Returns a filter that writes a capture into a file, or to standard output without a path. `sides`: `both` captures what
/// passes as it came and as it is sent on, `auto` does so where something may change it. `keys`: a key log, whose new secrets are
/// written into the capture.
#[pyfunction]
pub(super) fn capture(
    py: Python<'_>,
    path: Option<PathBuf>,
    snap_length: u32,
    rotate: Rotate,
    sides: &str,
    keys: Option<PathBuf>,
) -> PyResult<Filter> {
    let (size, after, keep) = rotate;
    let after = convert::seconds(py, "rotate_seconds", after)?;
    let rotation = Rotation { size, after, keep: keep.and_then(NonZeroUsize::new) };
    let name = path.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let target = path.map_or(Target::Output, Target::Path);
    let sides = match sides {
        "both" => Sides::Both,
        "client" => Sides::Client,
        _ => Sides::Auto,
    };
    let opened = py.detach(|| {
        // First, so that a file that was there stays if this one will not do.
        let keys = keys.as_deref().map(Keys::at_end_of).transpose()?;
        sink::Capture::new(Files::open(target, rotation)?, snap_length, sides, keys)
    });
    let sink = opened.map_err(|error| errors::raise(py, &error))?;
    let places = if sides == Sides::Client { &[Place::In][..] } else { &[Place::In, Place::Out] };
    Filter::looking(py, format!("capture {name}"), sink, (true, true), (places, sides == Sides::Auto))
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
    /// Shows events, of one connection or of all.
    shows: Option<Mutex<Box<dyn Sink>>>,
    only: Option<u64>,
    rendered: Arc<Mutex<Vec<u8>>>,
}

/// Appends the lines of events to memory.
struct Lines {
    render: Box<dyn Render>,
    out: Arc<Mutex<Vec<u8>>>,
}

impl Sink for Lines {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.render.render(&Shown { event, listener: 1 }, &mut self.out.lock().even_poisoned());
        Ok(())
    }
}

/// An event: its time in nanoseconds, its connection's number, its kind, its direction, its place in the stream, its bytes,
/// and the number of bytes.
type Listed<'py> = (u64, u64, &'static str, &'static str, u64, Option<Bound<'py, PyBytes>>, u64);

/// A connection: number, client, server, interface, times of the first and the last packet, bytes and missing bytes of both
/// directions, its end, and the text about that which interpose has written.
type Found = (u64, String, String, String, (u64, u64), (u64, u64), (u64, u64), &'static str, Option<String>);

#[pymethods]
impl CaptureReader {
    #[new]
    fn new(with_bytes: bool) -> Self {
        Self { with_bytes, ..Self::default() }
    }

    /// Shows events as well, in lines: `hexdump`, `text` or `json`; with a framing whole messages.
    fn show(
        &mut self,
        kind: &str,
        style: (bool, i64),
        size: (usize, Option<usize>),
        only: Option<u64>,
        framing: Option<&Framing>,
    ) {
        let ((color, utc_offset), (width, truncate)) = (style, size);
        let line = LineStyle { color, utc_offset };
        let render: Box<dyn Render> = match kind {
            "hexdump" => Box::new(Hexdump::new(HexdumpStyle { line, width, truncate })),
            "text" => Box::new(Text::new(line, truncate)),
            _ => Box::new(JsonLines),
        };
        self.only = only;
        let lines = Lines { render, out: Arc::clone(&self.rendered) };
        self.shows = Some(Mutex::new(match framing.and_then(Framing::core) {
            Some(framing) => Box::new(Messages::new(lines, framing)),
            None => Box::new(lines),
        }));
    }

    /// Returns the lines of the events so far, and forgets them.
    fn shown<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &mem::take(&mut *self.rendered.lock().even_poisoned()))
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
                Ok(Some(packet)) => self.found.packet(
                    &packet,
                    &mut watcher(py, self.with_bytes, &events, &mut failed, &mut |of, at, seen| {
                        show(&mut self.shows, self.only, of, at, seen);
                    }),
                ),
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
        self.found.finish(&mut watcher(py, self.with_bytes, &events, &mut failed, &mut |of, at, seen| {
            show(&mut self.shows, self.only, of, at, seen);
        }));
        if let Some(shows) = &mut self.shows {
            // In memory nothing fails.
            let _ = shows.get_mut().even_poisoned().finish();
        }
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
    show: &'a mut dyn FnMut(&Conversation, u64, &Seen),
) -> impl FnMut(&Conversation, u64, Seen) + use<'a, 'py> {
    move |of, at, seen| {
        show(of, at, &seen);
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
        let event: Listed<'_> = (at, of.number, kind, direction, place, bytes, length);
        if failed.is_ok() {
            *failed = events.append(event);
        }
    }
}

/// Appends the lines of an event, if it is shown.
fn show(shows: &mut Option<Mutex<Box<dyn Sink>>>, only: Option<u64>, of: &Conversation, at: u64, seen: &Seen) {
    let Some(shows) = shows.as_mut().filter(|_| only.is_none_or(|only| only == of.number)) else { return };
    let place = Place::In;
    let kind = match seen {
        Seen::Opened => EventKind::Opened { client: of.client.into(), local: of.server.into(), changes: false },
        Seen::Bytes(direction, offset, bytes) => {
            EventKind::Data { direction: *direction, place, offset: *offset, bytes: bytes.clone() }
        }
        Seen::Missing(_, _, bytes) => EventKind::Missed { events: 1, bytes: *bytes },
        Seen::End(direction) => {
            EventKind::End { direction: *direction, place, offset: of.bytes[*direction] + of.missing[*direction] }
        }
        Seen::Closed => {
            let (said, error) = of.close_comment().map(said).unwrap_or_default();
            let reason = match of.ending {
                // What interpose has written about it says more than the packets.
                _ if let Some(said) = said => said,
                // Nothing is known of its end.
                Ending::Open => return,
                Ending::Finished => CloseReason::Finished,
                Ending::Reset(Direction::ToUpstream) => CloseReason::ClientReset,
                Ending::Reset(Direction::ToClient) => CloseReason::UpstreamReset,
            };
            let ledger = |bytes| Ledger { read: bytes, delivered: bytes, ..Ledger::default() };
            let ledgers = Both { to_upstream: ledger(of.bytes.to_upstream), to_client: ledger(of.bytes.to_client) };
            EventKind::Closed { reason, error: error.map(str::to_owned), ledgers }
        }
    };
    let at = UNIX_EPOCH + Duration::from_nanos(at);
    let connection = ConnectionKey { number: of.number, server: 0 };
    // In memory nothing fails.
    let _ = shows.get_mut().even_poisoned().event(&Event { connection, at, kind });
}

/// Returns the close reason of a comment, if it begins with one, and what is said behind that.
fn said(comment: &str) -> (Option<CloseReason>, Option<&str>) {
    let (word, error) = comment.split_once(": ").map_or((comment, None), |(word, error)| (word, Some(error)));
    let reason = CloseReason::ALL.iter().copied().find(|reason| reason.word() == word);
    (reason, error.filter(|_| reason.is_some()))
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
