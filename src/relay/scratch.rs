//! What relays read into. It belongs to the thread, so a connection has no memory while it is idle.

use std::{cell::RefCell, sync::Arc};

use super::pump::BUFFER;

/// Size of the buffer on the stack that reads use where there is no memory for more.
const LEAST: usize = 4096;

thread_local! {
    /// For what nobody looks at. Nothing stays in it between two polls.
    static NATIVE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// For chunks. Moved out while one is read and shown.
    static CHUNK: RefCell<Option<Arc<[u8]>>> = const { RefCell::new(None) };
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

/// Returns a buffer of this size that nobody else has, or `None` if there is no memory for one.
pub(super) fn take_chunk(size: usize) -> Option<Arc<[u8]>> {
    let kept = CHUNK.take().filter(|buffer| buffer.len() == size);
    // Asked for first where it can be refused: an Arc of a slice cannot be. In an Arc of a Vec the bytes would lie 16
    // bytes behind the start of a page, where the kernel's copies of 16 KiB take a tenth longer.
    kept.or_else(|| {
        // Without the black box the compiler leaves out a memory that nobody uses.
        drop(std::hint::black_box(reserved(size)?));
        Some(std::iter::repeat_n(0, size).collect())
    })
}

fn reserved(size: usize) -> Option<Vec<u8>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(size).ok()?;
    Some(memory)
}

/// Keeps a buffer for the next chunk, unless somebody has kept what is in it.
pub(super) fn give_back(mut buffer: Arc<[u8]>) {
    if Arc::get_mut(&mut buffer).is_some() {
        CHUNK.set(Some(buffer));
    }
}
