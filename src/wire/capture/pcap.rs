//! The records of a pcap file, the older format, as they are read.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{Broken, Clock, Interface, Order, Packet};

/// The length of a file's header.
pub(super) const HEADER: usize = 24;

/// The length of a record's header.
const RECORD: usize = 16;

/// Maximum length of a packet. Tcpdump and Wireshark keep no longer ones.
const LONGEST_PACKET: usize = 262_144;

/// The header of a file: its order of bytes, and the one interface that it can have.
#[derive(Debug)]
pub(super) struct Header {
    order: Order,
    interface: Arc<Interface>,
}

/// Returns the order of bytes and the clock of a file that begins with these bytes, if it is a pcap file.
fn magic(bytes: &[u8]) -> Option<(Order, Clock)> {
    match bytes.get(..4)? {
        [0xD4, 0xC3, 0xB2, 0xA1] => Some((Order::Little, Clock::MICROSECONDS)),
        [0xA1, 0xB2, 0xC3, 0xD4] => Some((Order::Big, Clock::MICROSECONDS)),
        [0x4D, 0x3C, 0xB2, 0xA1] => Some((Order::Little, Clock::NANOSECONDS)),
        [0xA1, 0xB2, 0x3C, 0x4D] => Some((Order::Big, Clock::NANOSECONDS)),
        _ => None,
    }
}

/// Returns true if a file of this beginning is a pcap file.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    magic(bytes).is_some()
}

impl Header {
    /// Reads the header, which `bytes` begin with.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (order, clock) = magic(bytes)?;
        // The higher bits are of the check sequence behind each frame.
        let link = order.u32(bytes, 20) as u16;
        Some(Self { order, interface: Arc::new(Interface { link, name: String::new(), clock }) })
    }

    /// Returns the length of the record that `bytes` begin with, once its header is there.
    pub(super) fn length(&self, bytes: &[u8], place: u64) -> Result<Option<usize>, Broken> {
        if bytes.len() < RECORD {
            return Ok(None);
        }
        let captured = self.order.u32(bytes, 8) as usize;
        if captured > LONGEST_PACKET {
            let fault = format!(
                "a packet has {captured} bytes, more than the {LONGEST_PACKET} that one can have; the file is damaged here"
            );
            return Err(Broken::at(place, fault));
        }
        Ok(Some(RECORD + captured))
    }

    /// Reads a whole record.
    pub(super) fn record(&self, bytes: &Bytes, place: u64) -> Packet {
        let word = |place| self.order.u32(bytes, place);
        let fractions = if self.interface.clock == Clock::NANOSECONDS { 1 } else { 1000 };
        let at = u64::from(word(0)) * 1_000_000_000 + u64::from(word(4)) * fractions;
        let interface = Arc::clone(&self.interface);
        Packet { place, at, interface, data: bytes.slice(RECORD..), original: word(12), comments: Vec::new() }
    }
}
