//! The listeners of this process, as long as they listen.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, atomic::Ordering::SeqCst},
};

use super::{line::Place, slots::Slots};
use crate::words::{addr::SocketName, lock::EvenPoisoned};

/// The places where this process listens.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Number of listeners on each place. A connect to one of them holds the lock shared from before the connect until the
    /// connection is remembered.
    pub places: RwLock<HashMap<Place, usize>>,
    pub slots: Slots,
}

impl Listeners {
    /// Returns true if a listener of ours may be where a connect to `peer` comes. Takes no lock. False is certain, true is
    /// not.
    pub(super) fn may_be_at(&self, peer: &SocketName) -> bool {
        self.slots.of(peer).listeners.load(SeqCst) > 0
    }

    /// Returns true if a listener of ours is where a connect to `peer` comes.
    pub(super) fn are_at(&self, peer: &SocketName) -> bool {
        self.may_be_at(peer) && Place::of(peer).is_some_and(|place| self.places.read().even_poisoned().contains_key(&place))
    }
}

/// Registers a listener of this process until dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    place: Place,
    name: SocketName,
    all: Arc<Listeners>,
}

impl Listening {
    /// Registers a listener. `None` if its socket's file is gone.
    pub(super) fn new(all: &Arc<Listeners>, name: &SocketName) -> Option<Self> {
        let place = Place::of(name)?;
        *all.places.write().even_poisoned().entry(place.clone()).or_default() += 1;
        all.slots.of(name).listeners.fetch_add(1, SeqCst);
        Some(Self { place, name: name.clone(), all: Arc::clone(all) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut places = self.all.places.write().even_poisoned();
        if let Some(count) = places.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.place);
            }
        }
        self.all.slots.of(&self.name).listeners.fetch_sub(1, SeqCst);
    }
}
