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

/// The bytes of one read. Its boundaries have no meaning.
///
/// A clone keeps the bytes unchanged: the buffer is reused only once no clone is left.
#[derive(Debug, Clone)]
pub struct Chunk {
    memory: Memory,
    /// The index of the first byte; the destination has taken the bytes before it.
    start: usize,
    end: usize,
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
}

impl Chunk {
    /// Returns a chunk of the first `length` bytes of a buffer.
    pub(crate) fn new(buffer: Arc<[u8]>, length: usize) -> Self {
        Self { start: 0, end: length.min(buffer.len()), memory: Memory::Buffer(buffer) }
    }

    /// Returns a chunk of the bytes that were read into a hook's memory.
    pub(crate) fn within(buffer: Arc<dyn ChunkBuffer>) -> Self {
        Self { start: 0, end: buffer.filled().len(), memory: Memory::OfHook(buffer) }
    }

    /// Returns the hook's memory, if the chunk lies there.
    pub fn buffer(&self) -> Option<&dyn ChunkBuffer> {
        match &self.memory {
            Memory::Buffer(_) | Memory::Bytes(_) => None,
            Memory::OfHook(buffer) => Some(&**buffer),
        }
    }

    /// Returns the memory of the chunk, for the next read.
    pub(crate) fn into_memory(self) -> Memory {
        self.memory
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Removes bytes from the beginning.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Returns the bytes from `start` on, to be kept: a copy if they fill less than half of the buffer. `None` if memory for
    /// it is refused.
    pub(crate) fn rest(&self, start: usize) -> Option<Bytes> {
        if let Memory::Bytes(bytes) = &self.memory {
            return Some(bytes.slice(self.start + start..));
        }
        let rest = &self[start..];
        if rest.len() * 2 < self.capacity() { copied(rest) } else { Some(Bytes::from_owner(self.clone()).slice(start..)) }
    }

    /// Returns the number of bytes of memory that a clone keeps.
    pub fn capacity(&self) -> usize {
        self.memory.bytes().len()
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self { start: 0, end: bytes.len(), memory: Memory::Bytes(bytes) }
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
}
