//! Events: what happened to a connection, for those that look at it.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use crate::words::{
    addr::SocketName,
    direction::{Both, Direction},
    outcome::CloseReason,
    stats::Ledger,
};

/// Memory of an event beyond its bytes.
pub(super) const EVENT: usize = 256;

/// A connection among those of all servers of this process: servers may share a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    /// The connection's number: unique within its server, counted from 1. First, so that the oldest come first in order.
    pub number: u64,
    /// The server's number: unique within the process.
    pub server: u32,
}

/// One thing that happened to one connection. Events of a connection come in order; those of several are mixed.
#[derive(Debug, Clone)]
pub struct Event {
    /// The connection.
    pub connection: ConnectionKey,
    /// The time at which it happened.
    pub at: SystemTime,
    /// The kind of event, with its data.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A client was accepted. The first event of every connection.
    Opened {
        /// The client's name.
        client: SocketName,
        /// The name that the client has connected to.
        local: SocketName,
        /// True if filters, hooks or faults may change what passes: then what comes and what goes out are two things.
        changes: bool,
    },
    /// The upstream is connected. Missing where none was, or where a hook stands in for it.
    Connected {
        /// The upstream's name.
        upstream: SocketName,
        /// Our own name towards it.
        local: SocketName,
    },
    /// Bytes have come. They have not yet been delivered.
    Data {
        /// The direction in which they go.
        direction: Direction,
        /// Before or behind the hooks.
        place: Place,
        /// The number of bytes of this direction and place before them, also of those that were missed.
        offset: u64,
        /// The bytes: of one read, or of one message where the direction is framed.
        bytes: Bytes,
    },
    /// A direction has ended in order (FIN).
    End {
        /// The direction.
        direction: Direction,
        /// Before or behind the hooks.
        place: Place,
        /// The number of bytes of this direction and place before it, also of those that were missed.
        offset: u64,
    },
    /// A fault has struck a direction.
    Struck {
        /// The direction.
        direction: Direction,
        /// The fault, as its user would write it.
        fault: Arc<str>,
    },
    /// The connection has ended. The last event of every connection.
    Closed {
        /// The close reason.
        reason: CloseReason,
        /// One line of detail, if there is any.
        error: Option<String>,
        /// The byte counts of both directions.
        ledgers: Both<Ledger>,
    },
    /// Events of this connection found no room in the queue. Comes in their place.
    Missed {
        /// The number of events.
        events: u64,
        /// The bytes of those that had some.
        bytes: u64,
    },
}

/// Where bytes were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// As they were read, before filters and hooks.
    In,
    /// As they are sent on, behind filters and hooks.
    Out,
}

#[cfg(test)]
impl ConnectionKey {
    /// Returns a connection of the only server.
    pub(crate) fn of(number: u64) -> Self {
        Self { number, server: 1 }
    }
}

impl Event {
    /// Returns an event that happens now.
    pub fn now(connection: ConnectionKey, kind: EventKind) -> Self {
        Self { connection, at: SystemTime::now(), kind }
    }

    /// Returns the memory that it takes.
    pub fn cost(&self) -> usize {
        EVENT + self.bytes()
    }

    /// Returns the number of bytes of the stream that it holds.
    pub fn bytes(&self) -> usize {
        match &self.kind {
            EventKind::Data { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}
