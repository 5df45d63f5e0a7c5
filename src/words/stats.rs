//! Counting: the byte ledger of a direction, and a server's figures.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::words::{direction::Both, outcome::CloseReason};

/// The byte counts of one direction. `read + added == delivered + dropped + undeliverable` once the connection is closed;
/// before that, the difference is the number of bytes that interpose holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Bytes read from the sending side.
    pub read: u64,
    /// Bytes that a hook put in place of others, or that were injected.
    pub added: u64,
    /// Bytes that the receiving side's kernel took.
    pub delivered: u64,
    /// Bytes that were read, and that a hook dropped or replaced.
    pub dropped: u64,
    /// Bytes that could not be delivered because the connection ended.
    pub undeliverable: u64,
}

impl Ledger {
    /// Returns the counters by name: the list that an exporter iterates.
    pub fn counters(&self) -> [(&'static str, u64); 5] {
        let Self { read, added, delivered, dropped, undeliverable } = *self;
        [("read", read), ("added", added), ("delivered", delivered), ("dropped", dropped), ("undeliverable", undeliverable)]
    }

    /// Adds another ledger's bytes to this one's.
    pub fn add(&mut self, other: Ledger) {
        self.read += other.read;
        self.added += other.added;
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.undeliverable += other.undeliverable;
    }
}

/// A ledger that is written by one task and may be read by any thread.
///
/// With one writer a load and a store suffice, and cost nothing compared with the locked bus cycle of an atomic addition.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    read: AtomicU64,
    added: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    undeliverable: AtomicU64,
}

fn bump(counter: &AtomicU64, bytes: usize) {
    counter.store(counter.load(Relaxed) + bytes as u64, Relaxed);
}

impl Meter {
    pub(crate) fn read(&self, bytes: usize) {
        bump(&self.read, bytes);
    }

    pub(crate) fn added(&self, bytes: usize) {
        bump(&self.added, bytes);
    }

    pub(crate) fn delivered(&self, bytes: usize) {
        bump(&self.delivered, bytes);
    }

    pub(crate) fn dropped(&self, bytes: usize) {
        bump(&self.dropped, bytes);
    }

    pub(crate) fn undeliverable(&self, bytes: usize) {
        bump(&self.undeliverable, bytes);
    }

    /// Counts all bytes that came in and went nowhere as undeliverable: the connection has ended.
    pub(crate) fn balance(&self) {
        let Ledger { read, added, delivered, dropped, undeliverable } = self.ledger();
        let held = (read + added) - delivered - dropped - undeliverable;
        bump(&self.undeliverable, usize::try_from(held).unwrap_or(usize::MAX));
    }

    /// Returns a snapshot, read in an order that never shows more bytes going out than came in.
    pub(crate) fn ledger(&self) -> Ledger {
        let undeliverable = self.undeliverable.load(Relaxed);
        let delivered = self.delivered.load(Relaxed);
        let dropped = self.dropped.load(Relaxed);
        let added = self.added.load(Relaxed);
        Ledger { read: self.read.load(Relaxed), added, delivered, dropped, undeliverable }
    }
}

/// The counts of the copies that go to a second target, of all connections of a server.
#[derive(Debug, Default)]
pub(crate) struct MirrorMeter {
    sent: AtomicU64,
    missed: AtomicU64,
}

impl MirrorMeter {
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn missed(&self, bytes: usize) {
        self.missed.fetch_add(bytes as u64, Relaxed);
    }

    /// Returns the bytes that were sent, and those that were missed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.missed.load(Relaxed))
    }
}

/// A server's figures at one moment.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections that live now.
    pub active: usize,
    /// Connections closed since the start, by reason; every reason is listed.
    pub closed: Vec<(CloseReason, u64)>,
    /// Bytes from clients to upstreams, live connections included.
    pub to_upstream: Ledger,
    /// Bytes from upstreams to clients, live connections included.
    pub to_client: Ledger,
    /// Times that `accept` failed.
    pub accept_errors: u64,
    /// True while the listener waits before it accepts again: for a descriptor, for memory, or because accepting failed otherwise.
    pub accept_paused: bool,
    /// Calls of hooks that failed.
    pub callback_errors: u64,
    /// Answers of hooks that did not come within their time limit.
    pub callback_timeouts: u64,
    /// Connections allowed at once; 0 before the start when it depends on the descriptors of the process.
    pub max_connections: usize,
    /// Number of times that all of these were in use while a client waited in the backlog.
    pub max_connections_reached: u64,
    /// Bytes of clients that the second target's system took.
    pub mirror_bytes: u64,
    /// Bytes of clients that the second target missed.
    pub mirror_missed_bytes: u64,
}

impl Stats {
    /// Returns the plain counters by name, without the reasons and the bytes: the list that an exporter iterates.
    pub fn counters(&self) -> [(&'static str, u64); 9] {
        [
            ("accepted", self.accepted),
            ("active", self.active as u64),
            ("accept_errors", self.accept_errors),
            ("callback_errors", self.callback_errors),
            ("callback_timeouts", self.callback_timeouts),
            ("max_connections", self.max_connections as u64),
            ("max_connections_reached", self.max_connections_reached),
            ("mirror_bytes", self.mirror_bytes),
            ("mirror_missed_bytes", self.mirror_missed_bytes),
        ]
    }

    /// Returns the number of connections that ended for `reason`.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed.iter().find(|(listed, _)| *listed == reason).map_or(0, |(_, count)| *count)
    }
}

/// The totals of a registry.
pub(crate) struct Totals {
    pub accepted: u64,
    pub active: usize,
    pub closed: Vec<(CloseReason, u64)>,
    pub bytes: Both<Ledger>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_beyond_32_bits_and_balance_at_the_end() {
        let meter = Meter::default();
        for _ in 0..6 {
            meter.read(1 << 30);
            meter.delivered((1 << 30) - 1);
        }
        assert_eq!(meter.ledger(), Ledger { read: 6 << 30, delivered: (6 << 30) - 6, ..Ledger::default() });
        meter.balance();
        assert_eq!(meter.ledger().undeliverable, 6);
    }
}
