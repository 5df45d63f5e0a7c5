//! Memory of a hook's own, into which chunks are read.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, ready},
};

use bytes::BufMut;
use interpose::words::chunk::ChunkBuffer;

/// How many buffers there are. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct ChunkBuffers(Arc<AtomicUsize>);

#[derive(Debug)]
struct Counted {
    memory: Vec<u8>,
    filled: usize,
    buffers: ChunkBuffers,
}

impl ChunkBuffers {
    pub fn one(&self, size: usize) -> Arc<dyn ChunkBuffer> {
        self.0.fetch_add(1, Relaxed);
        Arc::new(Counted { memory: vec![0; size], filled: 0, buffers: self.clone() })
    }

    /// How many have not been dropped.
    pub fn alive(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl ChunkBuffer for Counted {
    fn size(&self) -> usize {
        self.memory.len()
    }

    fn read_into(&mut self, read: &mut dyn FnMut(&mut dyn BufMut) -> Poll<io::Result<()>>) -> Poll<io::Result<usize>> {
        let mut left = &mut self.memory[..];
        ready!(read(&mut left))?;
        let left = left.len();
        self.filled = self.memory.len() - left;
        Poll::Ready(Ok(self.filled))
    }

    fn filled(&self) -> &[u8] {
        &self.memory[..self.filled]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.buffers.0.fetch_sub(1, Relaxed);
    }
}
