//! Bytes that a destination has not taken yet.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::{Buf, Bytes};

use super::pump::BUFFER;

/// What all directions of the process may hold before reads become small: a thousand connections that stand still
/// both ways then hold 64 MiB at most, whoever they are.
const MUCH: usize = 24 * 1024 * 1024;

/// A small read.
const LITTLE: usize = 16 * 1024;

/// What all directions of the process hold.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The bytes of one direction that wait for its destination, in order. Without memory while there are none.
#[derive(Debug, Default)]
pub(super) struct Aside {
    waiting: VecDeque<Bytes>,
    bytes: usize,
}

impl Aside {
    /// The most that a read may bring, because it may have to be held.
    pub(super) fn most() -> usize {
        if HELD.load(Relaxed) > MUCH { LITTLE } else { BUFFER }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts `bytes` behind what waits.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            HELD.fetch_add(bytes.len(), Relaxed);
            self.waiting.push_back(bytes);
        }
    }

    /// What goes out next.
    pub(super) fn first(&self) -> &[u8] {
        self.waiting.front().map_or(&[], |first| first)
    }

    /// The destination has taken so much of the first.
    pub(super) fn taken(&mut self, bytes: usize) {
        let Some(first) = self.waiting.front_mut() else { return };
        first.advance(bytes);
        if first.is_empty() {
            self.waiting.pop_front();
        }
        self.bytes -= bytes;
        HELD.fetch_sub(bytes, Relaxed);
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }

    /// Gives all up; says how much that was.
    pub(super) fn give_up(&mut self) -> usize {
        std::mem::take(self).bytes
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        HELD.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_that_is_held_makes_reads_small_until_it_is_gone() {
        // The only test that holds anything: tests of this binary share the count.
        let mut aside = Aside::default();
        assert_eq!(Aside::most(), BUFFER);
        aside.push(Bytes::from(vec![0; MUCH]));
        assert_eq!(Aside::most(), BUFFER);
        aside.push(Bytes::from_static(b"more"));
        assert_eq!(Aside::most(), LITTLE);
        aside.taken(MUCH);
        assert_eq!((Aside::most(), aside.first()), (BUFFER, &b"more"[..]));
        aside.taken(1);
        assert_eq!(aside.give_up(), 3);
        assert_eq!((HELD.load(Relaxed), aside.is_empty()), (0, true));
    }
}
