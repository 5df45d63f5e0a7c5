//! The bytes that a direction has still to write.

use std::{
    collections::VecDeque,
    io::IoSlice,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::{Buf, Bytes};

use super::pump::BUFFER;
use crate::words::pieces::Pieces;

/// Bytes that all directions of the process may hold before reads become small: a thousand connections that stand still
/// both ways then hold 64 MiB at most.
const MUCH: usize = 24 * 1024 * 1024;

/// A small read.
const LITTLE: usize = 16 * 1024;

/// Bytes of memory that a piece costs beyond its contents.
const PIECE: usize = 256;

/// Pieces that one write takes. More are no gain: small ones were joined before.
pub(super) const SLICES: usize = 16;

/// Bytes that all directions of the process hold.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The bytes of one direction that wait for its destination, in order. Without memory while there are none.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
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
            HELD.fetch_add(bytes.len() + PIECE, Relaxed);
            self.waiting.push_back(bytes);
        }
    }

    /// Puts pieces behind what waits, small ones joined. Returns the number of bytes.
    pub(super) fn extend(&mut self, pieces: impl IntoIterator<Item = Bytes>) -> usize {
        let before = self.bytes;
        let mut pieces = pieces.into_iter();
        let (first, second) = (pieces.next(), pieces.next());
        let Some(second) = second else {
            first.into_iter().for_each(|only| self.push(only));
            return self.bytes - before;
        };
        let mut joined = Pieces::default();
        first.into_iter().chain([second]).chain(pieces).for_each(|bytes| joined.push(bytes));
        let mut joined = joined.take();
        let bytes = joined.iter().map(Bytes::len).sum();
        self.bytes += bytes;
        HELD.fetch_add(bytes + PIECE * joined.len(), Relaxed);
        self.waiting.append(&mut joined);
        bytes
    }

    /// The pieces that go out next.
    pub(super) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let count = self.waiting.len().min(SLICES);
        slices.iter_mut().zip(&self.waiting).for_each(|(slice, bytes)| *slice = IoSlice::new(bytes));
        count
    }

    /// Removes what the destination has taken.
    pub(super) fn taken(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        HELD.fetch_sub(bytes, Relaxed);
        while let Some(first) = self.waiting.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.waiting.pop_front();
            HELD.fetch_sub(PIECE, Relaxed);
        }
        self.waiting = VecDeque::new();
    }

    /// Drops all bytes. Returns their number.
    pub(super) fn give_up(&mut self) -> usize {
        std::mem::take(self).bytes
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        HELD.fetch_sub(self.bytes + PIECE * self.waiting.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(outbox: &Outbox) -> (usize, Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = outbox.fill(&mut slices);
        (count, slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect())
    }

    #[test]
    fn much_that_is_held_makes_reads_small_until_it_is_gone() {
        // The only test that holds much: tests of this binary share the count.
        let mut outbox = Outbox::default();
        assert_eq!(Outbox::most(), BUFFER);
        outbox.push(Bytes::from(vec![0; MUCH - MUCH / 8]));
        assert_eq!(Outbox::most(), BUFFER);
        outbox.push(Bytes::from(vec![1; MUCH / 4]));
        assert_eq!(Outbox::most(), LITTLE);
        outbox.taken(MUCH / 2);
        assert_eq!(Outbox::most(), BUFFER);
        assert_eq!(outbox.give_up(), MUCH - MUCH / 8 + MUCH / 4 - MUCH / 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn pieces_go_out_in_order_however_few_bytes_are_taken_at_once() {
        let all: Vec<u8> = (0..200_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        for (piece, taken) in [(1, 700), (5000, 1), (5000, 4999), (5000, 12_345), (70_000, 200_000)] {
            let mut outbox = Outbox::default();
            let some = if taken == 1 { &all[..20_000] } else { &all[..] };
            assert_eq!(outbox.extend(some.chunks(piece).map(Bytes::copy_from_slice)), some.len());
            let mut out: Vec<u8> = Vec::new();
            while !outbox.is_empty() {
                let (count, bytes) = first(&outbox);
                assert!((1..=SLICES).contains(&count));
                let bytes = &bytes[..bytes.len().min(taken)];
                out.extend(bytes);
                outbox.taken(bytes.len());
            }
            assert!(out == some);
        }
    }

    #[test]
    fn many_small_pieces_are_few_writes() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.extend((0..1_000_000).map(|_| Bytes::from_static(b"x"))), 1_000_000);
        assert!(outbox.waiting.len() <= SLICES + 1, "{} pieces", outbox.waiting.len());
        assert_eq!(outbox.extend([Bytes::new(), Bytes::new()]), 0);
        assert_eq!(outbox.give_up(), 1_000_000);
        assert_eq!(outbox.extend([Bytes::new()]), 0);
        assert!(outbox.is_empty());
    }
}
