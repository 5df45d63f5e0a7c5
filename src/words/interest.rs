//! The set of hooks that are called for a connection.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::words::direction::Direction;

/// A set of hooks that are wanted, each with the thread on which it is called: the connection's lane, or any. A hook outside
/// of the set costs nothing.
///
/// The lower half has the wanted hooks, the upper half those of them that any thread may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest(u32);

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

    /// [`on_preread`](crate::hooks::Hooks::on_preread).
    pub const PREREAD: Self = Self(64);

    /// No hook: the connection has stages that run on its lane.
    pub const STAGES: Self = Self(128);

    /// [`on_client_hello`](crate::hooks::Hooks::on_client_hello).
    pub const HELLO: Self = Self(256);

    const HOOKS: u32 = 0xffff;

    /// Returns the union of both sets. A hook that one of them has on the lane is called there.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        let on_lane = self.on_lane().0 | other.on_lane().0;
        let hooks = (self.0 | other.0) & Self::HOOKS;
        Self(hooks | (hooks & !on_lane) << 16)
    }

    /// Returns this set without the hooks of the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        let hooks = other.0 & Self::HOOKS;
        Self(self.0 & !(hooks | hooks << 16))
    }

    /// Returns the same hooks, called on the thread on which the connection runs, whichever that is. For hooks that never block,
    /// and answer later where an answer takes time.
    #[must_use]
    pub const fn on_any_thread(self) -> Self {
        let hooks = self.0 & Self::HOOKS;
        Self(hooks | hooks << 16)
    }

    /// Returns the hooks of this set that are called on the lane.
    #[must_use]
    pub const fn on_lane(self) -> Self {
        Self(self.0 & !(self.0 >> 16) & Self::HOOKS)
    }

    /// Returns true if the two sets have a hook in common.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 & Self::HOOKS != 0
    }

    /// Returns [`on_recv`](crate::hooks::Hooks::on_recv) for one direction.
    pub const fn recv(direction: Direction) -> Self {
        match direction {
            Direction::ToUpstream => Self::TO_UPSTREAM,
            Direction::ToClient => Self::TO_CLIENT,
        }
    }

    /// The hooks that a relay itself calls, and the stages that it runs on the lane.
    pub(crate) const RELAYED: Self = Self(Self::TO_UPSTREAM.0 | Self::TO_CLIENT.0 | Self::EOF.0 | Self::STAGES.0);

    /// Returns true if the relay itself calls one of the hooks on the lane, and so must run there.
    pub(crate) const fn needs_lane(self) -> bool {
        self.on_lane().has(Self::RELAYED)
    }
}

/// An [`Interest`] that one thread changes and others read.
#[derive(Debug, Default)]
pub(crate) struct AtomicInterest(AtomicU32);

impl AtomicInterest {
    pub(crate) fn load(&self) -> Interest {
        // Acquire: a thread that sees a wanted hook also sees the lanes on which it is called.
        Interest(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn store(&self, interest: Interest) {
        self.0.store(interest.0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_of_a_set_is_called_on_the_lane_or_on_any_thread() {
        let later = Interest::TO_UPSTREAM.on_any_thread();
        assert!(later.has(Interest::TO_UPSTREAM) && !later.needs_lane() && !later.has(Interest::ACCEPT));
        let mixed = later.with(Interest::TO_CLIENT).with(Interest::CLOSE.on_any_thread());
        assert!(mixed.needs_lane());
        assert_eq!(mixed.on_lane(), Interest::TO_CLIENT);
        assert_eq!(mixed.without(Interest::TO_CLIENT).on_lane(), Interest::NONE);
        assert_eq!(mixed.without(Interest::TO_UPSTREAM).without(Interest::CLOSE), Interest::TO_CLIENT);
        assert_eq!(later.with(Interest::TO_UPSTREAM), Interest::TO_UPSTREAM);
        assert!(!Interest::ACCEPT.with(Interest::CLOSE).needs_lane());
        assert!(later.with(Interest::STAGES).needs_lane());
        assert_eq!(later.with(Interest::STAGES).without(Interest::STAGES), later);
    }
}
