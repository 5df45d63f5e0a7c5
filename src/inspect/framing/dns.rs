//! Messages of DNS over TCP.

use std::sync::Arc;

use super::{
    framer::{Broken, Cut, Framer},
    length_field::LengthField,
    length_prefix::Field,
};

/// The messages of DNS over TCP, each with its length in two bytes before it (RFC 1035 §4.2.2, RFC 7766 §8).
#[derive(Debug, Clone, Copy, Default)]
pub struct Dns;

const LENGTH: Field = Field::network(0, 2);

/// The length of a message's header (RFC 1035 §4.1.1).
const HEADER: u64 = 12;

impl Framer for Dns {
    fn protocol(&self) -> &'static str {
        "dns"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        if LENGTH.value(buffer).is_some_and(|length| length < HEADER) {
            return Err(Broken::at(0, format!("the length of a DNS message, {HEADER} or more")));
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
        words::direction::Direction::ToClient,
    };

    /// A question for the address of example.com, its answer, and a header alone.
    const MESSAGES: [&[u8]; 3] = [
        b"\0\x1d\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01",
        b"\0\x2d\xab\xcd\x81\x80\0\x01\0\x01\0\0\0\0\x07example\x03com\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x5d\xb8\xd8\x22",
        b"\0\x0c\xab\xcd\x81\x85\0\0\0\0\0\0\0\0",
    ];

    #[test]
    fn messages_are_cut_wherever_the_stream_is_split() {
        every_split(&Dns, &[&MESSAGES.concat()[..], b"\0"].concat(), &[messages(MESSAGES), vec![rest(b"\0")]].concat());
    }

    #[test]
    fn a_stream_of_any_messages_is_cut_into_them() {
        let message = vec(any::<u8>(), 12..400).prop_map(|body| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            [&length[..], &body].concat()
        });
        holds((vec(message, 0..4), sizes()), |(whole, sizes)| {
            assert_eq!(parts(&Dns, ToClient, &whole.concat(), &sizes), messages(whole));
        });
        garbage_is_harmless(&Dns, &MESSAGES.concat());
    }

    #[test]
    fn a_length_that_has_no_room_for_a_header_breaks_the_protocol() {
        let expected = [messages([MESSAGES[2]]), vec![broken(14, "the length of a DNS message, 12 or more")]].concat();
        every_split(&Dns, &[MESSAGES[2], b"\0\x0b12345678901"].concat(), &expected);
        assert_eq!(Dns.cut(b"\xff\xff", 0), Ok(Cut::More { least: Some(65537) }));
    }

    #[test]
    fn the_length_is_set_as_far_as_its_field_can_say() {
        let length = Dns.length_field().unwrap();
        let right = Bytes::from_static(MESSAGES[0]);
        assert_eq!(length.set(&right, right.clone()).unwrap().as_ptr(), right.as_ptr());
        assert_eq!(length.set(&right, [MESSAGES[0], b"abc"].concat().into()).unwrap()[..2], [0, 0x20]);
        assert!(length.set(&right, vec![0; 65537].into()).is_ok());
        assert_eq!(length.set(&right, vec![0; 65538].into()), Err(TooLong { length: 65538, most: 65537 }));
    }
}
