//! Packets as a reader returns them, and what breaks a file.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// An interface as a file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kind of link-layer header that its packets begin with.
    pub link: u16,
    /// Its name; empty if the file has none.
    pub name: String,
    pub(super) clock: Clock,
}

/// The meaning of an interface's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// The resolution as the file has it: a power of ten, or of two where the highest bit is set.
    pub(super) resolution: u8,
    /// Seconds that are added.
    pub(super) offset: i64,
}

impl Clock {
    pub(super) const MICROSECONDS: Self = Self { resolution: 6, offset: 0 };
    pub(super) const NANOSECONDS: Self = Self { resolution: 9, offset: 0 };

    /// Returns nanoseconds since 1970, within the bounds of their type.
    pub(super) fn nanoseconds(self, time: u64) -> u64 {
        let power = u32::from(self.resolution & 0x7F);
        let time = u128::from(time);
        let since = if self.resolution & 0x80 != 0 {
            (time * 1_000_000_000).checked_shr(power).unwrap_or(0)
        } else if power <= 9 {
            time * 10_u128.pow(9 - power)
        } else {
            10_u128.checked_pow(power - 9).map_or(0, |divisor| time / divisor)
        };
        let since = i128::try_from(since).unwrap_or(i128::MAX);
        let moved = since.saturating_add(i128::from(self.offset) * 1_000_000_000);
        u64::try_from(moved.max(0)).unwrap_or(u64::MAX)
    }
}

/// A packet of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The place of its record in the file.
    pub place: u64,
    /// Nanoseconds since 1970.
    pub at: u64,
    /// The interface that it was seen at.
    pub interface: Arc<Interface>,
    /// The bytes that were kept.
    pub data: Bytes,
    /// The number of bytes that it had.
    pub original: u32,
    /// Its comments.
    pub comments: Vec<String>,
}

/// The cause for which a file cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The first byte that has no meaning; everything before it is whole.
    pub place: u64,
    /// The fault, and what to do.
    pub fault: String,
}

impl Broken {
    pub(super) fn at(place: u64, fault: impl Into<String>) -> Self {
        Self { place, fault: fault.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.place, self.fault)
    }
}

/// The order of bytes in a number of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// Returns the number at `place`, or 0 behind the end of `bytes`.
    pub(super) fn u16(self, bytes: &[u8], place: usize) -> u16 {
        let pair = bytes.get(place..place + 2).and_then(|pair| pair.try_into().ok()).unwrap_or_default();
        if self == Self::Little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    }

    /// Returns the number at `place`, or 0 behind the end of `bytes`.
    pub(super) fn u32(self, bytes: &[u8], place: usize) -> u32 {
        let word = bytes.get(place..place + 4).and_then(|word| word.try_into().ok()).unwrap_or_default();
        if self == Self::Little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_resolution_are_nanoseconds() {
        let of = |resolution, offset, time| Clock { resolution, offset }.nanoseconds(time);
        assert_eq!(of(6, 0, 1_500_000), 1_500_000_000);
        assert_eq!(of(9, 1, 5), 1_000_000_005);
        assert_eq!(of(0, -2, 3), 1_000_000_000);
        assert_eq!(of(12, 0, 5_000), 5);
        assert_eq!(of(0x80 | 10, 0, 512), 500_000_000);
        assert_eq!((of(9, i64::MIN, 5), of(0, i64::MAX, u64::MAX), of(127, 0, u64::MAX), of(255, 0, 9)), (0, u64::MAX, 0, 0));
    }
}
