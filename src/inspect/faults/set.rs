//! The faults of a server, and the stages that they make.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

pub use super::fault::Fault;
use super::{draws::Draws, effect::Effect, stage::FaultStage, strikes::Strikes};
use crate::{
    inspect::Stage,
    taps::{event::ConnectionKey, witness::Witnesses},
    words::{direction::Direction, lock::EvenPoisoned},
};

/// The faults of a server or of a direction, in their order.
pub type Faults = Arc<[Arc<Fault>]>;

/// A direction of a connection, for the stages of its faults.
#[derive(Debug, Clone)]
pub struct Place {
    pub draws: Arc<Draws>,
    pub connection: ConnectionKey,
    pub direction: Direction,
    /// The witnesses of what strikes.
    pub witnesses: Witnesses,
}

/// Returns the faults of a direction, each by its number with what makes its stage: called with the number of bytes of the
/// direction that are past the stage's place.
pub fn stages_of(faults: &[Arc<Fault>], place: &Place) -> Vec<(u64, impl FnOnce(u64) -> Box<dyn Stage> + use<>)> {
    let is_here = |fault: &Fault| fault.directions[place.direction] && fault.effect.is_of_direction();
    let here = faults.iter().enumerate().filter(|(_, fault)| is_here(fault));
    here.map(|(index, fault)| {
        let random = place.draws.of(place.connection.number, place.direction as u64, index);
        let Place { connection, direction, witnesses, .. } = place.clone();
        let strikes = Strikes { fault: Arc::clone(fault), connection, direction, witnesses };
        let make = move |past| {
            let decider = strikes.fault.deciders.as_ref().map(|(deciders, _)| deciders.of(connection.number, direction));
            Box::new(FaultStage::new(strikes, random, past, decider)) as Box<dyn Stage>
        };
        (fault.number, make)
    })
    .collect()
}

/// The faults of a server, which may change while it runs.
#[derive(Debug)]
pub struct FaultSet {
    /// The source of every random choice.
    pub draws: Arc<Draws>,
    current: Mutex<Faults>,
    /// True once there was a fault.
    is_used: AtomicBool,
}

impl Default for FaultSet {
    fn default() -> Self {
        Self::new(Faults::default(), None)
    }
}

impl FaultSet {
    /// Returns a set with a seed, or with one that is drawn.
    pub fn new(faults: Faults, seed: Option<u64>) -> Self {
        // A seed that a person has to type again is short.
        let draw = || RandomState::new().hash_one(0) >> 32;
        begin_new(&faults, &[]);
        let is_used = AtomicBool::new(!faults.is_empty());
        Self { draws: Arc::new(Draws::new(seed.unwrap_or_else(draw))), current: Mutex::new(faults), is_used }
    }

    /// Returns true if there never was a fault. Takes no lock: every connection asks.
    pub(crate) fn is_unused(&self) -> bool {
        !self.is_used.load(Relaxed)
    }

    /// Returns the faults in force.
    pub fn get(&self) -> Faults {
        Arc::clone(&self.current.lock().even_poisoned())
    }

    /// Puts other faults in force, but only in the places of those of these numbers, if some are given. Returns true if that
    /// was so.
    pub fn swap(&self, before: Option<&[u64]>, faults: Faults) -> bool {
        let mut current = self.current.lock().even_poisoned();
        if before.is_some_and(|before| !current.iter().map(|fault| &fault.number).eq(before)) {
            return false;
        }
        self.is_used.store(true, Relaxed);
        begin_new(&faults, &current);
        *current = faults;
        true
    }
}

/// Begins the schedules of faults that were not in force `before`.
fn begin_new(faults: &[Arc<Fault>], before: &[Arc<Fault>]) {
    for fault in faults.iter().filter(|fault| !before.iter().any(|other| Arc::ptr_eq(fault, other))) {
        if let Effect::Flap(flap) = &fault.effect {
            flap.begin(Instant::now());
        }
    }
}

/// Returns true if one of these faults wants whole messages of a direction.
pub fn want_messages(faults: &[Arc<Fault>], direction: Direction) -> bool {
    faults.iter().any(|fault| fault.wants_messages(direction))
}
