//! The set of hooks that are called for a connection.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::words::direction::Direction;

/// A set of hooks that are wanted. A hook outside of the set costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest(u8);

impl Interest {
    /// No hook at all.
    pub const NONE: Self = Self(0);
    /// [`on_accept`](crate::hooks::Hooks::on_accept).
    pub const ACCEPT: Self = Self(1);
    /// [`on_connect`](crate::hooks::Hooks::on_connect).
    pub const CONNECT: Self = Self(2);
    /// [`on_recv`](crate::hooks::Hooks::on_recv) for bytes from the client.
    pub const TO_UPSTREAM: Self = Self(4);
    /// [`on_recv`](crate::hooks::Hooks::on_recv) for bytes from the upstream.
    pub const TO_CLIENT: Self = Self(8);
    /// [`on_eof`](crate::hooks::Hooks::on_eof).
    pub const EOF: Self = Self(16);
    /// [`on_close`](crate::hooks::Hooks::on_close).
    pub const CLOSE: Self = Self(32);

    /// Returns the union of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns this set without the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns true if the two sets have a hook in common.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns [`on_recv`](crate::hooks::Hooks::on_recv) for one direction.
    pub const fn recv(direction: Direction) -> Self {
        match direction {
            Direction::ToUpstream => Self::TO_UPSTREAM,
            Direction::ToClient => Self::TO_CLIENT,
        }
    }

    /// Returns true if the relay itself calls one of the hooks, and so must run on a lane.
    pub(crate) const fn needs_lane(self) -> bool {
        self.has(Self(Self::TO_UPSTREAM.0 | Self::TO_CLIENT.0 | Self::EOF.0))
    }
}

/// An [`Interest`] that one thread changes and others read.
#[derive(Debug, Default)]
pub(crate) struct AtomicInterest(AtomicU8);

impl AtomicInterest {
    pub(crate) fn load(&self) -> Interest {
        // Acquire: a thread that sees a wanted hook also sees the lanes on which it is called.
        Interest(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn store(&self, interest: Interest) {
        self.0.store(interest.0, Ordering::Release);
    }
}
