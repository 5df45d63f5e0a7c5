//! The seed of a server's faults, and the connections that count for it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::random::Random;

/// A server's seed, and the connection from which on connections are counted for it.
#[derive(Debug, Default)]
pub struct Draws {
    pub seed: u64,
    /// The number of the last connection before.
    before: AtomicU64,
}

impl Draws {
    /// Returns the draws of a seed, which count all connections.
    pub fn new(seed: u64) -> Self {
        Self { seed, before: AtomicU64::new(0) }
    }

    /// Counts connections from the one behind the connection of this number on: that draws as the first of all has.
    pub fn begin_anew(&self, last: u64) {
        self.before.store(last, Relaxed);
    }

    /// Returns the generator of a place of a connection.
    pub(super) fn of(&self, connection: u64, place: u64, index: usize) -> Random {
        // One from before counts backwards, and so is none of those to come.
        let number = connection.wrapping_sub(self.before.load(Relaxed));
        Random::of(&[self.seed, number, place, index as u64])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_draw_anew_as_the_first_ones_did() {
        let draws = Draws::new(7);
        let all =
            |range: std::ops::RangeInclusive<u64>| -> Vec<u64> { range.map(|number| draws.of(number, 0, 0).bits()).collect() };
        let first = all(1..=9);
        draws.begin_anew(40);
        assert_eq!(all(41..=49), first);
        assert!(all(1..=40).iter().all(|drawn| !first.contains(drawn)));
    }
}
