//! Reads the packets of a file that comes in pieces.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    block::kind,
    pcap, pcapng,
    record::{Broken, Order, Packet},
};

/// A file that is read: fed bytes, it returns packets.
///
/// Memory is bounded by the longest block, 16 MiB, and what is fed at once.
#[derive(Debug, Default)]
pub struct Reader {
    waiting: BytesMut,
    /// The place in the file of the first byte that waits.
    place: u64,
    format: Format,
}

#[derive(Debug, Default)]
enum Format {
    #[default]
    Unknown,
    Pcapng(Option<pcapng::Section>),
    Pcap(pcap::Header),
}

/// Beginnings of files that are no capture, and what to do with them.
const OTHERS: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "it is compressed with gzip; decompress it first: gunzip FILE"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd; decompress it first: zstd -d FILE"),
    (b"\x04\x22\x4d\x18", "it is compressed with lz4; decompress it first: lz4 -d FILE"),
    (b"BZh", "it is compressed with bzip2; decompress it first: bunzip2 FILE"),
    (b"\xfd7zXZ", "it is compressed with xz; decompress it first: unxz FILE"),
];

impl Reader {
    /// Takes more bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Returns the next packet that is whole, or `None` if more bytes are needed for one. After an error nothing more is to
    /// be read.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, Broken> {
        loop {
            if matches!(self.format, Format::Unknown) && !self.recognise()? {
                return Ok(None);
            }
            let length = match &self.format {
                Format::Unknown => None,
                Format::Pcapng(section) => pcapng::length(section.as_ref(), &self.waiting, self.place)?,
                Format::Pcap(header) => header.length(&self.waiting, self.place)?,
            };
            let Some(length) = length.filter(|length| *length <= self.waiting.len()) else { return Ok(None) };
            let place = self.place;
            let bytes = self.take(length);
            match &mut self.format {
                Format::Unknown => {}
                Format::Pcap(header) => return Ok(Some(header.record(&bytes, place))),
                Format::Pcapng(section) => {
                    if let Some(packet) = pcapng::block(section, &bytes, place)? {
                        return Ok(Some(packet));
                    }
                }
            }
        }
    }

    /// Returns an error unless the file may end here.
    pub fn finish(&self) -> Result<(), Broken> {
        if matches!(self.format, Format::Unknown) {
            let fault = match self.waiting.len() {
                0 => "it is empty; a capture begins with a header".to_owned(),
                length => format!("it has {length} bytes, fewer than the header of a capture (pcapng or pcap)"),
            };
            return Err(Broken::at(self.place, fault));
        }
        match self.waiting.len() {
            0 => Ok(()),
            rest => {
                let fault = format!("the file is cut off here, {rest} bytes into a record; everything before it is whole");
                Err(Broken::at(self.place, fault))
            }
        }
    }

    /// Returns the number of bytes that were read as whole records.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// Chooses the format by the first bytes. Returns false if there are too few.
    fn recognise(&mut self) -> Result<bool, Broken> {
        let waiting = &self.waiting[..];
        if waiting.len() >= 4 && Order::Little.u32(waiting, 0) == kind::SECTION {
            self.format = Format::Pcapng(None);
            return Ok(true);
        }
        if pcap::is_one(waiting) {
            if waiting.len() < pcap::HEADER {
                return Ok(false);
            }
            if let Some(header) = pcap::Header::read(waiting) {
                self.take(pcap::HEADER);
                self.format = Format::Pcap(header);
                return Ok(true);
            }
        }
        if waiting.len() < 8 {
            return Ok(false);
        }
        let other = OTHERS.iter().find(|(begin, _)| waiting.starts_with(begin)).map(|(_, fault)| *fault);
        Err(Broken::at(0, other.unwrap_or("it is no capture of packets; give a file of pcapng or pcap")))
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.place += length as u64;
        if length < 2048 {
            // A copy keeps no larger memory than its own.
            let bytes = Bytes::copy_from_slice(&self.waiting[..length]);
            self.waiting.advance(length);
            return bytes;
        }
        self.waiting.split_to(length).freeze()
    }
}
