//! Messages with a length in base 128 before them.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    framer::{Broken, Cut, Framer},
    length_field::{LengthField, TooLong, overwritten},
};

/// Messages with a varint before them that counts the bytes behind it, as the delimited messages of Protocol Buffers have it
/// (Encoding, "Base 128 Varints"; `writeDelimitedTo`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Varint;

/// 10 bytes at most, for a number of 64 bits.
const LENGTH: Base128 = Base128 { offset: 0, width: 10, most: u64::MAX, expected: "the end of a length of 64 bits" };

impl Framer for Varint {
    fn protocol(&self) -> &'static str {
        "varint"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        LENGTH.cut(buffer)
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(LENGTH))
    }
}

/// A length field in base 128 that counts the bytes behind it: 7 bits a byte, the least significant first, and the highest
/// bit set in all bytes but the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base128 {
    /// The number of bytes before the field.
    pub offset: usize,
    /// The maximum number of bytes of the field.
    pub width: usize,
    /// The maximum value.
    pub most: u64,
    /// The words for what was expected in place of a longer field, or of one with a greater value.
    pub expected: &'static str,
}

impl Base128 {
    /// Cuts the message at the beginning of `buffer`.
    pub fn cut(&self, buffer: &[u8]) -> Result<Cut, Broken> {
        Ok(match self.read(buffer)? {
            Some((value, behind)) => Cut::whole(value.saturating_add(behind as u64), buffer.len()),
            None => Cut::MORE,
        })
    }

    /// Returns the value of the field and the index of the first byte behind it, if `buffer` has all of it.
    fn read(&self, buffer: &[u8]) -> Result<Option<(u64, usize)>, Broken> {
        let mut value = 0_u64;
        for (index, byte) in buffer.iter().enumerate().skip(self.offset).take(self.width) {
            let (bits, place) = (u64::from(byte & 0x7f), index - self.offset);
            let is_last = byte & 0x80 == 0;
            // The bits of a number of 64 that its tenth byte has no room for get lost by the shift.
            let part = bits << (7 * place);
            if part >> (7 * place) != bits || value | part > self.most || !is_last && place + 1 == self.width {
                return Err(Broken::at(index, self.expected));
            }
            value |= part;
            if is_last {
                return Ok(Some((value, index + 1)));
            }
        }
        Ok(None)
    }
}

impl LengthField for Base128 {
    fn set(&self, _: &[u8], instead: Bytes) -> Result<Bytes, TooLong> {
        let Ok(Some((value, behind))) = self.read(&instead) else { return Ok(instead) };
        let body = (instead.len() - behind) as u64;
        if value == body {
            return Ok(instead);
        }
        let (digits, width) = digits(body);
        if body > self.most {
            return Err(TooLong { length: instead.len(), most: self.most.saturating_add((self.offset + self.width) as u64) });
        }
        if width == behind - self.offset {
            return Ok(overwritten(instead, self.offset, &digits[..width]));
        }
        let mut changed = BytesMut::with_capacity(self.offset + width + instead.len() - behind);
        changed.put_slice(&instead[..self.offset]);
        changed.put_slice(&digits[..width]);
        changed.put_slice(&instead[behind..]);
        Ok(changed.freeze())
    }
}

/// Returns the shortest field for `value`, and the number of its bytes.
fn digits(mut value: u64) -> ([u8; 10], usize) {
    let (mut digits, mut width) = ([0; 10], 0);
    loop {
        digits[width] = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return (digits, width + 1);
        }
        digits[width] |= 0x80;
        width += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;

    use super::*;
    use crate::{
        inspect::framing::testing::{
            broken, every_split,
            garbage::{garbage_is_harmless, holds, parts, sizes},
            messages, rest,
        },
        words::direction::Direction::ToClient,
    };

    /// Returns a message with `body` bytes behind its length.
    fn message(body: usize) -> Vec<u8> {
        let (digits, width) = digits(body as u64);
        [&digits[..width], &vec![b'a'; body]].concat()
    }

    #[test]
    fn messages_are_cut_by_their_length_wherever_the_stream_is_split() {
        let whole = [message(0), message(3), message(127), message(128), message(300), b"\x82\x80\0ab".to_vec()];
        assert_eq!(whole[4][..2], [0xac, 0x02], "the example of the specification");
        every_split(&Varint, &[&whole.concat()[..], b"\x80"].concat(), &[messages(&whole), vec![rest(b"\x80")]].concat());
    }

    #[test]
    fn a_stream_of_any_messages_is_cut_into_them() {
        holds((vec(0..600_usize, 0..6), sizes()), |(bodies, sizes)| {
            let whole: Vec<Vec<u8>> = bodies.into_iter().map(message).collect();
            assert_eq!(parts(&Varint, ToClient, &whole.concat(), &sizes), messages(whole));
        });
        garbage_is_harmless(&Varint, &[message(2), message(130), vec![0xff; 9], vec![1]].concat());
    }

    #[test]
    fn a_length_of_more_than_64_bits_breaks_the_protocol() {
        every_split(&Varint, &[0xff; 12], &[broken(9, "the end of a length of 64 bits")]);
        every_split(&Varint, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02a", &[broken(9, "the end of a length of 64 bits")]);
    }

    #[test]
    fn a_hostile_length_is_known_before_memory_is_needed_for_it() {
        let cut = |value| Varint.cut(&digits(value).0[..digits(value).1], 0);
        assert_eq!(cut(1 << 31), Ok(Cut::More { least: Some((1 << 31) + 5) }));
        assert_eq!(cut(1 << 63), Ok(Cut::More { least: Some((1 << 63) + 10) }));
        assert_eq!(cut(u64::MAX), Ok(Cut::More { least: Some(u64::MAX) }), "-1, as a negative number is written");
    }

    #[test]
    fn the_field_is_set_for_the_new_length_with_as_few_bytes_as_it_needs() {
        let set = |instead: &[u8]| LENGTH.set(b"", instead.to_vec().into()).unwrap();
        assert_eq!(set(b"\x01abc"), &b"\x03abc"[..]);
        assert_eq!(set(b"\xac\x02abc"), &b"\x03abc"[..]);
        assert_eq!(set(&[&b"\x01"[..], &[b'a'; 300]].concat()), message(300));
        assert_eq!(set(b"\x80"), &b"\x80"[..], "no field, so it stays as it is");
        assert_eq!(set(&[0xff; 20]), vec![0xff; 20]);
        holds((vec(0x80_u8.., 0..3), 0..0x80_u8, 0..400_usize), |(mut field, last, body)| {
            field.push(last);
            let set = set(&[&field[..], &vec![b'a'; body]].concat());
            assert_eq!(Varint.cut(&set, 0), Ok(Cut::Message(set.len())));
            assert_eq!(set[set.len() - body..], vec![b'a'; body]);
        });
    }

    #[test]
    fn a_message_that_is_right_already_keeps_its_memory() {
        for right in [message(3), message(300), b"\x82\x80\0ab".to_vec()] {
            let right = Bytes::from(right);
            assert_eq!(LENGTH.set(&right, right.clone()).unwrap().as_ptr(), right.as_ptr());
        }
    }
}
