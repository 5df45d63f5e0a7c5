//! The headers of a TCP segment: IP and TCP.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::checksum::Sum;

/// A flag of a TCP header.
pub(super) mod flag {
    pub(in crate::wire::tcp) const FIN: u8 = 1;
    pub(in crate::wire::tcp) const SYN: u8 = 2;
    pub(in crate::wire::tcp) const RST: u8 = 4;
    pub(in crate::wire::tcp) const PSH: u8 = 8;
    pub(in crate::wire::tcp) const ACK: u8 = 16;
}

/// Maximum payload of one segment. An IPv4 packet of this payload has a length that is a multiple of four, so that a file
/// needs no padding behind it, and is below the 65,535 bytes that its header can say.
pub(super) const MOST_PAYLOAD: usize = 65_480;

/// The number of the protocol in IP.
pub(super) const TCP: u8 = 6;

const HOPS: u8 = 64;

/// Maximum segment size, no operation, and a window scale of 14, the largest.
const SYN_OPTIONS: [u8; 8] = [2, 4, (MOST_PAYLOAD >> 8) as u8, (MOST_PAYLOAD & 0xFF) as u8, 1, 3, 3, 14];

/// A TCP segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
    /// The packet's number, in IPv4.
    pub(super) identification: u16,
    /// At most [`MOST_PAYLOAD`] bytes.
    pub(super) payload: &'a [u8],
}

impl Segment<'_> {
    /// Appends both headers.
    pub(super) fn headers(&self, out: &mut Vec<u8>) {
        let mut sum = Sum::default();
        let length = 20 + self.options().len() + self.payload.len();
        // At most 65,535, by the bound of the payload.
        let length = length as u16;
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let start = out.len();
                out.extend([0x45, 0]);
                out.extend((length + 20).to_be_bytes());
                out.extend(self.identification.to_be_bytes());
                // It is whole, and may not be cut.
                out.extend([0x40, 0, HOPS, TCP, 0, 0]);
                out.extend(from.octets());
                out.extend(to.octets());
                let mut header = Sum::default();
                header.add(&out[start..]);
                out[start + 10..start + 12].copy_from_slice(&header.finish());
                sum.add(&out[start + 12..]);
            }
            (from, to) => {
                let start = out.len();
                out.extend([0x60, 0, 0, 0]);
                out.extend(length.to_be_bytes());
                out.extend([TCP, HOPS]);
                out.extend(as_v6(from).octets());
                out.extend(as_v6(to).octets());
                sum.add(&out[start + 8..]);
            }
        }
        sum.add(&[0, TCP]);
        sum.add(&length.to_be_bytes());
        self.tcp(sum, out);
    }

    /// Returns the number of bytes of both headers.
    pub(super) fn header_length(&self) -> usize {
        let ip = if self.from.is_ipv4() && self.to.is_ipv4() { 20 } else { 40 };
        ip + 20 + self.options().len()
    }

    fn options(&self) -> &'static [u8] {
        if self.flags & flag::SYN == 0 { &[] } else { &SYN_OPTIONS }
    }

    fn tcp(&self, mut sum: Sum, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(self.from.port().to_be_bytes());
        out.extend(self.to.port().to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.acknowledged.to_be_bytes());
        let words = 5 + self.options().len() / 4;
        out.extend([(words as u8) << 4, self.flags]);
        // The window: all of it, so that no dissector finds it full.
        out.extend([0xFF, 0xFF, 0, 0, 0, 0]);
        out.extend(self.options());
        sum.add(&out[start..]);
        sum.add(self.payload);
        out[start + 16..start + 18].copy_from_slice(&sum.finish());
    }
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(from: &str, to: &str, flags: u8, payload: &[u8]) -> Vec<u8> {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let segment = Segment { from, to, sequence: 1, acknowledged: 2, flags, identification: 3, payload };
        let mut out = vec![9];
        segment.headers(&mut out);
        assert_eq!(out.len(), 1 + segment.header_length());
        out.split_off(1)
    }

    fn tcp_sum(packet: &[u8], addresses: std::ops::Range<usize>, tcp: usize) -> [u8; 2] {
        let mut sum = Sum::default();
        sum.add(&packet[addresses]);
        sum.add(&[0, TCP]);
        sum.add(&u16::try_from(packet.len() - tcp).unwrap().to_be_bytes());
        sum.add(&packet[tcp..]);
        sum.finish()
    }

    #[test]
    fn lengths_and_checksums_are_right_in_both_versions() {
        for payload in [&b""[..], b"a", b"abcdef", &[0xFF; MOST_PAYLOAD]] {
            for flags in [flag::SYN, flag::ACK] {
                let mut four = headers("127.0.0.1:1", "127.0.0.2:2", flags, payload);
                let mut sum = Sum::default();
                sum.add(&four[..20]);
                four.extend(payload);
                assert_eq!(usize::from(u16::from_be_bytes([four[2], four[3]])), four.len());
                assert_eq!((sum.finish(), tcp_sum(&four, 12..20, 20)), ([0, 0], [0, 0]));
                let mut six = headers("[::1]:1", "10.0.0.1:2", flags, payload);
                six.extend(payload);
                assert_eq!(usize::from(u16::from_be_bytes([six[4], six[5]])) + 40, six.len());
                assert_eq!(tcp_sum(&six, 8..40, 40), [0, 0]);
            }
        }
    }
}
