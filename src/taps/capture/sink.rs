//! Events written as packets.

use std::{io, time::SystemTime};

use crate::{
    taps::{
        capture::{
            connections::{Connections, Sides, nanoseconds},
            files::Files,
        },
        event::Event,
        writer::Sink,
    },
    wire::tcp::packets::Packets,
    words::error::Error,
};

/// Default of the bytes of a packet that are kept: all, as of tcpdump and Wireshark.
pub const WHOLE: u32 = 262_144;

/// Minimum of the bytes of a packet that are kept: its headers, with those of later protocols.
pub const LEAST_SNAP: u32 = 64;

/// Bytes that are written at once, while more wait in the queue.
const MOST_AT_ONCE: usize = 1024 * 1024;

/// Payloads that one event brings at most: those of one read.
const OF_ONE_EVENT: usize = 8;

/// A sink that writes a capture.
#[derive(Debug)]
pub struct Capture {
    packets: Packets,
    connections: Connections,
    files: Files,
    /// The file has more than its beginning.
    has_packets: bool,
}

impl Capture {
    /// Writes the beginning of the first file, and returns the sink. Of each packet, `snap_length` bytes are kept. `sides`: of
    /// which connections the side of the upstream is captured beside that of the client.
    pub fn new(mut files: Files, snap_length: u32, sides: Sides) -> Result<Self, Error> {
        let application = concat!("interpose ", env!("CARGO_PKG_VERSION"));
        let mut packets = Packets::new(application, snap_length.clamp(LEAST_SNAP, WHOLE));
        packets.begin_file();
        files.write(packets.batch()).map_err(|error| files.unwritten(error))?;
        Ok(Self { packets, connections: Connections::new(sides), files, has_packets: false })
    }
}

impl Capture {
    fn end_file(&mut self) -> io::Result<()> {
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
        self.files.write(self.packets.batch())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_file()
    }
}
