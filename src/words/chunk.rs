//! The bytes of one read, as hooks see them.

use std::{any::Any, fmt, io, ops::Deref, sync::Arc, task::Poll};

use bytes::{BufMut, Bytes};

use crate::words::pieces::copied;

/// Memory of a hook, into which a chunk is read so that the hook need not copy it.
pub trait ChunkBuffer: Any + Send + Sync + fmt::Debug {
    /// Returns the size of the memory in bytes.
    fn size(&self) -> usize;

    /// Calls `read` with this memory, which it fills from the beginning. Returns the number of bytes that were read.
    fn read_into(&mut self, read: &mut dyn FnMut(&mut dyn BufMut) -> Poll<io::Result<()>>) -> Poll<io::Result<usize>>;

    /// Returns the bytes that were read into the memory.
    fn filled(&self) -> &[u8];
}

/// The bytes of one read, whose boundaries have no meaning; or a message, as a framer has cut it.
///
/// A clone keeps the bytes unchanged: the buffer is reused only once no clone is left.
#[derive(Debug, Clone)]
pub struct Chunk {
    memory: Memory,
    /// The index of the first byte; the destination has taken the bytes before it.
    start: usize,
    end: usize,
    /// True for bytes of a framed direction that are no whole message.
    is_partial: bool,
}

/// The memory of a chunk.
#[derive(Debug, Clone)]
pub(crate) enum Memory {
    /// The buffer of a thread.
    Buffer(Arc<[u8]>),
    /// The memory of a hook.
    OfHook(Arc<dyn ChunkBuffer>),
    /// Memory of the chunk itself.
    Bytes(Bytes),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::OfHook(buffer) => buffer.filled(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Returns true if both are one memory.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Buffer(one), Self::Buffer(other)) => Arc::ptr_eq(one, other),
            (Self::OfHook(one), Self::OfHook(other)) => Arc::ptr_eq(one, other),
            (Self::Bytes(one), Self::Bytes(other)) => one.as_ptr() == other.as_ptr() && one.len() == other.len(),
            _ => false,
        }
    }
}

impl Chunk {
    /// Returns a chunk of the first `length` bytes of a buffer.
    pub(crate) fn new(buffer: Arc<[u8]>, length: usize) -> Self {
        Self { start: 0, end: length.min(buffer.len()), memory: Memory::Buffer(buffer), is_partial: false }
    }

    /// Returns a chunk of the bytes that were read into a hook's memory.
    pub(crate) fn within(buffer: Arc<dyn ChunkBuffer>) -> Self {
        Self { start: 0, end: buffer.filled().len(), memory: Memory::OfHook(buffer), is_partial: false }
    }

    /// Returns the hook's memory, if the chunk is all that was read into it.
    pub fn buffer(&self) -> Option<&dyn ChunkBuffer> {
        match &self.memory {
            Memory::OfHook(buffer) if self.len() == buffer.filled().len() => Some(&**buffer),
            _ => None,
        }
    }

    /// Returns true for bytes of a framed direction that are no whole message: the rest at the end of a stream, or what
    /// follows where no message begins.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Returns the bytes marked as no whole message.
    pub(crate) fn into_partial(self) -> Self {
        Self { is_partial: true, ..self }
    }

    /// Removes the first `length` bytes, and returns them as a chunk of their own, in the same memory.
    pub(crate) fn split_to(&mut self, length: usize) -> Self {
        let mut first = self.clone();
        first.end = first.start + length;
        self.start += length;
        first
    }

    /// Appends a chunk that continues this one in the same memory. Returns it if it does not.
    pub(crate) fn append(&mut self, next: Self) -> Option<Self> {
        if self.end != next.start || !self.memory.is(&next.memory) {
            return Some(next);
        }
        self.end = next.end;
        None
    }

    /// Returns the memory of the chunk, for the next read.
    pub(crate) fn into_memory(self) -> Memory {
        self.memory
    }

    /// Removes bytes from the beginning.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Returns the bytes from `start` on, to be kept: a copy if they fill less than half of the buffer. `None` if memory for
    /// it is refused.
    pub(crate) fn rest(&self, start: usize) -> Option<Bytes> {
        if let Memory::Bytes(bytes) = &self.memory {
            return Some(bytes.slice(self.start + start..self.end));
        }
        let rest = &self[start..];
        if rest.len() * 2 < self.capacity() { copied(rest) } else { Some(Bytes::from_owner(self.clone()).slice(start..)) }
    }

    /// Returns a copy of the bytes, in memory of its own. `None` if that is refused.
    pub(crate) fn copy(&self) -> Option<Self> {
        Some(Self { is_partial: self.is_partial, ..copied(self)?.into() })
    }

    /// Returns true if the bytes lie in a buffer that may be used again.
    pub(crate) fn is_in_buffer(&self) -> bool {
        !matches!(self.memory, Memory::Bytes(_))
    }

    /// Returns true if the bytes may be kept as they lie: they fill at least half of their memory.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self.memory, Memory::Bytes(_)) || self.len() * 2 >= self.capacity()
    }

    /// Returns the number of bytes of memory that a clone keeps.
    pub fn capacity(&self) -> usize {
        self.memory.bytes().len()
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self { start: 0, end: bytes.len(), memory: Memory::Bytes(bytes), is_partial: false }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes()[self.start..self.end]
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
        let Memory::Buffer(mut buffer) = chunk.into_memory() else { panic!("it lies in a buffer") };
        assert!(Arc::get_mut(&mut buffer).is_none());
        drop(buffer);
        assert_eq!(&*kept, b"abc");
        assert_eq!((kept.rest(0).unwrap(), kept.rest(1).unwrap()), ("abc".into(), "bc".into()));
        let Memory::Buffer(mut buffer) = kept.into_memory() else { panic!("it lies in a buffer") };
        assert_eq!(Arc::get_mut(&mut buffer).as_deref(), Some(&b"abcdef"[..]));
    }
    #[test]
    fn parts_of_a_chunk_share_its_memory_and_are_joined_again_only_in_their_order() {
        for memory in [Memory::Buffer(Arc::from(&b"abcdef"[..])), Memory::Bytes("abcdef".into())] {
            let mut third = Chunk { memory, start: 0, end: 6, is_partial: false };
            let (mut first, second) = (third.split_to(2), third.split_to(1));
            assert_eq!((&*first, &*second, &*third), (&b"ab"[..], &b"c"[..], &b"def"[..]));
            assert_eq!(second.rest(0).unwrap(), "c");
            let third = first.append(third).expect("it is not the next");
            assert!(first.append(second).is_none() && first.append(third).is_none());
            assert_eq!(&*first, b"abcdef");
            assert!(first.append(Bytes::from("abcdef").into()).is_some(), "it is another memory");
        }
    }
}
