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
use interpose::words::chunk::Room;

/// How many rooms there are. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Rooms(Arc<AtomicUsize>);

#[derive(Debug)]
struct Vector {
    memory: Vec<u8>,
    filled: usize,
    rooms: Rooms,
}

impl Rooms {
    pub fn one(&self, size: usize) -> Arc<dyn Room> {
        self.0.fetch_add(1, Relaxed);
        Arc::new(Vector { memory: vec![0; size], filled: 0, rooms: self.clone() })
    }

    /// How many have not been dropped.
    pub fn alive(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Room for Vector {
    fn size(&self) -> usize {
        self.memory.len()
    }

    fn fill(&mut self, read: &mut dyn FnMut(&mut dyn BufMut) -> Poll<io::Result<()>>) -> Poll<io::Result<usize>> {
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

impl Drop for Vector {
    fn drop(&mut self) {
        self.rooms.0.fetch_sub(1, Relaxed);
    }
}
