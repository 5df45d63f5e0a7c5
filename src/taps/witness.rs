//! A witness, to which connections report their events.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::taps::{event::Event, queue::Queue, transcript::Transcript};

/// Takes the events of connections, on their threads: it never waits, and what it keeps is bounded.
pub trait Witness: Send + Sync + fmt::Debug {
    /// Takes an event, or counts it as missed.
    fn put(&self, event: Event);

    /// Returns a copy of bytes for an event.
    fn copy(&self, bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    /// Returns true if nobody looks any more: then bytes need not be copied for it.
    fn is_given_up(&self) -> bool {
        false
    }

    /// Counts bytes as missed that are not put, because nobody looks any more.
    fn miss(&self, bytes: usize) {
        let _ = bytes;
    }
}

/// The witnesses of a connection.
pub type Witnesses = Arc<[Arc<dyn Witness>]>;

impl Witness for Queue {
    fn put(&self, event: Event) {
        self.put(event);
    }

    fn copy(&self, bytes: &[u8]) -> Bytes {
        self.copy(bytes)
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up()
    }

    fn miss(&self, bytes: usize) {
        self.miss(bytes);
    }
}

impl Witness for Transcript {
    fn put(&self, event: Event) {
        self.put(event);
    }
}
