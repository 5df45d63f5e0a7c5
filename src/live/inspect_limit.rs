//! The count of bytes that hooks were shown, for `inspect_limit`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::words::direction::{Both, Direction};

/// The number of bytes of each direction that hooks were shown.
#[derive(Debug, Default)]
pub(super) struct ShownBytes(Both<AtomicU64>);

impl ShownBytes {
    /// Counts `bytes` of `direction`. Returns true if hooks have seen `limit` bytes of it with these.
    pub(super) fn reach(&self, limit: usize, direction: Direction, bytes: usize) -> bool {
        let before = self.0[direction].fetch_add(bytes as u64, Relaxed);
        before + bytes as u64 >= limit as u64
    }
}
