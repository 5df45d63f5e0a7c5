//! The file of session secrets, with which programs such as Wireshark decrypt captures. Written only where it is asked for:
//! the environment alone never turns it on.
//!
//! A thread of its own writes it, because a handshake would otherwise wait for the disk, and with it all connections of its
//! thread. Secrets that find no room in the queue are left out, counted and said.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    process,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustls::KeyLog;

use super::files;
use crate::{
    taps::{
        event::{ConnectionKey, Event, EventKind, Place},
        queue::{Missed, Queue},
        writer::{Sink, Tap},
    },
    words::{
        direction::Direction,
        error::{Error, ErrorKind, reason_text},
        lock::EvenPoisoned,
        log_target,
    },
};

/// Maximum bytes of secrets that wait for the disk: those of 1,500 handshakes or more.
const MOST_WAITING: usize = 4 * 1024 * 1024;

/// The lines are of no connection's: they say themselves which session they are of.
const OF_ALL: ConnectionKey = ConnectionKey { number: 0, server: 0 };

/// Files that are open. Settings with the same file have one thread.
static OPEN: Mutex<Vec<Weak<KeyFile>>> = Mutex::new(Vec::new());

/// A file that secrets are appended to, one line each.
#[derive(Debug)]
pub(crate) struct KeyFile {
    tap: Tap,
    identity: files::Identity,
    /// The process that has the thread.
    process: u32,
}

impl KeyFile {
    /// Opens the file. One that is made can be read by its owner alone.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, Error> {
        let failed = |error: io::Error, advice: &str| {
            let message = format!("keylog {}: {}; {advice}", files::shown(path), reason_text(&error));
            Error::from_io(ErrorKind::TlsFile, message, error)
        };
        // To open a pipe that nobody reads would wait for a reader.
        #[cfg(unix)]
        let _reader = if std::fs::metadata(path).is_ok_and(|about| std::os::unix::fs::FileTypeExt::is_fifo(&about.file_type())) {
            let mut probe = OpenOptions::new();
            std::os::unix::fs::OpenOptionsExt::custom_flags(probe.write(true), libc::O_NONBLOCK);
            Some(probe.open(path).map_err(|error| failed(error, "start what reads this pipe first"))?)
        } else {
            None
        };
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| failed(error, "give a file that can be written"))?;
        if others_may_read(&file) {
            let shown = files::shown(path);
            let message = format!("keylog {shown}: others may read it, and with it all that is said; chmod 600 {shown}");
            return Err(Error::new(ErrorKind::Tls, message));
        }
        let (identity, process) = (files::identity(&file), process::id());
        let mut open = OPEN.lock().even_poisoned();
        open.retain(|one| one.strong_count() > 0);
        let same = |one: &Arc<Self>| identity.is_some() && one.identity == identity && one.process == process;
        if let Some(same) = open.iter().filter_map(Weak::upgrade).find(same) {
            return Ok(same);
        }
        let name = format!("keylog {}", files::shown(path));
        let sink = Lines { name: name.clone(), file, waiting: Vec::new(), is_cut: false, told: None };
        let tap = Tap::start(name, Queue::new(MOST_WAITING), sink)
            .map_err(|error| failed(error, "its thread cannot be started; raise the limit of processes"))?;
        let made = Arc::new(Self { tap, identity, process });
        open.push(Arc::downgrade(&made));
        Ok(made)
    }
}

/// Waits until the secrets of all sessions so far are written: at most `limit`. Returns true if they are.
pub fn settle(limit: Duration) -> bool {
    let end = Instant::now() + limit;
    // Each is waited for, also behind one that is too slow.
    open_files().iter().filter(|one| !one.tap.settle(end.saturating_duration_since(Instant::now()))).count() == 0
}

/// Returns the figures of the secrets that were left out so far, of all files that are open.
pub fn missed() -> Missed {
    let missed = open_files().iter().map(|one| one.tap.missed()).collect::<Vec<_>>();
    let (events, bytes) = (missed.iter().map(|one| one.events), missed.iter().map(|one| one.bytes));
    Missed { events: events.sum(), bytes: bytes.sum() }
}

fn open_files() -> Vec<Arc<KeyFile>> {
    let open: Vec<_> = OPEN.lock().even_poisoned().iter().filter_map(Weak::upgrade).collect();
    open.into_iter().filter(|one| one.process == process::id()).collect()
}

/// Writes lines, all that wait at once.
struct Lines {
    name: String,
    file: File,
    waiting: Vec<u8>,
    /// True if the file ends within a line, because there was no room for the rest.
    is_cut: bool,
    /// The instant of the last warning.
    told: Option<Instant>,
}

/// Minimum time between two warnings about one file.
const TOLD_EVERY: Duration = Duration::from_secs(60);

impl Lines {
    fn write(&mut self) -> io::Result<()> {
        if self.is_cut && !self.waiting.is_empty() {
            self.waiting.insert(0, b'\n');
        }
        let mut left = &self.waiting[..];
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.is_cut = left[bytes - 1] != b'\n';
                    left = &left[bytes..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Sink for Lines {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match &event.kind {
            EventKind::Data { bytes, .. } => self.waiting.extend_from_slice(bytes),
            EventKind::Missed { events, .. } => {
                let name = &self.name;
                log::warn!(target: log_target::TAP, "{name}: {events} secrets were left out, because they came faster than they could be written");
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        // One write of whole lines, so that those of several processes do not mix. A full disk costs these lines only.
        if let Err(error) = self.write()
            && self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY)
        {
            self.told = Some(Instant::now());
            let (name, why) = (&self.name, reason_text(&error));
            log::warn!(target: log_target::TAP, "{name}: secrets of sessions are lost: {why}; make room there");
        }
        self.waiting.clear();
        Ok(())
    }
}

/// Returns true for a file that was there before, and that is not its owner's alone.
fn others_may_read(file: &File) -> bool {
    #[cfg(unix)]
    {
        let metadata = file.metadata();
        metadata.is_ok_and(|metadata| {
            metadata.is_file() && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
        })
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let (direction, place, bytes) = (Direction::ToUpstream, Place::In, Bytes::from(line));
        self.tap.queue().put(Event::now(OF_ALL, EventKind::Data { direction, place, offset: 0, bytes }));
    }
}
