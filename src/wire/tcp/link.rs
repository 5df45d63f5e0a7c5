//! The headers of links before IP.

/// The type of a frame's contents, as Ethernet has it.
const VLANS: [u16; 3] = [0x8100, 0x88A8, 0x9100];
const IP: [u16; 2] = [0x0800, 0x86DD];

/// Returns the IP packet of a frame. `None`: the frame has none, or its link is not known.
pub(super) fn ip_packet(link: u16, frame: &[u8]) -> Option<&[u8]> {
    match link {
        // NULL and LOOP: the number of an address family, which differs between systems.
        0 | 108 => behind(frame, 4),
        1 => ethernet(frame),
        // RAW, with the numbers that some systems have for it, IPV4, IPV6.
        12 | 14 | 101 | 228 | 229 => behind(frame, 0),
        113 => typed(frame, 14, 16),
        276 => typed(frame, 0, 20),
        _ => None,
    }
}

/// Returns true if frames of this link are read.
pub(super) fn is_known(link: u16) -> bool {
    matches!(link, 0 | 1 | 12 | 14 | 101 | 108 | 113 | 228 | 229 | 276)
}

fn behind(frame: &[u8], header: usize) -> Option<&[u8]> {
    frame.get(header..).filter(|packet| packet.first().is_some_and(|first| matches!(first >> 4, 4 | 6)))
}

fn number(frame: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(place..place + 2)?.try_into().ok()?))
}

/// Returns the packet behind a header that has the type of its contents at `place`, and tags of VLANs behind it.
fn typed(frame: &[u8], place: usize, header: usize) -> Option<&[u8]> {
    let (mut kind, mut header) = (number(frame, place)?, header);
    while VLANS.contains(&kind) {
        kind = number(frame, header + 2)?;
        header += 4;
    }
    if IP.contains(&kind) { behind(frame, header) } else { None }
}

fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    typed(frame, 12, 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &[u8] = &[0x45, 0, 0, 20];

    fn frame(parts: &[&[u8]]) -> Vec<u8> {
        let mut frame = parts.concat();
        frame.extend(PACKET);
        frame
    }

    #[test]
    fn the_packet_is_found_behind_the_header_of_every_link() {
        let tag: &[u8] = &[0x81, 0, 0, 7];
        let ip: &[u8] = &[8, 0];
        let frames = [
            (0, frame(&[&[2, 0, 0, 0]])),
            (108, frame(&[&[0, 0, 0, 2]])),
            (1, frame(&[&[0; 12], ip])),
            (1, frame(&[&[0; 12], tag, ip])),
            (1, frame(&[&[0; 12], &[0x88, 0xA8, 0, 1], tag, ip])),
            (101, frame(&[])),
            (12, frame(&[])),
            (113, frame(&[&[0; 14], ip])),
            (276, frame(&[ip, &[0; 18]])),
        ];
        for (link, frame) in &frames {
            assert!(is_known(*link));
            assert_eq!(ip_packet(*link, frame), Some(PACKET), "{link}");
            for cut in 0..frame.len() - PACKET.len() + 1 {
                assert_eq!(ip_packet(*link, &frame[..cut]), None, "{link}, {cut} bytes");
            }
        }
        assert_eq!(ip_packet(1, &frame(&[&[0; 12], &[8, 6]])), None);
        assert_eq!((ip_packet(105, PACKET), is_known(105)), (None, false));
    }
}
