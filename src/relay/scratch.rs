//! What relays read into. It belongs to the thread, so a connection has no memory while it is idle.

use std::{cell::RefCell, sync::Arc};

use super::pump::BUFFER;

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
            buffer.resize(BUFFER, 0);
        }
        f(buffer)
    })
}

/// A buffer of this size that nobody else has.
pub(super) fn take_chunk(size: usize) -> Arc<[u8]> {
    let kept = CHUNK.take().filter(|buffer| buffer.len() == size);
    kept.unwrap_or_else(|| std::iter::repeat_n(0, size).collect())
}

/// Keeps a buffer for the next chunk, unless somebody has kept what is in it.
pub(super) fn give_back(mut buffer: Arc<[u8]>) {
    if Arc::get_mut(&mut buffer).is_some() {
        CHUNK.set(Some(buffer));
    }
}
