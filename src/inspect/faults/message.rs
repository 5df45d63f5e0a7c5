//! Changes of a message, of matched bytes, or of the rest of a stream.

use std::collections::HashMap;

use bytes::Bytes;

use super::random::Random;
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// A change of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// So many bits are flipped, at places that are drawn.
    Corrupt { bits: u64 },
    /// They come twice.
    Duplicate,
    /// Only the first of them come.
    Truncate { keep: u64 },
    /// They do not come.
    Drop,
}

impl Change {
    /// Returns what comes in place of `bytes`.
    pub(super) fn of(&self, bytes: &[u8], random: &mut Random) -> Vec<u8> {
        match self {
            Self::Corrupt { bits } => {
                // Draws an order of all bits as far as it is needed (Fisher and Yates, 1938), so that no bit is flipped twice.
                let (mut changed, all) = (bytes.to_vec(), 8 * bytes.len());
                let most = usize::try_from(*bits).unwrap_or(usize::MAX).min(all);
                let mut places: HashMap<usize, usize> = HashMap::new();
                for number in 0..most {
                    let drawn = number + usize::try_from(random.below((all - number) as u64)).unwrap_or(0);
                    let place = places.get(&drawn).copied().unwrap_or(drawn);
                    places.insert(drawn, places.get(&number).copied().unwrap_or(number));
                    changed[place / 8] ^= 1 << (place % 8);
                }
                changed
            }
            Self::Duplicate => [bytes, bytes].concat(),
            Self::Truncate { keep } => bytes[..bytes.len().min(usize::try_from(*keep).unwrap_or(usize::MAX))].to_vec(),
            Self::Drop => Vec::new(),
        }
    }
}

/// Changes the rest of a stream without messages: drops it, or all but its first bytes; corrupts its first byte; or repeats
/// its first read.
#[derive(Debug)]
pub struct ChangedRest {
    change: Change,
    random: Random,
    /// The number of bytes that still pass as they are.
    left: u64,
    is_done: bool,
}

impl ChangedRest {
    pub(super) fn new(change: Change, random: Random) -> Self {
        let left = if let Change::Truncate { keep } = change { keep } else { 0 };
        Self { change, random, left, is_done: false }
    }

    fn change_first(&mut self, mut chunk: Chunk, out: &mut Outbox) {
        self.is_done = true;
        let whole = matches!(self.change, Change::Duplicate);
        let first = if whole { chunk.len() } else { 1 };
        let first = chunk.split_to(first);
        let changed = self.change.of(&first, &mut self.random);
        out.note_figures((changed.len(), first.len()));
        out.push(Bytes::from(changed));
        out.push(chunk);
    }
}

impl Stage for ChangedRest {
    fn feed(&mut self, mut chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        match self.change {
            Change::Drop | Change::Truncate { .. } => {
                let passes = chunk.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= passes as u64;
                let first = chunk.split_to(passes);
                out.push(first);
                out.drop(chunk);
            }
            Change::Corrupt { .. } | Change::Duplicate if self.is_done || chunk.is_empty() => out.push(chunk),
            Change::Corrupt { .. } | Change::Duplicate => self.change_first(chunk, out),
        }
        if end == End::Finished {
            out.end();
        }
        Progress::Moved
    }
}
