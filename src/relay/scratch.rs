//! What relays read into. It belongs to the thread, so a connection has no memory while it is idle.

use std::{cell::RefCell, sync::Arc};

use super::pump::BUFFER;

/// What is read into where there is no memory for more. On the stack.
const LEAST: usize = 4096;

thread_local! {
    /// For what nobody looks at. Nothing stays in it between two polls.
    static NATIVE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// For chunks. Moved out while one is read and shown.
    static CHUNK: RefCell<Option<Arc<Vec<u8>>>> = const { RefCell::new(None) };
}

/// Lends `f` the thread's buffer.
pub(super) fn with_buffer<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    NATIVE.with_borrow_mut(|buffer| {
        if buffer.is_empty() {
            match zeroed(BUFFER) {
                Some(memory) => *buffer = memory,
                None => return f(&mut [0; LEAST]),
            }
        }
        f(buffer)
    })
}

/// Returns a buffer of this size that nobody else has, or `None` if there is no memory for one.
pub(super) fn take_chunk(size: usize) -> Option<Arc<Vec<u8>>> {
    let kept = CHUNK.take().filter(|buffer| buffer.len() == size);
    kept.or_else(|| zeroed(size).map(Arc::new))
}

fn zeroed(size: usize) -> Option<Vec<u8>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(size).ok()?;
    memory.resize(size, 0);
    Some(memory)
}

/// Keeps a buffer for the next chunk, unless somebody has kept what is in it.
pub(super) fn give_back(mut buffer: Arc<Vec<u8>>) {
    if Arc::get_mut(&mut buffer).is_some() {
        CHUNK.set(Some(buffer));
    }
}
