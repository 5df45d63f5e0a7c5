//! Bytes that wait to be sent, in order, and in as few pieces as possible.

use std::collections::VecDeque;

use bytes::Bytes;

/// Minimum size of a piece that keeps its own memory. Smaller pieces that follow each other are copied together: the copy
/// costs less than the memory and the system calls of single pieces.
const LARGE: usize = 4 * 1024;

/// Maximum size of a block of joined pieces, so that a growing block is not moved far.
const BLOCK: usize = 64 * 1024;

/// Minimum memory cost of a separate piece of any size: its place in the queue, its owner, the allocator's share.
const LEAST: usize = 256;

/// Returns a copy, or `None` if there is no memory for it.
pub(crate) fn copied(bytes: &[u8]) -> Option<Bytes> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy.into())
}

/// A queue of bytes. Its cost does not depend on how the bytes were cut when they came.
#[derive(Debug, Default)]
pub struct Pieces {
    whole: VecDeque<Bytes>,
    /// Joined small pieces, after all of `whole`.
    joined: Vec<u8>,
    length: usize,
    /// Bytes of memory that pieces cost beyond their contents.
    extra: usize,
}

impl Pieces {
    /// Returns the memory that the queue takes, in bytes.
    pub fn cost(&self) -> usize {
        self.length + self.extra
    }

    /// Appends `bytes`.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if bytes.len() < LARGE && (self.ends_small() && self.join(&bytes)) {
            return;
        }
        self.seal();
        self.length += bytes.len();
        self.extra += LEAST.saturating_sub(bytes.len());
        self.whole.push_back(bytes);
    }

    /// Appends a copy of `bytes`, without a piece of its own.
    #[inline]
    pub fn push_copy(&mut self, bytes: &[u8]) {
        let size = self.joined.len() + bytes.len();
        if self.joined.is_empty() || bytes.len() >= LARGE || size > BLOCK.min(self.joined.capacity()) {
            return self.push_copy_anew(bytes);
        }
        // Earlier pieces can be joined with it, and memory is reserved. A single byte needs no call that copies.
        match bytes {
            [byte] => self.joined.push(*byte),
            bytes => self.joined.extend_from_slice(bytes),
        }
        self.length += bytes.len();
    }

    #[cold]
    fn push_copy_anew(&mut self, bytes: &[u8]) {
        if bytes.len() >= LARGE || !self.join(bytes) {
            self.push(Bytes::copy_from_slice(bytes));
        }
    }

    /// Returns true if a small piece can be joined to the last one.
    fn ends_small(&self) -> bool {
        !self.joined.is_empty() || self.whole.back().is_some_and(|last| last.len() < LARGE)
    }

    /// Joins a small piece to those before it. Returns false where there is no memory for that.
    fn join(&mut self, bytes: &[u8]) -> bool {
        if self.joined.len() + bytes.len() > BLOCK {
            self.seal();
        }
        let last = self.whole.back().filter(|last| self.joined.is_empty() && last.len() < LARGE);
        if self.joined.try_reserve(bytes.len() + last.map_or(0, Bytes::len)).is_err() {
            return false;
        }
        if let Some(last) = last {
            self.joined.extend_from_slice(last);
            self.extra -= LEAST.saturating_sub(last.len());
            self.whole.pop_back();
        }
        self.joined.extend_from_slice(bytes);
        self.length += bytes.len();
        true
    }

    /// Makes a piece of the joined bytes.
    fn seal(&mut self) {
        if !self.joined.is_empty() {
            self.extra += LEAST.saturating_sub(self.joined.len());
            self.whole.push_back(std::mem::take(&mut self.joined).into());
        }
    }

    /// Removes all pieces, and returns them.
    pub fn take(&mut self) -> VecDeque<Bytes> {
        self.seal();
        (self.length, self.extra) = (0, 0);
        std::mem::take(&mut self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sizes: &[usize]) -> (Pieces, Vec<u8>) {
        let (mut pieces, mut all) = (Pieces::default(), Vec::new());
        for (number, size) in sizes.iter().enumerate() {
            let bytes = vec![u8::try_from(number % 251).unwrap(); *size];
            all.extend(&bytes);
            // Uses both ways to append.
            if number % 3 == 0 { pieces.push_copy(&bytes) } else { pieces.push(bytes.into()) }
        }
        (pieces, all)
    }

    #[test]
    fn every_byte_comes_out_once_and_in_order_however_it_came_in() {
        let sizes = [0, 1, LARGE - 1, LARGE, LARGE + 1, BLOCK, 3 * BLOCK];
        for first in sizes {
            for second in sizes {
                for third in sizes {
                    let (mut pieces, all) = of(&[first, second, third, 2, first]);
                    assert!(pieces.cost() >= all.len());
                    let out = pieces.take();
                    assert_eq!(out.iter().flatten().copied().collect::<Vec<_>>(), all);
                    assert!(out.iter().all(|piece| !piece.is_empty()));
                    assert_eq!((pieces.cost(), pieces.take().len()), (0, 0));
                }
            }
        }
    }

    #[test]
    fn a_million_bytes_in_a_million_pieces_are_a_few_blocks() {
        let (mut pieces, all) = of(&vec![1; 1_000_000]);
        assert!(pieces.cost() < all.len() + LEAST);
        let out = pieces.take();
        assert_eq!(out.iter().map(Bytes::len).sum::<usize>(), all.len());
        assert!(out.len() <= all.len() / (BLOCK - LARGE) + 1, "{} pieces", out.len());
    }

    #[test]
    fn large_pieces_and_one_small_piece_between_them_are_not_copied() {
        let large = Bytes::from(vec![1; LARGE]);
        let small = Bytes::from(vec![2; 10]);
        let mut pieces = Pieces::default();
        for piece in [&small, &large, &small, &large] {
            pieces.push(piece.clone());
        }
        assert_eq!(pieces.cost(), 2 * LARGE + 2 * LEAST);
        let out: Vec<*const u8> = pieces.take().iter().map(|piece| piece.as_ptr()).collect();
        assert_eq!(out, [small.as_ptr(), large.as_ptr(), small.as_ptr(), large.as_ptr()]);
    }

    #[test]
    fn what_costs_more_than_its_bytes_is_counted() {
        let mut pieces = Pieces::default();
        for _ in 0..100 {
            pieces.push(Bytes::from_static(b"x"));
            pieces.push(Bytes::from(vec![0; LARGE]));
        }
        assert_eq!(pieces.cost(), 100 * (LARGE + LEAST));
        pieces.take();
        pieces.push(Bytes::new());
        pieces.push_copy(b"");
        assert_eq!((pieces.cost(), pieces.take().len()), (0, 0));
    }
}
