//! Counters per port, read without a lock.

use std::{
    array,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::line::Line;
use crate::words::addr::SocketName;

/// Number of slots; several ports share one. The last slot is for Unix sockets.
const SLOTS: usize = 64;

#[derive(Debug)]
pub(super) struct Slots([Slot; SLOTS]);

/// Counters for the ports of one slot.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub listeners: AtomicUsize,
    /// Connects to a listener that are under way and not remembered yet.
    pub connects: AtomicUsize,
    /// Connections that are remembered.
    pub remembered: AtomicUsize,
}

impl Default for Slots {
    fn default() -> Self {
        Self(array::from_fn(|_| Slot::default()))
    }
}

impl Slots {
    /// Returns the slot of a listener, and of the connections made to it.
    pub(super) fn of(&self, name: &SocketName) -> &Slot {
        self.of_port(name.inet().map(|address| address.port()))
    }

    pub(super) fn of_line(&self, line: &Line) -> &Slot {
        self.of_port(match line {
            Line::Inet { to, .. } => Some(to.port()),
            Line::Unix(_) | Line::Nameless(_) => None,
        })
    }

    fn of_port(&self, port: Option<u16>) -> &Slot {
        &self.0[port.map_or(SLOTS - 1, |port| usize::from(port) % (SLOTS - 1))]
    }

    #[cfg(test)]
    pub(super) fn all(&self, is: impl FnMut(&Slot) -> bool) -> bool {
        self.0.iter().all(is)
    }
}

/// Counts a connect to a listener of ours as under way until dropped.
pub(super) struct Connecting<'a>(&'a Slot);

impl<'a> Connecting<'a> {
    pub(super) fn new(slot: &'a Slot) -> Self {
        slot.connects.fetch_add(1, SeqCst);
        Self(slot)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connects.fetch_sub(1, SeqCst);
    }
}
