//! Events written as packets.

use std::{
    io,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    taps::{
        capture::{
            connections::{Connections, Sides, nanoseconds},
            files::Files,
            keys::Keys,
        },
        event::Event,
        writer::Sink,
    },
    wire::{
        capture::{batch::Batch, block},
        tcp::packets::Packets,
    },
    words::error::{Error, ErrorKind},
};

/// Default of the bytes of a packet that are kept: all, as of tcpdump and Wireshark.
pub const WHOLE: u32 = 262_144;

/// Minimum of the bytes of a packet that are kept: its headers, with those of later protocols.
pub const LEAST_SNAP: u32 = 64;

/// Bytes that are written at once, while more wait in the queue.
const MOST_AT_ONCE: usize = 1024 * 1024;

/// Payloads that one event brings at most: those of one read.
const OF_ONE_EVENT: usize = 8;

/// Bytes for secrets at the beginning of a file: those of 250 sessions or more.
pub const ROOM: usize = 256 * 1024;

/// Maximum number of looks for secrets at the end of a file, a mebibyte each.
const LOOKS_AT_END: usize = 64;

/// Time between two looks for secrets while nothing passes.
const LOOK: Duration = Duration::from_secs(1);

/// A sink that writes a capture.
#[derive(Debug)]
pub struct Capture {
    packets: Packets,
    connections: Connections,
    files: Files,
    /// The file has more than its beginning.
    has_packets: bool,
    secrets: Option<Secrets>,
}

/// The place that secrets have in a file. It is at its beginning, because a reader has to know them before the packets that it
/// decrypts with them, while they come to be known only when those have passed.
#[derive(Debug)]
struct Secrets {
    keys: Keys,
    /// Where the next one is written.
    place: u64,
    room: usize,
    /// The last ones, half the room at most. Each file begins with them: packets wait in a queue, so the secrets of a connection may
    /// be known before the file begins that its first packets come into.
    recent: Vec<u8>,
}

impl Secrets {
    /// Writes the place of a file that begins, which is filled with comments.
    fn begin(&mut self, batch: &mut Batch) {
        // Not on the stack: the thread's may be small.
        let mut filling = vec![b'#'; ROOM];
        filling.iter_mut().skip(127).step_by(128).for_each(|last| *last = b'\n');
        filling[..self.recent.len()].copy_from_slice(&self.recent);
        self.place = (batch.len() + block::SECRETS_HEADER + self.recent.len()) as u64;
        self.room = ROOM - self.recent.len();
        block::secrets(batch.own(), block::SECRETS_TLS, &filling);
    }

    fn look(&mut self) -> Vec<u8> {
        let lines = self.keys.look();
        self.recent.extend_from_slice(&lines);
        if let Some(beyond) = self.recent.len().checked_sub(ROOM / 2).filter(|beyond| *beyond > 0) {
            let rest =
                self.recent[beyond - 1..].iter().position(|byte| *byte == b'\n').map_or(self.recent.len(), |end| beyond + end);
            self.recent.drain(..rest);
        }
        lines
    }
}

impl Capture {
    /// Writes the beginning of the first file, and returns the sink. Of each packet, `snap_length` bytes are kept. `sides`: of
    /// which connections the side of the upstream is captured beside that of the client.
    ///
    /// With `keys`, the secrets that come to be known are written into the file, which has to be one that can be gone back in.
    pub fn new(mut files: Files, snap_length: u32, sides: Sides, keys: Option<Keys>) -> Result<Self, Error> {
        if keys.is_some() && !files.is_regular() {
            let message = "keys: they are written at the beginning, and this cannot be gone back in; give a file as its path";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let application = concat!("interpose ", env!("CARGO_PKG_VERSION"));
        let mut packets = Packets::new(application, snap_length.clamp(LEAST_SNAP, WHOLE));
        packets.begin_file();
        let mut secrets = keys.map(|keys| Secrets { keys, place: 0, room: 0, recent: Vec::new() });
        if let Some(secrets) = &mut secrets {
            secrets.begin(packets.batch());
        }
        files.write(packets.batch()).map_err(|error| files.unwritten(error))?;
        Ok(Self { packets, connections: Connections::new(sides), files, has_packets: false, secrets })
    }
}

impl Capture {
    /// Writes the secrets that have come to be known. Those beyond the room for them stand where they came.
    fn write_secrets(&mut self) -> io::Result<()> {
        let Some(secrets) = &mut self.secrets else { return Ok(()) };
        let lines = secrets.look();
        let fits = lines.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len);
        let fits =
            fits.scan(0, |sum, line| Some(*sum + line).inspect(|so_far| *sum = *so_far)).take_while(|sum| *sum <= secrets.room);
        let (first, others) = lines.split_at(fits.last().unwrap_or(0));
        if !first.is_empty() {
            self.files.write_over(secrets.place, first)?;
            secrets.place += first.len() as u64;
            secrets.room -= first.len();
        }
        if !others.is_empty() {
            block::secrets(self.packets.batch().own(), block::SECRETS_TLS, others);
            self.files.write(self.packets.batch())?;
        }
        Ok(())
    }

    fn end_file(&mut self) -> io::Result<()> {
        // Those that come while this writes are for the next file, or for none: a log that grows faster than it is read ends too.
        for _ in 0..LOOKS_AT_END {
            self.write_secrets()?;
            if !self.secrets.as_ref().is_some_and(|secrets| secrets.keys.has_more()) {
                break;
            }
        }
        self.packets.end_file(nanoseconds(SystemTime::now()));
        self.files.write(self.packets.batch())
    }
}

impl Sink for Capture {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if self.has_packets && self.files.is_full(self.packets.batch().len()) {
            self.end_file()?;
            self.files.begin_next()?;
            self.packets.begin_file();
            if let Some(secrets) = &mut self.secrets {
                secrets.begin(self.packets.batch());
                self.files.write(self.packets.batch())?;
            }
        }
        self.connections.event(event, &mut self.packets);
        self.has_packets = true;
        let batch = self.packets.batch();
        if batch.len() >= MOST_AT_ONCE || !batch.has_room(OF_ONE_EVENT) {
            self.files.write(batch)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.write(self.packets.batch())?;
        self.write_secrets()
    }

    fn wake_at(&self) -> Option<Instant> {
        self.secrets.as_ref().map(|_| Instant::now() + LOOK)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_file()
    }
}
