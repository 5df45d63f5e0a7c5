//! The state that a connection's task and its handles share.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence},
    },
};

use bytes::Bytes;

use crate::{
    inspect::Stages,
    io::hops::Ends,
    live::{
        control::{Command, Control},
        inbox::{Inbox, Refused, Source},
    },
    words::{
        addr::SocketName,
        direction::{Both, Direction},
        outcome::Outcome,
        stats::{Ledger, Meter},
    },
};

/// The names of one side's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideNames {
    /// `getpeername`: the other machine's end.
    pub peer: SocketName,
    /// `getsockname`: our end.
    pub local: SocketName,
}

/// The state that the task and the handles of one connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub id: u64,
    /// It is no client's: an upstream's socket alone, with nobody in the client's place.
    pub is_adopted: bool,
    /// The names of the client's own socket. Boxed: they fit between what the allocator has to align.
    pub client: Box<SideNames>,
    /// `None` inside: there is no upstream.
    pub upstream: OnceLock<Option<Box<SideNames>>>,
    pub meters: Both<Meter>,
    pub control: Control,
    pub outcome: OnceLock<Outcome>,
    /// Its hooks know of the end: none of them asks for it again.
    pub(super) told: AtomicBool,
    /// Listeners of this process that the client has passed before this one.
    pub passed: AtomicU8,
    /// The inode of the client's socket, as [`Ends`] has it.
    pub inode: AtomicU32,
    /// Made when first needed: few connections ever do.
    pub(super) seldom: OnceLock<Box<Seldom>>,
}

/// A change of a direction's stages, made by the connection's task.
pub(crate) type Edit = Box<dyn FnOnce(&mut Stages) + Send>;

/// State that few connections need: of those that are injected into, made to fail, or named anew.
#[derive(Default)]
pub(super) struct Seldom {
    pub inboxes: Both<Inbox>,
    /// Whose room the reading of this connection waits for.
    waits_for: Mutex<Vec<(Weak<Shared>, Direction)>>,
    /// Changes of the stages that were asked for.
    edits: Mutex<Both<Vec<Edit>>>,
    /// Why it is to fail, where something else is the cause.
    cause: OnceLock<Outcome>,
    /// The client's names, where a step of arrival has learnt others than those of its socket.
    client: OnceLock<SideNames>,
}

impl fmt::Debug for Seldom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seldom").field("inboxes", &self.inboxes).field("cause", &self.cause).finish_non_exhaustive()
    }
}

impl Source for Shared {
    fn wake(&self) {
        self.control.wake();
    }
}

impl Shared {
    fn as_source(self: &Arc<Self>) -> Weak<dyn Source> {
        Arc::downgrade(self) as Weak<dyn Source>
    }

    /// Adds the bytes of both directions so far to `total`.
    pub(super) fn add_bytes_to(&self, total: &mut Both<Ledger>) {
        Direction::ALL.into_iter().for_each(|direction| total[direction].add(self.meters[direction].ledger()));
    }

    /// Returns the number of bytes delivered so far, of both directions.
    pub(super) fn delivered(&self) -> u64 {
        Direction::ALL.iter().map(|direction| self.meters[*direction].ledger().delivered).sum()
    }

