//! Bytes that are read from the front, and the numbers in them.

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<Bytes<'a>> {
        let (front, behind) = self.0.split_at_checked(length)?;
        self.0 = behind;
        Some(Bytes(front))
    }

    /// Takes a number of one byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.0.first().copied()
    }

    /// Takes a number of two bytes.
    pub(super) fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.0.try_into().ok()?))
    }

    /// Takes bytes that stand behind their length, which is a number of one byte.
    pub(super) fn short(&mut self) -> Option<Bytes<'a>> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// Takes bytes that stand behind their length, which is a number of two bytes.
    pub(super) fn long(&mut self) -> Option<Bytes<'a>> {
        let length = self.number()?;
        self.take(length.into())
    }

    /// Returns the numbers of two bytes that these are, without GREASE; `None` if there is none, or half of one.
    pub(super) fn numbers(self) -> Option<Vec<u16>> {
        let numbers = self.0.chunks_exact(2);
        if self.is_empty() || !numbers.remainder().is_empty() {
            return None;
        }
        let numbers = numbers.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let mut kept = Vec::with_capacity(self.0.len() / 2);
        kept.extend(numbers.filter(|number| !is_grease(*number)));
        Some(kept)
    }
}

/// Returns true for numbers without a meaning, which clients send to keep servers tolerant (RFC 8701).
pub(super) fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}
