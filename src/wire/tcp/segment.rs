//! TCP segments of IP packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::packet::{TCP, flag};

/// A segment, as it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Captured {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    /// The number that it acknowledges, if it does.
    pub(super) acknowledged: Option<u32>,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    pub(super) is_reset: bool,
    /// The bytes that were kept.
    pub(super) payload: Bytes,
    /// Bytes behind those, which were sent and not kept.
    pub(super) lost: usize,
}

/// The contents of an IP packet: its addresses, its protocol, where the contents begin, and how long they were.
struct Contents {
    from: IpAddr,
    to: IpAddr,
    start: usize,
    length: usize,
}

fn number(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(place..place + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(place..place + 4)?.try_into().ok()?))
}

/// Returns the TCP segment of a packet, if it has one with its whole header. `original` is the length that the packet had.
pub(super) fn segment(packet: &Bytes, original: usize) -> Option<Captured> {
    let contents = match packet.first()? >> 4 {
        4 => version_4(packet, original)?,
        6 => version_6(packet, original)?,
        _ => return None,
    };
    let tcp = packet.get(contents.start..)?;
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    let length = contents.length.checked_sub(header).filter(|_| header >= 20)?;
    let flags = *tcp.get(13)?;
    // Behind the packet's end there may be a frame's padding.
    let start = contents.start + header;
    let payload = packet.get(start..packet.len().min(start + length)).map_or(0..0, |kept| start..start + kept.len());
    let payload = packet.slice(payload);
    Some(Captured {
        from: SocketAddr::new(contents.from, number(tcp, 0)?),
        to: SocketAddr::new(contents.to, number(tcp, 2)?),
        sequence: word(tcp, 4)?,
        acknowledged: word(tcp, 8).filter(|_| flags & flag::ACK != 0),
        is_first: flags & flag::SYN != 0,
        is_last: flags & flag::FIN != 0,
        is_reset: flags & flag::RST != 0,
        lost: length - payload.len(),
        payload,
    })
}

fn version_4(packet: &[u8], original: usize) -> Option<Contents> {
    let start = usize::from(packet[0] & 15) * 4;
    let total = match usize::from(number(packet, 2)?) {
        // Left to the network card, for a packet that is too long for the field.
        0 => original,
        total => total,
    };
    let is_fragment = number(packet, 6)? & 0x3FFF != 0;
    let address = |place: usize| Some(IpAddr::V4(Ipv4Addr::from_bits(word(packet, place)?)));
    let (from, to) = (address(12)?, address(16)?);
    if start < 20 || is_fragment || packet[9] != TCP {
        return None;
    }
    Some(Contents { from, to, start, length: total.checked_sub(start)? })
}

fn version_6(packet: &[u8], original: usize) -> Option<Contents> {
    let address = |place: usize| {
        let octets: [u8; 16] = packet.get(place..place + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).to_canonical())
    };
    let end = match usize::from(number(packet, 4)?) {
        0 => original,
        length => 40 + length,
    };
    let (from, to) = (address(8)?, address(24)?);
    let (mut next, mut start) = (packet[6], 40);
    // Hop-by-hop options, routing, destination options; a fragment is none of them.
    while matches!(next, 0 | 43 | 60) {
        next = *packet.get(start)?;
        start += 8 + usize::from(*packet.get(start + 1)?) * 8;
    }
    if next != TCP {
        return None;
    }
    Some(Contents { from, to, start, length: end.checked_sub(start)? })
}