    /// Returns the ends of the client's connection.
    pub(crate) fn ends(&self) -> Ends<'_> {
        Ends { from: &self.client.peer, to: &self.client.local, inode: self.inode.load(Ordering::Relaxed) }
    }

    /// Returns the client's names as the outside is to know them.
    pub(crate) fn client_names(&self) -> &SideNames {
        self.seldom.get().and_then(|seldom| seldom.client.get()).unwrap_or(&self.client)
    }

    /// Names the client, once. The names of its socket stay what they are.
    pub(crate) fn name_client(&self, names: SideNames) {
        if names != *self.client {
            let _ = self.seldom.get_or_init(Box::default).client.set(names);
        }
    }

    /// Returns the inbox of `direction`, if anything was ever injected.
    pub(crate) fn inbox(&self, direction: Direction) -> Option<&Inbox> {
        self.seldom.get().map(|seldom| &seldom.inboxes[direction])
    }

    /// Returns true if something injected in `direction` waits.
    pub(crate) fn has_injected(&self, direction: Direction) -> bool {
        self.inbox(direction).is_some_and(Inbox::has_some)
    }

    /// Returns true if the bytes injected in `direction` have reached their limit.
    pub(crate) fn has_injected_enough(&self, direction: Direction) -> bool {
        self.inbox(direction).is_some_and(Inbox::has_enough)
    }

    /// Sends `data`, which a hook sends for what `source` has sent in its direction, in `direction` of this one.
    pub(crate) fn inject_from(
        &self,
        this: &Arc<Self>,
        direction: Direction,
        data: Bytes,
        source: (&Arc<Self>, Direction),
    ) -> Result<(), Refused> {
        let (source, read) = source;
        if self.open_inbox(direction)?.put_from(data, &source.as_source())? {
            let waits_for = &source.seldom.get_or_init(Box::default).waits_for;
            let mut waits_for = waits_for.lock().unwrap_or_else(PoisonError::into_inner);
            let this = (Arc::downgrade(this), direction);
            if !waits_for.iter().any(|known| known.0.ptr_eq(&this.0) && known.1 == direction) {
                waits_for.push(this);
            }
            source.control.waits.add(read);
        }
        self.control.wake();
        Ok(())
    }

    /// Returns true while reading in `direction` waits for other connections to take the bytes sent to them.
    pub(crate) fn waits(this: &Arc<Self>, direction: Direction) -> bool {
        if !this.control.waits.has(direction) {
            return false;
        }
        let Some(seldom) = this.seldom.get() else { return false };
        let me = this.as_source();
        let full = |(other, direction): &(Weak<Self>, Direction)| {
            other.upgrade().is_some_and(|other| other.inbox(*direction).is_some_and(|inbox| inbox.holds_up(&me)))
        };
        let mut waits_for = seldom.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        waits_for.retain(full);
        if waits_for.is_empty() {
            this.control.waits.remove(direction);
        }
        !waits_for.is_empty()
    }

    /// The inbox of `direction`, unless that has ended.
    pub(super) fn open_inbox(&self, direction: Direction) -> Result<&Inbox, Refused> {
        let inbox = &self.seldom.get_or_init(Box::default).inboxes[direction];
        // An end that found no inbox to end has been noted before: either it sees the inbox, or it is seen here.
        fence(Ordering::SeqCst);
        if self.control.over.has(direction) { Err(Refused::Ended) } else { Ok(inbox) }
    }

    /// Fails the connection for `cause`: bytes sent to its peer are delivered first.
    pub(super) fn fail(&self, cause: Outcome) {
        let _ = self.seldom.get_or_init(Box::default).cause.set(cause);
        self.control.request(Command::Fail);
    }

    /// Asks the task to change the stages of `direction`.
    pub(super) fn edit_stages(&self, direction: Direction, edit: Edit) {
        let edits = &self.seldom.get_or_init(Box::default).edits;
        edits.lock().unwrap_or_else(PoisonError::into_inner)[direction].push(edit);
        self.control.edited.add(direction);
        self.control.wake();
    }

    /// Returns the changes of stages that were asked for, in their order.
    pub(crate) fn take_edits(&self, direction: Direction) -> Vec<Edit> {
        self.control.edited.remove(direction);
        let Some(seldom) = self.seldom.get() else { return Vec::new() };
        std::mem::take(&mut seldom.edits.lock().unwrap_or_else(PoisonError::into_inner)[direction])
    }

    /// Why it was made to fail.
    pub(crate) fn cause(&self) -> Option<&Outcome> {
        self.seldom.get()?.cause.get()
    }

    /// Refuses further injections in `direction`. Returns those that waited.
    pub(crate) fn finish_inbox(&self, direction: Direction) -> VecDeque<Bytes> {
        self.control.over.add(direction);
        fence(Ordering::SeqCst);
        self.inbox(direction).map(Inbox::end).unwrap_or_default()
    }

    /// Refuses further injections in `direction`, and counts those that waited as undeliverable.
    pub(crate) fn end_inbox(&self, direction: Direction) {
        let lost = self.finish_inbox(direction).iter().map(Bytes::len).sum();
        self.meters[direction].added(lost);
        self.meters[direction].undeliverable(lost);
    }
}
