//! Copies of bytes that pass, for those who look at them. Large ones lie in memory that is used again: fresh memory would be
//! cleared by the system first, which takes as long as the copy.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use crate::words::lock::EvenPoisoned;

/// Minimum bytes of a copy whose memory is used again.
const LARGE: usize = 128 * 1024;

/// Maximum number of unused memories: as many as a sink writes at once, and as many more.
const MOST_SPARE: usize = 8;

/// Makes copies, and keeps the memory of those that are no longer used.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<Vec<Vec<u8>>>);

impl Copies {
    /// Returns a copy of `bytes`. It takes at most twice their memory.
    pub(super) fn of(self: &Arc<Self>, bytes: &[u8]) -> Bytes {
        if bytes.len() < LARGE {
            return Bytes::copy_from_slice(bytes);
        }
        let mut memory = self.0.lock().even_poisoned().pop().unwrap_or_default();
        if memory.capacity() > 2 * bytes.len() {
            memory = Vec::new();
        }
        memory.clear();
        memory.extend_from_slice(bytes);
        Bytes::from_owner(Lent { memory, copies: Arc::clone(self) })
    }
}

/// The memory of a copy, until its last clone is dropped.
struct Lent {
    memory: Vec<u8>,
    copies: Arc<Copies>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.copies.0.lock().even_poisoned();
        if spare.len() < MOST_SPARE {
            spare.push(mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(copies: &Copies) -> Vec<usize> {
        copies.0.lock().even_poisoned().iter().map(Vec::capacity).collect()
    }

    #[test]
    fn memory_is_used_again_once_the_last_clone_is_dropped() {
        let copies = Arc::<Copies>::default();
        let first = copies.of(&vec![1; LARGE]);
        let (slice, place) = (first.slice(1..), first.as_ptr());
        drop(first);
        assert!(spare(&copies).is_empty() && slice.iter().all(|byte| *byte == 1));
        drop(slice);
        let second = copies.of(&vec![2; LARGE]);
        assert_eq!((second.as_ptr(), second.len()), (place, LARGE));
        assert!(second.iter().all(|byte| *byte == 2));
    }

    #[test]
    fn little_memory_is_kept_and_none_that_is_much_too_large_is_used() {
        let copies = Arc::<Copies>::default();
        drop(copies.of(&[1; 10]));
        assert!(spare(&copies).is_empty());
        drop(copies.of(&vec![1; 4 * LARGE]));
        assert_eq!(spare(&copies).len(), 1);
        let small = copies.of(&vec![2; LARGE]);
        assert!(small.iter().all(|byte| *byte == 2));
        drop(small);
        assert_eq!(spare(&copies), [LARGE]);
        let many: Vec<Bytes> = (0..MOST_SPARE + 5).map(|_| copies.of(&vec![3; LARGE])).collect();
        drop(many);
        assert_eq!(spare(&copies).len(), MOST_SPARE);
    }
}
