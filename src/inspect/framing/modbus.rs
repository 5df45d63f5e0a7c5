//! Frames of Modbus TCP.

use std::sync::Arc;

use super::{
    framer::{Broken, Cut, Framer},
    length_field::LengthField,
    length_prefix::Field,
};

/// The frames of Modbus TCP: a header of 7 bytes ("MBAP") and a request or an answer (MODBUS Messaging on TCP/IP
/// Implementation Guide V1.0b §3.1.3).
#[derive(Debug, Clone, Copy, Default)]
pub struct Modbus;

/// Counts the unit's number and what is behind it.
const LENGTH: Field = Field::network(4, 2).up_to(MOST);

/// The unit's number, and a function code with up to 252 bytes (MODBUS Application Protocol V1.1b3 §4.1).
const MOST: u64 = 254;

impl Framer for Modbus {
    fn protocol(&self) -> &'static str {
        "modbus"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        if let Some(place) = buffer.iter().take(4).skip(2).position(|byte| *byte != 0) {
            return Err(Broken::at(2 + place, "0, the number of the Modbus protocol"));
        }
        if LENGTH.value(buffer).is_some_and(|length| !(2..=MOST).contains(&length)) {
            return Err(Broken::at(4, format!("the length of a Modbus frame, 2 to {MOST}")));
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

    /// Reading two registers, their values, and an exception.
    const FRAMES: [&[u8]; 3] =
        [b"\0\x01\0\0\0\x06\x11\x03\0\x6b\0\x02", b"\0\x01\0\0\0\x07\x11\x03\x04\x02\x2b\0\0", b"\xff\xfe\0\0\0\x03\x11\x83\x02"];

    #[test]
    fn frames_are_cut_wherever_the_stream_is_split() {
        let behind = b"\0\x01\0\0\0\x02\x11";
        every_split(&Modbus, &[&FRAMES.concat()[..], behind].concat(), &[messages(FRAMES), vec![rest(behind)]].concat());
    }

    #[test]
    fn a_stream_of_any_frames_is_cut_into_them() {
        let frame = (any::<[u8; 2]>(), vec(any::<u8>(), 2..=254)).prop_map(|(transaction, body)| {
            let length = u8::try_from(body.len()).unwrap();
            [&transaction[..], &[0, 0, 0, length], &body].concat()
        });
        holds((vec(frame, 0..5), sizes()), |(frames, sizes)| {
            assert_eq!(parts(&Modbus, ToUpstream, &frames.concat(), &sizes), messages(frames));
        });
        garbage_is_harmless(&Modbus, &FRAMES.concat());
    }

    #[test]
    fn what_is_no_frame_breaks_the_protocol() {
        every_split(&Modbus, b"GET / HTTP/1.1\r\n", &[broken(2, "0, the number of the Modbus protocol")]);
        every_split(&Modbus, b"\0\x01\0\x01\0\x02\x11\x03", &[broken(3, "0, the number of the Modbus protocol")]);
        for length in [b"\0\0", b"\0\x01", b"\0\xff", b"\x01\x02", b"\xff\xff"] {
            let stream = [b"\0\x01\0\0", &length[..], b"\x11\x03"].concat();
            every_split(&Modbus, &stream, &[broken(4, "the length of a Modbus frame, 2 to 254")]);
        }
    }

    #[test]
    fn the_length_is_set_as_far_as_a_frame_may_have_it() {
        let length = Modbus.length_field().unwrap();
        let right = Bytes::from_static(FRAMES[1]);
        assert_eq!(length.set(&right, right.clone()).unwrap().as_ptr(), right.as_ptr());
        let longer = [FRAMES[1], b"\0\x01"].concat();
        assert_eq!(length.set(&right, longer.into()).unwrap()[4..6], [0, 9]);
        assert!(length.set(&right, vec![0; 260].into()).is_ok());
        assert_eq!(length.set(&right, vec![0; 261].into()), Err(TooLong { length: 261, most: 260 }));
    }
}
