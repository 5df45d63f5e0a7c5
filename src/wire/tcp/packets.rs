//! Packets on their way into a pcapng file.

use std::mem;

use bytes::Bytes;

use super::packet::Segment;
use crate::wire::capture::{
    batch::Batch,
    block::{self, PacketFields},
};

/// An interface of a file: the place at which its packets were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Between the client and interpose.
    Client = 0,
    /// Between interpose and the upstream.
    Upstream = 1,
}

const INTERFACES: [(&str, &str); 2] =
    [("client", "between the client and interpose"), ("upstream", "between interpose and the upstream")];

/// Blocks that wait to be written into a file, and the number of that file.
#[derive(Debug)]
pub struct Packets {
    batch: Batch,
    snap_length: usize,
    application: String,
    /// Secrets for the packets of all files: kind and text.
    secrets: Vec<(u32, Bytes)>,
    file: u64,
    /// Packets in the file, of each interface.
    written: [u64; 2],
    /// Events of which no packets were made.
    lost: u64,
}

impl Packets {
    /// Returns the blocks of no file yet. Of each packet, `snap_length` bytes are kept.
    pub fn new(application: impl Into<String>, snap_length: u32) -> Self {
        let snap_length = usize::try_from(snap_length).unwrap_or(usize::MAX);
        Self {
            batch: Batch::default(),
            snap_length,
            application: application.into(),
            secrets: Vec::new(),
            file: 0,
            written: [0; 2],
            lost: 0,
        }
    }

    /// Begins a file, with all that makes it whole by itself.
    pub fn begin_file(&mut self) {
        self.file += 1;
        let snap_length = u32::try_from(self.snap_length).unwrap_or(0);
        let out = self.batch.own();
        block::section(out, &self.application);
        for (name, description) in INTERFACES {
            block::interface(out, block::LINK_RAW, snap_length, name, description);
        }
        for (kind, secrets) in &self.secrets {
            block::secrets(out, *kind, secrets);
        }
    }

    /// Ends the file: with the figures of its interfaces. What was left out counts at the first.
    pub fn end_file(&mut self, at: u64) {
        let (written, lost) = (mem::take(&mut self.written), mem::take(&mut self.lost));
        let out = self.batch.own();
        for (interface, (written, lost)) in (0..).zip([(written[0], lost), (written[1], 0)]) {
            block::statistics(out, interface, at, written + lost, lost);
        }
    }

    /// Counts events that were left out.
    pub fn lose(&mut self, events: u64) {
        self.lost += events;
    }

    /// Writes secrets for the packets that follow, into this file and those after it.
    pub fn secrets(&mut self, kind: u32, secrets: Bytes) {
        block::secrets(self.batch.own(), kind, &secrets);
        self.secrets.push((kind, secrets));
    }

    /// Returns the number of the file, from 1 on.
    pub fn file(&self) -> u64 {
        self.file
    }

    /// Returns the blocks that wait.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Writes a packet: the segment's headers, and `payload`, which the segment has as well. The lengths of `fields` are set
    /// here.
    pub(super) fn put(&mut self, fields: PacketFields<'_>, segment: &Segment<'_>, payload: &Bytes) {
        if let Some(written) = self.written.get_mut(fields.interface as usize) {
            *written += 1;
        }
        let header = segment.header_length();
        let original = header + payload.len();
        let captured = original.min(self.snap_length);
        let fields = PacketFields { captured, original, ..fields };
        let out = self.batch.own();
        fields.head(out);
        let start = out.len();
        segment.headers(out);
        out.truncate(start + captured);
        self.batch.payload(payload.slice(..captured.saturating_sub(header)));
        fields.tail(self.batch.own());
    }
}
