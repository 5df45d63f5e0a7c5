//! The work of framers: the bytes that they read, counted by what they cannot have read.

use super::super::{framer::Cut, spec::Framing};
use crate::words::direction::{Both, Direction};

/// The bytes at the beginning of a message, and at the end of what was seen, that a framer may read again with each call.
const FEW: usize = 64;

/// Feeds one message byte by byte, and expects that the framer finds its end though all bytes that it has seen, but for the
/// first and the last few, are something else by then: `instead`, over and over. So no call reads what the calls before have
/// read, and all of them together take time in proportion to the length.
#[track_caller]
pub(crate) fn seen_bytes_are_not_read_again(framing: &dyn Framing, direction: Direction, message: &[u8], instead: &[u8]) {
    let Both { to_upstream, to_client } = framing.framers();
    let mut framer = if direction == Direction::ToUpstream { to_upstream } else { to_client };
    assert!(message.len() > 4 * FEW, "a message as short as this shows nothing");
    let mut buffer = Vec::new();
    for (seen, byte) in message.iter().enumerate() {
        buffer.push(*byte);
        if let Some(hidden) = seen.checked_sub(FEW).filter(|hidden| *hidden >= FEW) {
            buffer[hidden] = instead[hidden % instead.len()];
        }
        let cut = framer.cut(&buffer, seen);
        if buffer.len() < message.len() {
            assert!(matches!(cut, Ok(Cut::More { .. })), "{cut:?} behind {} of {} bytes", buffer.len(), message.len());
        } else {
            assert_eq!(cut, Ok(Cut::Message(message.len())));
        }
    }
}

mod tests {
    use super::*;
    use crate::inspect::framing::{
        self,
        framer::{Broken, Framer},
        length_prefix::{ByteOrder, LengthPrefixed},
    };
    use Direction::{ToClient, ToUpstream};

    #[test]
    fn every_framer_reads_a_long_message_once() {
        let data = vec![b'x'; 1000];
        let behind = |header: &[u8]| [header, &data].concat();
        let wide = LengthPrefixed::new(4, 0, ByteOrder::Big, 0).unwrap();
        let cases: [(&dyn Framing, Direction, Vec<u8>); 14] = [
            (&framing::Lines, ToClient, [&data[..], b"\n"].concat()),
            (&framing::Fixed::new(1000).unwrap(), ToUpstream, data.clone()),
            (&wide, ToUpstream, behind(b"\0\0\x03\xe8")),
            (&framing::Varint, ToUpstream, behind(b"\xe8\x07")),
            (&framing::TlsRecords, ToClient, behind(b"\x17\x03\x03\x03\xe8")),
            (&framing::Mqtt, ToClient, behind(b"\x30\xe8\x07")),
            (&framing::Dns, ToClient, behind(b"\x03\xe8")),
            (&framing::Mysql, ToClient, behind(b"\xe8\x03\0\0")),
            (&framing::Postgres, ToClient, behind(b"D\0\0\x03\xec")),
            (&framing::Resp, ToClient, [&b"+"[..], &data, b"\r\n"].concat()),
            (&framing::Resp, ToUpstream, [&data[..], b"\n"].concat()),
            (&framing::Resp, ToClient, [&b"*300\r\n"[..], &b":1\r\n$1\r\na\r\n*1\r\n+b\r\n".repeat(100)].concat()),
            (&framing::Http1, ToUpstream, behind(b"PUT / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")),
            (
                &framing::Http1,
                ToUpstream,
                [&b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &b"1;e\r\na\r\n".repeat(200), b"0\r\n\r\n"]
                    .concat(),
            ),
        ];
        for (framing, direction, message) in cases {
            // A line end where there was none, and a length that would be another.
            seen_bytes_are_not_read_again(framing, direction, &message, b"\n9\r\n");
        }
    }

    /// Searches all that there is with each call.
    #[derive(Debug, Clone)]
    struct Anew;

    impl Framer for Anew {
        fn protocol(&self) -> &'static str {
            "anew"
        }

        fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
            Ok(buffer.iter().position(|byte| *byte == b'\n').map_or(Cut::MORE, |place| Cut::Message(place + 1)))
        }
    }

    #[test]
    #[should_panic(expected = "bytes")]
    fn a_framer_that_reads_all_again_is_found() {
        seen_bytes_are_not_read_again(&Anew, ToUpstream, &[&[b'x'; 400][..], b"\n"].concat(), b"\n");
    }
}
