//! What a connection's task and its handles share.

use std::{
    collections::VecDeque,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering, fence},
    },
};

use bytes::Bytes;

use crate::{
    addr::SocketName,
    control::Control,
    inbox::Inbox,
    outcome::Outcome,
    stats::{Direction, Meter},
};

/// The names of one side's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideNames {
    /// `getpeername`: the other machine's end.
    pub peer: SocketName,
    /// `getsockname`: our end.
    pub local: SocketName,
}

/// What the task and the handles of one connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub id: u64,
    // Boxed: they fit between what the allocator has to align.
    pub client: Box<SideNames>,
    /// `None` inside: there is no upstream.
    pub upstream: OnceLock<Option<Box<SideNames>>>,
    pub to_upstream: Meter,
    pub to_client: Meter,
    pub control: Control,
    pub outcome: OnceLock<Outcome>,
    /// Its hooks know of the end: none of them asks for it again.
    pub(super) told: AtomicBool,
    /// Listeners of this process that the client has passed before this one.
    pub passed: AtomicU8,
    /// Made by the first injection: few connections ever see one.
    pub(super) inboxes: OnceLock<Box<Inboxes>>,
}

#[derive(Debug, Default)]
pub(super) struct Inboxes {
    to_upstream: Inbox,
    to_client: Inbox,
}

impl Inboxes {
    pub(super) fn of(&self, direction: Direction) -> &Inbox {
        match direction {
            Direction::ToUpstream => &self.to_upstream,
            Direction::ToClient => &self.to_client,
        }
    }
}

impl Shared {
    pub(crate) fn meter(&self, direction: Direction) -> &Meter {
        match direction {
            Direction::ToUpstream => &self.to_upstream,
            Direction::ToClient => &self.to_client,
        }
    }

    /// What is injected in `direction`, if anything ever was.
    pub(crate) fn inbox(&self, direction: Direction) -> Option<&Inbox> {
        self.inboxes.get().map(|inboxes| inboxes.of(direction))
    }

    /// Whether something injected in `direction` waits.
    pub(crate) fn has_injected(&self, direction: Direction) -> bool {
        self.inbox(direction).is_some_and(Inbox::has_some)
    }

    /// Whether so much was injected that no more is to be asked for.
    pub(crate) fn has_injected_enough(&self, direction: Direction) -> bool {
        self.inbox(direction).is_some_and(Inbox::has_enough)
    }

    /// Takes no more injections in `direction`. Gives what waited.
    pub(crate) fn finish_inbox(&self, direction: Direction) -> VecDeque<Bytes> {
        self.control.over.add(direction);
        fence(Ordering::SeqCst);
        self.inbox(direction).map(Inbox::end).unwrap_or_default()
    }

    /// The same; what waited is given up, and counted as that.
    pub(crate) fn end_inbox(&self, direction: Direction) {
        let lost = self.finish_inbox(direction).iter().map(Bytes::len).sum();
        self.meter(direction).added(lost);
        self.meter(direction).undeliverable(lost);
    }
}
