//! The state that a connection's task and its handles share.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    inspect::{
        Stages,
        faults::draws::Draws,
        framing::{Framer, FramingRules},
    },
    io::hops::Ends,
    live::{
        control::{Command, Control, Directions},
        inbox::{Inbox, Refused, Source},
        inspect_limit::ShownBytes,
        read_requests::{Answered, Dialogues, Left, Unread, Wish},
        sides_tls::SidesTls,
    },
    taps::witness::Witnesses,
    words::{
        addr::SocketName,
        direction::{Both, Direction},
        lock::EvenPoisoned,
        outcome::Outcome,
        stats::{Ledger, Meter},
    },
};

/// The names of one side's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideNames {
    /// `getpeername`: the remote end.
    pub peer: SocketName,
    /// `getsockname`: the local end.
    pub local: SocketName,
}

/// The state that the task and the handles of one connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub id: u64,
    pub server: u32,
    /// The source of what faults draw: the server's.
    pub draws: Arc<Draws>,
    /// True for an upstream's socket that is carried alone, with nobody in the client's place.
    pub is_adopted: bool,
    /// The names of the client's own socket. Boxed: in an allocation of their own they lose less to the allocator's
    /// alignment.
    pub client: Box<SideNames>,
    /// Set once known; `None` inside for a client without an upstream.
    pub upstream: OnceLock<Option<Box<SideNames>>>,
    pub meters: Both<Meter>,
    pub control: Control,
    pub outcome: OnceLock<Outcome>,
    /// The time at which the connection was accepted.
    pub(super) since: Instant,
    /// The nanoseconds for which the connection has lived; 0 while it lives.
    pub(super) lived: AtomicU64,
    /// True once the hooks have seen the end of the connection: no hook runs for it any more.
    pub(super) close_notified: AtomicBool,
    /// Listeners of this process that the client has passed before this one.
    pub passed: AtomicU8,
    /// The inode of the client's socket, as [`Ends`] has it.
    pub inode: AtomicU32,
    /// Allocated when first needed: few connections need it.
    pub(super) seldom: OnceLock<Box<Seldom>>,
}

/// Changes of one direction's stages that may wait for the connection's task.
const MOST_EDITS: usize = 64;

/// A change of a direction's stages, made by the connection's task.
pub(crate) enum Edit {
    Stages(Box<dyn FnOnce(&mut Stages) + Send>),
    /// Another framer, or none.
    Framing(Option<(Box<dyn Framer>, FramingRules)>),
}

/// State that few connections need: those with injected bytes, with a failure from outside, or with other names than their
/// socket's.
#[derive(Default)]
pub(super) struct Seldom {
    pub inboxes: Both<Inbox>,
    /// The directions of other connections whose inboxes must have room before this connection is read.
    waits_for: Mutex<Vec<(Weak<Shared>, Direction)>>,
    is_changed: AtomicBool,
    /// The directions that have faults of their own, and not the server's.
    pub own_faults: Directions,
    /// The witnesses of what happens.
    pub witnesses: OnceLock<Witnesses>,
    /// Requested changes of the stages.
    edits: Mutex<Both<Vec<Edit>>>,
    dialogues: Dialogues,
    /// Bytes that hooks were shown, where their number is limited.
    shown: ShownBytes,
    /// The outcome that another connection's failure or a stage causes.
    cause: OnceLock<Outcome>,
    /// One line about the targets that could not be connected before the one that was.
    passed_over: OnceLock<Box<str>>,
    tls: SidesTls,
    /// The client's names, if a step of arrival has set others than those of its socket.
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

    /// Adds the byte counts of both directions to `total`.
    pub(super) fn add_bytes_to(&self, total: &mut Both<Ledger>) {
        Direction::ALL.into_iter().for_each(|direction| total[direction].add(self.meters[direction].ledger()));
    }

    /// Returns how long the connection has lived.
    pub(crate) fn age(&self) -> Duration {
        match self.lived.load(Ordering::Relaxed) {
            0 => self.since.elapsed(),
            nanoseconds => Duration::from_nanos(nanoseconds),
        }
    }

