//! A fault: its effect, its condition, and how often it has struck.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{condition::Condition, effect::Effect, random::Random};
use crate::words::direction::{Both, Direction};

/// The number of the next fault that is made.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A fault: its effect, when it strikes, and where.
#[derive(Debug)]
pub struct Fault {
    /// Its number in this process, by which a live connection tells it from others.
    pub number: u64,
    /// Its name, for the explanation of a connection's end.
    pub name: String,
    pub effect: Effect,
    pub condition: Condition,
    /// The directions that it concerns.
    pub directions: Both<bool>,
    /// Occurrences of its condition so far, over all connections.
    occurrences: AtomicU64,
    /// How often it has struck so far, over all connections.
    strikes: AtomicU64,
}

impl Fault {
    /// Returns a fault that has not struck.
    pub fn new(name: impl Into<String>, effect: Effect, condition: Condition, directions: Both<bool>) -> Self {
        let (number, name) = (NEXT.fetch_add(1, Relaxed), name.into());
        Self { number, name, effect, condition, directions, occurrences: AtomicU64::new(0), strikes: AtomicU64::new(0) }
    }

    /// Returns how often it has struck.
    pub fn strikes(&self) -> u64 {
        self.strikes.load(Relaxed)
    }

    /// Returns true if it wants whole messages, where the server has a framing.
    pub fn wants_messages(&self, direction: Direction) -> bool {
        self.directions[direction] && (self.condition.matcher.is_some() || matches!(self.effect, Effect::Message(_)))
    }

    /// Records an occurrence of its condition, and returns true if it strikes there.
    pub(super) fn occurs(&self, random: &mut Random) -> bool {
        let number = self.occurrences.fetch_add(1, Relaxed) + 1;
        let Condition { probability, nth, times, .. } = self.condition;
        // Drawn each time: what is drawn later does not depend on the numbers of other connections.
        let drawn = probability >= 1.0 || random.fraction() < probability;
        if !drawn || nth.is_some_and(|nth| number < nth) {
            return false;
        }
        let most = times.or(nth.map(|_| 1)).unwrap_or(u64::MAX);
        self.strikes.fetch_update(Relaxed, Relaxed, |strikes| (strikes < most).then_some(strikes + 1)).is_ok()
    }
}
