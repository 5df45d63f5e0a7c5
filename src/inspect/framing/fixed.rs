//! Messages of one length.

use super::framer::{Broken, Cut, Framer};
use crate::words::error::{Error, ErrorKind};

/// Messages that all have one length.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    /// In bytes, at least 1.
    length: u64,
}

impl Fixed {
    /// Returns the framing of messages of `length` bytes each, at least 1.
    pub fn new(length: u64) -> Result<Self, Error> {
        if length == 0 {
            let message = "fixed: a message of 0 bytes never ends: try the length of your messages in bytes, 1 or more";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self { length })
    }
}

impl Framer for Fixed {
    fn protocol(&self) -> &'static str {
        "fixed"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        Ok(Cut::whole(self.length, buffer.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::framing::testing::{
            every_split,
            garbage::{garbage_is_harmless, holds, parts, sizes},
            messages, rest,
        },
        words::direction::Direction::ToClient,
    };

    #[test]
    fn messages_have_the_length_wherever_the_stream_is_split() {
        let three = Fixed::new(3).unwrap();
        every_split(&three, b"abcdefgh", &[messages([b"abc", b"def"]), vec![rest(b"gh")]].concat());
        holds((1..20_usize, 0..60_usize, sizes()), |(length, total, sizes)| {
            let mut expected = messages(vec![vec![7; length]; total / length]);
            expected.extend((total % length > 0).then(|| rest(vec![7; total % length])));
            assert_eq!(parts(&Fixed::new(length as u64).unwrap(), ToClient, &vec![7; total], &sizes), expected);
        });
        garbage_is_harmless(&three, b"abcdefg");
    }

    #[test]
    fn a_huge_length_is_known_from_the_first_byte_on() {
        assert_eq!(Fixed::new(1 << 63).unwrap().cut(b"a", 0), Ok(Cut::More { least: Some(1 << 63) }));
    }

    #[test]
    fn a_length_of_nothing_is_refused_with_a_way_out() {
        let error = Fixed::new(0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("1 or more"), "{error}");
    }
}
