//! The memory of bytes that wait for their time: a share of each direction in what the process may hold.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of memory that one direction holds at most, unless its fault says otherwise: 50 ms of 43 Gbit/s.
pub const SHARE: usize = 256 * 1024 * 1024;

/// The number of full shares that the process holds at most.
const SHARES: usize = 4;

/// Bytes of memory that a piece costs beyond its contents.
const PIECE: usize = 128;

/// Bytes that all directions of the process hold.
static PROCESS: AtomicUsize = AtomicUsize::new(0);

/// Returns the bytes of memory that wait for their time in the process.
pub(crate) fn of_process() -> usize {
    PROCESS.load(Relaxed)
}

/// The bytes that one direction holds, counted in the process until it is dropped.
///
/// A direction takes more while it holds less than `most`, and less than is left of the process's four times that. So a
/// few directions have all they ask for, and many have equal parts: none is ever refused its first piece.
#[derive(Debug)]
pub(super) struct Share {
    held: usize,
    most: usize,
}

impl Share {
    pub(super) fn new(most: usize) -> Self {
        Self { held: 0, most }
    }

    /// Counts a piece of `memory` bytes.
    pub(super) fn add(&mut self, memory: usize) {
        self.held += memory + PIECE;
        PROCESS.fetch_add(memory + PIECE, Relaxed);
    }

    /// Counts a piece out.
    pub(super) fn remove(&mut self, memory: usize) {
        self.held -= memory + PIECE;
        PROCESS.fetch_sub(memory + PIECE, Relaxed);
    }

    /// Returns true if the direction may hold another piece.
    pub(super) fn has_room(&self) -> bool {
        let left = SHARES.saturating_mul(self.most.max(SHARE)).saturating_sub(of_process());
        self.held == 0 || self.held < self.most.min(left)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        PROCESS.fetch_sub(self.held, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_direction_has_its_share_and_many_have_equal_parts_of_the_process() {
        // The only test that holds much: tests of this binary share the count, and others hold little.
        const SLACK: usize = SHARE / 64;
        let fill = |share: &mut Share| {
            while share.has_room() {
                share.add(SLACK / 4);
            }
        };
        let mut alone = Share::new(SHARE);
        fill(&mut alone);
        assert!((SHARE..=SHARE + SLACK).contains(&alone.held), "{}", alone.held);
        let mut many: Vec<Share> = (0..31).map(|_| Share::new(SHARE)).collect();
        drop(alone);
        while many.iter().any(Share::has_room) {
            many.iter_mut().filter(|share| share.has_room()).for_each(|share| share.add(SLACK / 4));
        }
        let part = SHARES * SHARE / 32;
        for share in &many {
            assert!((part - SLACK..=part + SLACK).contains(&share.held), "{} of {part}", share.held);
        }
        assert!(of_process() <= SHARES * SHARE);
        let mut late = Share::new(SHARE);
        assert!(late.has_room());
        late.add(part * 2);
        assert!(!late.has_room());
        late.remove(part * 2);
        let mut large = Share::new(3 * SHARE);
        large.add(2 * SHARE);
        assert!(large.has_room(), "one that was asked for");
        drop((many, late, large));
        assert!(of_process() < SLACK);
    }
}
