//! Messages with a number that says their length: a length field of 1 to 8 bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    framer::{Broken, Cut, Framer},
    length_field::{LengthField, TooLong, overwritten},
};
use crate::words::error::{Error, ErrorKind};

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The most significant byte comes first, as in most network protocols.
    Big,
    Little,
}

/// Messages with a length field of a fixed width, anywhere in their header.
///
/// The length of a message is `offset + width + value + adjust` bytes: what stands before the field, the field, and what its
/// value counts. `adjust` makes up for what the value leaves out, or counts twice:
///
/// | the value counts | `adjust` |
/// |---|---|
/// | the bytes behind the field | 0 |
/// | the whole message, header included | `-(offset + width)` |
/// | the field and what is behind it | `-width` |
/// | the bytes behind the field, without a checksum of 2 bytes at the end | 2 |
#[derive(Debug, Clone, Copy)]
pub struct LengthPrefixed(Field);

impl LengthPrefixed {
    /// Returns the framing by a field of `width` bytes (1 to 8) that has `offset` bytes before it.
    pub fn new(width: u64, offset: u64, order: ByteOrder, adjust: i64) -> Result<Self, Error> {
        let wrong = |message: String| Error::new(ErrorKind::Config, format!("length_prefixed: {message}"));
        let bytes = match usize::try_from(width) {
            Ok(bytes @ 1..=8) => bytes,
            _ => return Err(wrong(format!("width is {width} bytes, and a length field has 1 to 8: try 4"))),
        };
        let Some(offset) = usize::try_from(offset).ok().filter(|offset| offset.checked_add(bytes).is_some()) else {
            return Err(wrong(format!("offset is {offset} bytes: try the number of bytes before the length field, often 0")));
        };
        let most = greatest(bytes);
        let field = Field { offset, width: bytes, order, adjust, most };
        if i128::from(most) + i128::from(adjust) < 0 {
            let why = format!("adjust is {adjust}, and the greatest value of the field is {most}, so no length would be valid");
            return Err(wrong(format!("{why}: try -{}, if the value counts the whole message", offset + bytes)));
        }
        Ok(Self(field))
    }
}

impl Framer for LengthPrefixed {
    fn protocol(&self) -> &'static str {
        "length_prefixed"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        self.0.cut(buffer)
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(self.0))
    }
}

/// A length field of a fixed width, for the protocols that have one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// The number of bytes before the field.
    pub offset: usize,
    /// The number of bytes of the field, 1 to 8.
    pub width: usize,
    pub order: ByteOrder,
    /// The number of bytes of a message that its value leaves out, the header not included; negative if it counts more.
    pub adjust: i64,
    /// The greatest value that is written.
    pub most: u64,
}

impl Field {
    /// Returns the field of a network protocol, whose value counts what is behind it.
    pub const fn network(offset: usize, width: usize) -> Self {
        Self { offset, width, order: ByteOrder::Big, adjust: 0, most: greatest(width) }
    }

    /// Returns the field without values above `most`.
    pub const fn up_to(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Cuts the message at the beginning of `buffer`.
    pub fn cut(&self, buffer: &[u8]) -> Result<Cut, Broken> {
        let Some(value) = self.value(buffer) else {
            return Ok(Cut::More { least: Some(self.header() as u64) });
        };
        let length = self.base() + i128::from(value);
        if length < self.header() as i128 {
            let expected = format!("a length of {} or more, not {value}", self.adjust.unsigned_abs());
            return Err(Broken::at(self.offset, expected));
        }
        Ok(Cut::whole(u64::try_from(length).unwrap_or(u64::MAX), buffer.len()))
    }

    /// Returns the value of the field, if `buffer` has all of it.
    pub fn value(&self, buffer: &[u8]) -> Option<u64> {
        let bytes = buffer.get(self.offset..self.header())?;
        let fold = |value, byte: &u8| value << 8 | u64::from(*byte);
        Some(match self.order {
            ByteOrder::Big => bytes.iter().fold(0, fold),
            ByteOrder::Little => bytes.iter().rev().fold(0, fold),
        })
    }

    /// Returns the number of bytes up to the end of the field.
    const fn header(&self) -> usize {
        self.offset + self.width
    }

    /// Returns the length of a message whose field is 0.
    fn base(&self) -> i128 {
        self.header() as i128 + i128::from(self.adjust)
    }
}

impl LengthField for Field {
    fn set(&self, _: &[u8], instead: Bytes) -> Result<Bytes, TooLong> {
        let length = instead.len();
        let Ok(value) = u64::try_from(length as i128 - self.base()) else { return Ok(instead) };
        if length < self.header() {
            return Ok(instead);
        }
        if value > self.most {
            let most = u64::try_from(self.base() + i128::from(self.most)).unwrap_or(u64::MAX);
            return Err(TooLong { length, most });
        }
        let field = match self.order {
            ByteOrder::Big => value << (64 - 8 * self.width),
            ByteOrder::Little => value.swap_bytes(),
        };
        Ok(overwritten(instead, self.offset, &field.to_be_bytes()[..self.width]))
    }
}

/// Returns the greatest value of a field of `width` bytes.
const fn greatest(width: usize) -> u64 {
    u64::MAX >> (64 - 8 * width)
}

#[cfg(test)]
mod tests;
