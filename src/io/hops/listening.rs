//! The listeners of this process, as long as they listen.

use std::sync::{Arc, PoisonError, atomic::Ordering::SeqCst};

use super::{Hops, line::Place};
use crate::words::addr::SocketName;

/// Registers a listener of this process until dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(super) place: Place,
    pub(super) name: SocketName,
    pub(super) hops: Arc<Hops>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listening = self.hops.listening.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = listening.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                listening.remove(&self.place);
            }
        }
        self.hops.slots.of(&self.name).listeners.fetch_sub(1, SeqCst);
    }
}