    /// Ends the connection's age. The first call counts.
    pub(super) fn end_age(&self) {
        let nanoseconds = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        let _ = self.lived.compare_exchange(0, nanoseconds, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Returns the number of bytes delivered so far, of both directions.
    pub(super) fn delivered(&self) -> u64 {
        Direction::ALL.iter().map(|direction| self.meters[*direction].ledger().delivered).sum()
    }

    /// Returns the ends of the client's connection.
    pub(crate) fn ends(&self) -> Ends<'_> {
        Ends { from: &self.client.peer, to: &self.client.local, inode: self.inode.load(Ordering::Relaxed) }
    }

    /// Returns the client's names as hooks, handles and logs show them.
    pub(crate) fn client_names(&self) -> &SideNames {
        self.seldom.get().and_then(|seldom| seldom.client.get()).unwrap_or(&self.client)
    }

    /// Sets the client's names, once. The names of its socket stay as they are.
    pub(crate) fn name_client(&self, names: SideNames) {
        if names != *self.client {
            let _ = self.seldom.get_or_init(Box::default).client.set(names);
        }
    }

    /// Returns the TLS of both sides, which most connections do not have.
    pub(super) fn sides_tls(&self) -> &SidesTls {
        &self.seldom.get_or_init(Box::default).tls
    }

    /// Returns the TLS of both sides, if the connection has such state.
    pub(super) fn known_tls(&self) -> Option<&SidesTls> {
        self.seldom.get().map(|seldom| &seldom.tls)
    }

    /// Keeps one line about targets that could not be connected, once.
    pub(crate) fn keep_passed_over(&self, line: Box<str>) {
        let _ = self.seldom.get_or_init(Box::default).passed_over.set(line);
    }

    /// Returns the explanation of the end, and behind it the line about targets that could not be connected.
    pub(super) fn explanation(&self) -> Option<String> {
        let end = self.outcome.get().and_then(|outcome| outcome.error.as_deref());
        let passed_over = self.seldom.get().and_then(|seldom| seldom.passed_over.get());
        let both: Vec<&str> = end.into_iter().chain(passed_over.map(Box::as_ref)).collect();
        (!both.is_empty()).then(|| both.join("; "))
    }

    /// Returns the inbox of `direction`, if anything was ever injected.
    pub(crate) fn inbox(&self, direction: Direction) -> Option<&Inbox> {
        self.seldom.get().map(|seldom| &seldom.inboxes[direction])
    }

    /// Returns true if injected bytes wait in `direction`.
    pub(crate) fn has_injected(&self, direction: Direction) -> bool {
        self.inbox(direction).is_some_and(Inbox::has_some)
    }

    /// Returns true if the bytes injected in `direction` have reached their limit.
    pub(crate) fn has_injected_enough(&self, direction: Direction) -> bool {
        self.inbox(direction).is_some_and(Inbox::has_enough)
    }

    /// Sends `data` in `direction` of this connection; a hook has made it from bytes that `source` has sent in its direction.
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
            let mut waits_for = waits_for.lock().even_poisoned();
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
        let mut waits_for = seldom.waits_for.lock().even_poisoned();
        waits_for.retain(full);
        if waits_for.is_empty() {
            this.control.waits.remove(direction);
        }
        !waits_for.is_empty()
    }

    /// Returns the inbox of `direction`, or an error if that has ended.
    pub(super) fn open_inbox(&self, direction: Direction) -> Result<&Inbox, Refused> {
        let inbox = &self.seldom.get_or_init(Box::default).inboxes[direction];
        // An end that found no inbox was recorded in `over` before: either that call sees the inbox, or this call sees the
        // end.
        fence(Ordering::SeqCst);
        if self.control.over.has(direction) { Err(Refused::Ended) } else { Ok(inbox) }
    }

    /// Records that a hook was shown `bytes` of `direction`, and hides it from hooks once they have seen `limit` bytes of it.
    /// For the connection's task.
    pub(crate) fn show(&self, direction: Direction, bytes: usize, limit: usize) {
        if self.seldom.get_or_init(Box::default).shown.reach(limit, direction, bytes) {
            self.control.pass_through(direction);
        }
    }

    /// Fails the connection for `cause`: bytes sent to its peer are delivered first.
    pub(super) fn fail(&self, cause: Outcome) {
        let _ = self.seldom.get_or_init(Box::default).cause.set(cause);
        self.control.request(Command::Fail);
    }

