//! The time at which a circle was last found.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::words::lock::EvenPoisoned;

/// How long connections of a circle may still come to a listener of ours after it was found.
const RECENT: Duration = Duration::from_secs(1);

/// The time at which a circle was last found.
#[derive(Debug, Default)]
pub(crate) struct LastCircle(Mutex<Option<Instant>>);

impl LastCircle {
    /// Records that a circle was found now.
    pub(crate) fn found(&self) {
        *self.0.lock().even_poisoned() = Some(Instant::now());
    }

    /// Returns true if a circle was found less than `RECENT` ago.
    pub(crate) fn is_recent(&self) -> bool {
        self.0.lock().even_poisoned().is_some_and(|last| last.elapsed() < RECENT)
    }
}
