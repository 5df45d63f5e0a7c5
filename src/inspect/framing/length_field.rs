//! Length fields, set right for a message that goes out in place of another.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// The length field of a protocol's messages.
pub trait LengthField: Send + Sync + fmt::Debug {
    /// Returns `instead`, which is to go out in place of `message`, with its length field set right for its length; the same
    /// memory if the field is right already. A message too short to have the field is returned as it is.
    fn set(&self, message: &[u8], instead: Bytes) -> Result<Bytes, TooLong>;
}

/// A message that is longer than its length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Its length in bytes.
    pub length: usize,
    /// The maximum length in bytes that the field can say.
    pub most: u64,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes, of which its length field can say {} at most", self.length, self.most)
    }
}

/// Returns `message` with `bytes` at `offset`: in its own memory, unless that is shared and the bytes differ.
pub(super) fn overwritten(message: Bytes, offset: usize, bytes: &[u8]) -> Bytes {
    let place = offset..offset + bytes.len();
    if message[place.clone()] == *bytes {
        return message;
    }
    let mut changed = BytesMut::from(message);
    changed[place].copy_from_slice(bytes);
    changed.freeze()
}
