//! The buffers into which relays read. They belong to the thread, so an idle connection has no buffer.

use std::{
    cell::RefCell,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use super::turn::BUFFER;
use crate::{
    inspect::faults::budget,
    io::stream::Stream,
    words::chunk::{Chunk, ChunkBuffer, Memory},
};

/// Number of spare buffers for chunks that a thread keeps at most while bytes wait for their time, 128 MiB: what came in one go
/// comes due in one go, and memory that is new to the process costs as much as the copy into it.
const SPARE: usize = 512;

/// Number of chunks after which half of the spare buffers that none of them has needed are given up.
const LOOK: u32 = 1024;

/// Size of the buffer on the stack that reads use where there is no memory for more.
const LEAST: usize = 4096;

thread_local! {
    /// The buffer for bytes that no hook sees. Empty between two polls.
    static NATIVE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The buffers for chunks. One is moved out while a chunk is read and shown, and as long as it waits for its time.
    static CHUNKS: RefCell<Spare> = const { RefCell::new(Spare { buffers: Vec::new(), unneeded: 0, taken: 0 }) };
}

/// Buffers of one size.
struct Spare {
    buffers: Vec<Arc<[u8]>>,
    /// The least number of them since the last look.
    unneeded: usize,
    /// The number of chunks since then.
    taken: u32,
}

impl Spare {
    fn take(&mut self, size: usize) -> Option<Arc<[u8]>> {
        if self.buffers.last().is_some_and(|buffer| buffer.len() != size) {
            self.buffers.clear();
        }
        let buffer = self.buffers.pop();
        (self.unneeded, self.taken) = (self.unneeded.min(self.buffers.len()), self.taken + 1);
        if self.taken >= LOOK {
            self.buffers.truncate(self.buffers.len() - self.unneeded / 2);
            (self.unneeded, self.taken) = (self.buffers.len(), 0);
        }
        buffer
    }

    fn put(&mut self, buffer: Arc<[u8]>) {
        self.buffers.truncate(if budget::of_process() == 0 { 0 } else { SPARE - 1 });
        self.buffers.push(buffer);
    }
}

/// Lends `f` the thread's buffer.
pub(super) fn with_buffer<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    NATIVE.with_borrow_mut(|buffer| {
        if buffer.is_empty() {
            match reserved(BUFFER) {
                Some(memory) => *buffer = memory,
                None => return f(&mut [0; LEAST]),
            }
            buffer.resize(BUFFER, 0);
        }
        f(buffer)
    })
}

/// Returns a buffer of this size with no other owner, or `None` if there is no memory for one.
pub(super) fn take_chunk(size: usize) -> Option<Arc<[u8]>> {
    let kept = CHUNKS.with_borrow_mut(|spare| spare.take(size));
    // Reserved first by a call that can fail: allocating an Arc of a slice cannot. In an Arc of a Vec the bytes would lie 16
    // bytes behind the start of a page, where the kernel's copies of 16 KiB take a tenth longer.
    kept.or_else(|| {
        // Without the black box the compiler removes memory that is never used.
        drop(std::hint::black_box(reserved(size)?));
        Some(std::iter::repeat_n(0, size).collect())
    })
}

fn reserved(size: usize) -> Option<Vec<u8>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(size).ok()?;
    Some(memory)
}

/// Keeps a buffer for the next chunk, unless a clone of its chunk is left.
pub(super) fn put_back(mut buffer: Arc<[u8]>) {
    if Arc::get_mut(&mut buffer).is_none() {
        return;
    }
    CHUNKS.with_borrow_mut(|spare| spare.put(buffer));
}

/// Returns the memory of spare buffers that nobody needs any more.
pub(super) fn give_up_spare() {
    if budget::of_process() == 0 {
        CHUNKS.with_borrow_mut(|spare| spare.buffers.truncate(1));
    }
}

/// Returns a chunk's memory to the thread, or to the hooks.
pub(super) fn recycle(chunk: Chunk, give_back: impl FnOnce(Arc<dyn ChunkBuffer>)) {
    match chunk.into_memory() {
        Memory::Buffer(buffer) => put_back(buffer),
        Memory::OfHook(buffer) => give_back(buffer),
        Memory::Bytes(_) => {}
    }
}

/// The outcome of a read, and its chunk, if any bytes came.
type Taken = (io::Result<usize>, Option<Chunk>);

/// Reads a chunk: into the hooks' memory if there is some, which `give_back` returns to them if it is not needed.
pub(super) fn read_chunk(
    source: &mut Stream,
    size: usize,
    buffer: Option<Arc<dyn ChunkBuffer>>,
    give_back: impl FnOnce(Arc<dyn ChunkBuffer>),
    cx: &mut Context<'_>,
) -> Poll<Taken> {
    match buffer {
        Some(buffer) => read_into_memory_of_hook(source, buffer, give_back, cx),
        None => read_into_buffer(source, size, cx),
    }
}

fn read_into_buffer(source: &mut Stream, size: usize, cx: &mut Context<'_>) -> Poll<Taken> {
    let Some(mut buffer) = take_chunk(size) else { return Poll::Ready((Err(io::ErrorKind::OutOfMemory.into()), None)) };
    // The buffer has no other owner; if it had, the next step would take another.
    let Some(bytes) = Arc::get_mut(&mut buffer) else { return Poll::Ready((Err(io::ErrorKind::Interrupted.into()), None)) };
    match source.poll_read(cx, bytes) {
        Poll::Ready(Ok(bytes)) if bytes > 0 => Poll::Ready((Ok(bytes), Some(Chunk::new(buffer, bytes)))),
        nothing => {
            put_back(buffer);
            nothing.map(|read| (read, None))
        }
    }
}

/// Reads into a hook's memory. The hook can use it only as a whole, so a smaller chunk is copied out of it.
fn read_into_memory_of_hook(
    source: &mut Stream,
    mut buffer: Arc<dyn ChunkBuffer>,
    give_back: impl FnOnce(Arc<dyn ChunkBuffer>),
    cx: &mut Context<'_>,
) -> Poll<Taken> {
    let Some(memory) = Arc::get_mut(&mut buffer) else { return read_into_buffer(source, buffer.size(), cx) };
    let read = memory.read_into(&mut |buffer| source.poll_receive(cx, buffer).map_ok(drop));
    if let Poll::Ready(Ok(bytes)) = read
        && bytes == buffer.size()
    {
        return Poll::Ready((Ok(bytes), Some(Chunk::within(buffer))));
    }
    let chunk = matches!(read, Poll::Ready(Ok(1..))).then(|| copied_into_buffer(buffer.filled(), buffer.size()));
    give_back(buffer);
    match chunk {
        Some(None) => Poll::Ready((Err(io::ErrorKind::OutOfMemory.into()), None)),
        chunk => read.map(|read| (read, chunk.flatten())),
    }
}

fn copied_into_buffer(bytes: &[u8], size: usize) -> Option<Chunk> {
    let mut buffer = take_chunk(size)?;
    Arc::get_mut(&mut buffer)?[..bytes.len()].copy_from_slice(bytes);
    Some(Chunk::new(buffer, bytes.len()))
}
