//! Packets of MQTT.

use std::sync::Arc;

use super::{
    framer::{Broken, Cut, Framer},
    length_field::LengthField,
    varint::Base128,
};

/// The control packets of MQTT, all versions: a byte of type and flags, the remaining length, and as many bytes
/// (MQTT 5.0 §2.1, MQTT 3.1.1 §2.2).
#[derive(Debug, Clone, Copy, Default)]
pub struct Mqtt;

/// The remaining length: a "variable byte integer" of 1 to 4 bytes (MQTT 5.0 §1.5.5).
const LENGTH: Base128 = Base128 {
    offset: 1,
    width: 4,
    most: (1 << 28) - 1,
    expected: "the fourth and last byte of a remaining length, which is below 128",
};

impl Framer for Mqtt {
    fn protocol(&self) -> &'static str {
        "mqtt"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        if buffer[0] >> 4 == 0 {
            return Err(Broken::at(0, "the type of an MQTT packet, 1 to 15 in the upper half of the byte"));
        }
        LENGTH.cut(buffer)
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(LENGTH))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        inspect::framing::{
            length_field::TooLong,
            testing::{
                broken, every_split,
                garbage::{garbage_is_harmless, holds, parts, sizes},
                messages, rest,
            },
        },
        words::direction::Direction::ToUpstream,
    };

    /// CONNECT, CONNACK, SUBSCRIBE, SUBACK, PUBLISH, PINGREQ, DISCONNECT.
    const PACKETS: [&[u8]; 7] = [
        b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab",
        b"\x20\x02\0\0",
        b"\x82\x08\0\x01\0\x03a/b\0",
        b"\x90\x03\0\x01\0",
        b"\x30\x0a\0\x03a/bhello",
        b"\xc0\0",
        b"\xe0\0",
    ];

    #[test]
    fn packets_are_cut_wherever_the_stream_is_split() {
        let long = [&b"\x31\xc8\x01\0\x03a/b"[..], &[b'x'; 195]].concat();
        let stream = [&PACKETS.concat()[..], &long, b"\x30\x80"].concat();
        every_split(&Mqtt, &stream, &[messages(PACKETS), messages([long]), vec![rest(b"\x30\x80")]].concat());
    }

    #[test]
    fn a_stream_of_any_packets_is_cut_into_them() {
        let packet = (0x10_u8.., vec(any::<u8>(), 0..300)).prop_map(|(kind, body)| {
            let packet = [&[kind, 0][..], &body].concat();
            LENGTH.set(b"", packet.into()).unwrap()
        });
        holds((vec(packet, 0..5), sizes()), |(packets, sizes)| {
            assert_eq!(parts(&Mqtt, ToUpstream, &packets.concat(), &sizes), messages(packets));
        });
        garbage_is_harmless(&Mqtt, &PACKETS.concat());
    }

    #[test]
    fn what_is_no_packet_breaks_the_protocol() {
        let kind = "the type of an MQTT packet, 1 to 15 in the upper half of the byte";
        every_split(&Mqtt, b"\xc0\0\x01\0", &[messages([b"\xc0\0"]), vec![broken(2, kind)]].concat());
        let end = "the fourth and last byte of a remaining length, which is below 128";
        every_split(&Mqtt, b"\x30\xff\xff\xff\x80\x01", &[broken(4, end)]);
    }

    #[test]
    fn the_greatest_length_is_known_before_memory_is_needed_for_it() {
        assert_eq!(Mqtt.cut(b"\x30\xff\xff\xff\x7f", 0), Ok(Cut::More { least: Some(268_435_455 + 5) }));
    }

    #[test]
    fn the_remaining_length_is_set_with_as_few_bytes_as_it_needs() {
        let length = Mqtt.length_field().unwrap();
        let right = Bytes::from_static(PACKETS[4]);
        assert_eq!(length.set(&right, right.clone()).unwrap().as_ptr(), right.as_ptr());
        assert_eq!(length.set(&right, Bytes::from_static(b"\x30\x0a\0\x03a/bhi")).unwrap(), &b"\x30\x07\0\x03a/bhi"[..]);
        let longer = [PACKETS[4], &[b'x'; 190]].concat();
        let set = length.set(&right, longer.into()).unwrap();
        assert_eq!((&set[..3], set.len()), (&b"\x30\xc8\x01"[..], 203));
        assert_eq!(length.set(&right, Bytes::from_static(b"\x30")).unwrap(), &b"\x30"[..]);
    }

    #[test]
    fn a_packet_longer_than_its_field_can_say_is_refused() {
        let mut packet = vec![0; (1 << 28) + 2];
        packet[0] = 0x30;
        let refused = Mqtt.length_field().unwrap().set(b"", packet.into());
        assert_eq!(refused, Err(TooLong { length: (1 << 28) + 2, most: (1 << 28) - 1 + 5 }));
    }
}