    /// Ends the connection in order, for `cause`.
    pub(crate) fn close_because(&self, cause: Outcome) {
        let _ = self.seldom.get_or_init(Box::default).cause.set(cause);
        self.control.request(Command::Close);
    }

    /// Asks the task to change the stages of `direction`.
    pub(crate) fn edit(&self, direction: Direction, edit: Edit) -> Result<(), Refused> {
        let edits = &self.seldom.get_or_init(Box::default).edits;
        // As in `open_inbox`: either the end sees what is there, or it is seen here.
        fence(Ordering::SeqCst);
        let mut edits = edits.lock().even_poisoned();
        if self.control.over.has(direction) {
            return Err(Refused::Ended);
        }
        if edits[direction].len() >= MOST_EDITS {
            return Err(Refused::Full);
        }
        edits[direction].push(edit);
        self.control.edited.add(direction);
        drop(edits);
        self.control.wake();
        Ok(())
    }

    /// Returns true if filters, hooks or faults may change what passes, as it was when the client was accepted.
    pub(crate) fn is_changed(&self) -> bool {
        self.seldom.get().is_some_and(|seldom| seldom.is_changed.load(Ordering::Relaxed))
    }

    /// Records that filters, hooks or faults may change what passes.
    pub(crate) fn set_changed(&self) {
        self.seldom.get_or_init(Box::default).is_changed.store(true, Ordering::Relaxed);
    }

    /// Keeps the witnesses of what happens to the connection, for faults. They are known when a client is accepted.
    pub(crate) fn set_witnesses(&self, witnesses: Witnesses) {
        let _ = self.seldom.get_or_init(Box::default).witnesses.set(witnesses);
    }

    /// Takes the requested changes of the stages of `direction`, in their order.
    pub(crate) fn take_edits(&self, direction: Direction) -> Vec<Edit> {
        self.control.edited.remove(direction);
        let Some(seldom) = self.seldom.get() else { return Vec::new() };
        std::mem::take(&mut seldom.edits.lock().even_poisoned()[direction])
    }

    /// Returns the dialogues, if a handle has asked for a read.
    pub(crate) fn dialogues(&self) -> Option<&Dialogues> {
        self.seldom.get().map(|seldom| &seldom.dialogues)
    }

    /// Asks the task to read the side that sends in `direction`. Returns the number of the request.
    pub(super) fn ask_to_read(&self, direction: Direction, wish: Wish, answered: Answered) -> Result<u64, Unread> {
        if !self.control.dialogue.has(direction) {
            return Err(Unread::Closed);
        }
        let dialogues = &self.seldom.get_or_init(Box::default).dialogues;
        // As in `open_inbox`: either the end of the dialogue sees the request, or the end is seen here.
        fence(Ordering::SeqCst);
        let number = dialogues.ask(direction, wish, answered, || self.control.dialogue.has(direction))?;
        self.control.wake();
        Ok(number)
    }

    /// Lets handles read the sides that send in `directions`, while a hook is asked.
    pub(crate) fn open_dialogue(&self, directions: &[Direction]) {
        directions.iter().for_each(|direction| self.control.dialogue.add(*direction));
    }

    /// Refuses further reads of the side that sends in `direction`.
    pub(crate) fn close_dialogue(&self, direction: Direction) -> Left {
        self.control.dialogue.remove(direction);
        fence(Ordering::SeqCst);
        self.dialogues().map(|dialogues| dialogues.close(direction)).unwrap_or_default()
    }

    /// Returns the outcome that another connection's failure or a stage causes.
    pub(crate) fn cause(&self) -> Option<&Outcome> {
        self.seldom.get()?.cause.get()
    }

    /// Refuses further injections in `direction`, and changes of its stages. Returns the bytes that waited.
    pub(crate) fn finish_inbox(&self, direction: Direction) -> VecDeque<Bytes> {
        self.control.over.add(direction);
        fence(Ordering::SeqCst);
        if self.seldom.get().is_some() {
            drop(self.take_edits(direction));
        }
        self.inbox(direction).map(Inbox::end).unwrap_or_default()
    }

    /// Refuses further injections in `direction`, and counts bytes that waited as undeliverable.
    pub(crate) fn end_inbox(&self, direction: Direction) {
        let lost = self.finish_inbox(direction).iter().map(Bytes::len).sum();
        self.meters[direction].added(lost);
        self.meters[direction].undeliverable(lost);
    }
}
