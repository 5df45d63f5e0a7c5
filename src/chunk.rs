//! The bytes of one read, as hooks see them.

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;

/// The bytes of one read. Its borders mean nothing.
///
/// A clone keeps the bytes as they are: the buffer is used again only when nobody has one.
#[derive(Debug, Clone)]
pub struct Chunk {
    buffer: Arc<[u8]>,
    length: usize,
}

impl Chunk {
    /// The first `length` bytes of a buffer.
    pub(crate) fn new(buffer: Arc<[u8]>, length: usize) -> Self {
        Self { length: length.min(buffer.len()), buffer }
    }

    /// The buffer, for the next read, unless somebody has kept a clone.
    pub(crate) fn into_buffer(self) -> Option<Arc<[u8]>> {
        let mut buffer = self.buffer;
        Arc::get_mut(&mut buffer).is_some().then_some(buffer)
    }

    /// What follows `start`, to be kept: a copy where that is less than half of the buffer.
    pub(crate) fn rest(&self, start: usize) -> Bytes {
        let rest = &self[start..];
        if rest.len() * 2 < self.buffer.len() {
            Bytes::copy_from_slice(rest)
        } else {
            Bytes::from_owner(self.clone()).slice(start..)
        }
    }

    /// How much memory a clone keeps.
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_clone_keeps_its_bytes_from_the_next_read() {
        let chunk = Chunk::new(Arc::from(&b"abcdef"[..]), 3);
        let kept = chunk.clone();
        assert!(chunk.into_buffer().is_none());
        assert_eq!(&*kept, b"abc");
        assert_eq!((&kept.rest(0)[..], &kept.rest(1)[..]), (&b"abc"[..], &b"bc"[..]));
        assert_eq!(kept.into_buffer().as_deref(), Some(&b"abcdef"[..]));
    }
}
