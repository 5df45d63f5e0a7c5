//! A fault: its effect, its condition, and how often it has struck.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    condition::Condition,
    decider::{Deciders, Questions},
    effect::Effect,
    random::Random,
};
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
    /// Who decides what the fault leaves open, and the questions; for [`Effect::Own`] as well.
    pub deciders: Option<(Arc<dyn Deciders>, Questions)>,
    /// Occurrences of its condition so far, over all connections.
    occurrences: AtomicU64,
    /// How often it has struck so far, over all connections.
    strikes: AtomicU64,
}

impl Fault {
    /// Returns a fault that has not struck.
    pub fn new(name: impl Into<String>, effect: Effect, condition: Condition, directions: Both<bool>) -> Self {
        let (number, name) = (NEXT.fetch_add(1, Relaxed), name.into());
        let (occurrences, strikes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { number, name, effect, condition, directions, deciders: None, occurrences, strikes }
    }

    /// Returns the fault with what it leaves to others to decide.
    #[must_use]
    pub fn decided_by(self, deciders: Arc<dyn Deciders>, questions: Questions) -> Self {
        Self { deciders: Some((deciders, questions)), ..self }
    }

    /// Returns how often it has struck.
    pub fn strikes(&self) -> u64 {
        self.strikes.load(Relaxed)
    }

    /// Returns true if it wants whole messages, where the server has a framing.
    pub fn wants_messages(&self, direction: Direction) -> bool {
        let asks = || self.deciders.as_ref().is_some_and(|(_, questions)| questions.matches);
        let of_messages = matches!(self.effect, Effect::Message(_) | Effect::Own);
        self.directions[direction] && (self.condition.matcher.is_some() || of_messages || asks())
    }

    /// Counts occurrences and strikes from the beginning again.
    pub fn begin_anew(&self) {
        self.occurrences.store(0, Relaxed);
        self.strikes.store(0, Relaxed);
    }

    /// Counts a strike that no condition has.
    pub(super) fn count(&self) {
        self.strikes.fetch_add(1, Relaxed);
    }

    /// Takes a strike back that came to nothing.
    pub(super) fn withdraw(&self) {
        // It may have begun anew meanwhile.
        let _ = self.strikes.fetch_update(Relaxed, Relaxed, |strikes| strikes.checked_sub(1));
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
