//! The handle of a connection, for users outside of its task.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    inspect::{
        Stages,
        faults::set::Faults,
        filters::{self, Filters, Position},
        framing::{Framer, FramingRules},
    },
    live::{
        control::Command,
        inbox::{Patience, Refused},
        read_requests::{Answered, Unread, Wish},
        shared::{Edit, Shared, SideNames},
        sides_tls::Unstarted,
    },
    taps::event::Place,
    threads::workers::Origin,
    tls::{description::Description, start::Start},
    words::{
        direction::{Both, Direction, Side},
        interest::Interest,
        outcome::{CloseReason, Outcome},
        stats::Ledger,
    },
};

/// The stage of a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The upstream is not connected yet.
    Connecting,
    /// Bytes flow.
    Open,
    /// The connection has ended; its close reason is known.
    Closed,
}

/// A handle of one connection. Still valid after its end, with its outcome.
#[derive(Debug, Clone)]
pub struct Connection(pub(super) Arc<Shared>);

impl From<Arc<Shared>> for Connection {
    fn from(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl Connection {
    /// Returns the connection's number: unique within its server, counted from 1.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Returns the stage of the connection's life.
    pub fn state(&self) -> State {
        match (self.0.outcome.get(), self.0.upstream.get()) {
            (Some(_), _) => State::Closed,
            (None, Some(_)) => State::Open,
            (None, None) => State::Connecting,
        }
    }

    /// Returns how long the connection has lived: since it was accepted, until now or its end.
    pub fn age(&self) -> Duration {
        self.0.age()
    }

    /// Returns the close reason, once the connection has ended.
    pub fn reason(&self) -> Option<CloseReason> {
        self.0.outcome.get().map(|outcome| outcome.reason)
    }

    /// Records that the hooks have seen the end of the connection.
    pub fn set_close_notified(&self) {
        self.0.close_notified.store(true, Ordering::Release);
    }

    /// Returns true once the hooks have seen the end of the connection.
    pub fn is_close_notified(&self) -> bool {
        self.0.close_notified.load(Ordering::Acquire)
    }

    /// Returns how many listeners of this process its client has passed before this one.
    pub fn passed(&self) -> u8 {
        self.0.passed.load(Ordering::Relaxed)
    }

    /// Returns the known history of the client, for connections made on its behalf.
    pub fn origin(&self) -> Origin {
        let SideNames { peer, local } = &*self.0.client;
        let client = (!self.is_adopted()).then(|| (peer.clone(), local.clone()));
        Origin { passed: self.passed(), client, inode: self.0.inode.load(Ordering::Relaxed) }
    }

    /// Returns one line about the end, if it needs an explanation, and about targets that could not be connected before the
    /// one that was; the latter also before the end.
    pub fn error(&self) -> Option<String> {
        self.0.explanation()
    }

    /// Returns OpenSSL's number for what is wrong with a side's certificate (`X509_V_ERR_…`), if that was the cause of the end.
    pub fn certificate_fault(&self) -> Option<u8> {
        self.0.outcome.get()?.certificate_fault
    }

    /// Returns the client's names: those of its socket, unless a step of arrival has set others.
    pub fn client(&self) -> SideNames {
        self.0.client_names().clone()
    }

    /// Returns the names of the upstream's socket, once connected.
    pub fn upstream(&self) -> Option<SideNames> {
        self.0.upstream.get()?.as_deref().cloned()
    }

    /// Returns the properties of the TLS that the client's side, or the upstream's, speaks; `None` without.
    pub fn tls(&self, is_client: bool) -> Option<Description> {
        self.0.tls(if is_client { Side::Client } else { Side::Upstream }).cloned()
    }

    /// Begins TLS with each side that `start` names, behind what is written to that side until the hook that is asked now has
    /// answered. No bytes are read from either side meanwhile.
    pub fn start_tls(&self, start: Start) -> Result<(), Unstarted> {
        self.0.ask_for_tls(start)
    }

    /// Returns true once the upstream is connected, also after its end.
    pub fn has_upstream(&self) -> bool {
        matches!(self.0.upstream.get(), Some(Some(_)))
    }

    /// Returns the byte counts of one direction so far.
    pub fn ledger(&self, direction: Direction) -> Ledger {
        self.0.meters[direction].ledger()
    }

    /// Sends `data` behind the bytes already on their way in `direction`, whole and in the order of the calls.
    pub fn inject(&self, direction: Direction, data: Bytes, patience: Patience) -> Result<(), Refused> {
        if data.is_empty() {
            return if self.0.control.over.has(direction) { Err(Refused::Ended) } else { Ok(()) };
        }
        self.0.open_inbox(direction)?.put(data, patience)?;
        self.0.control.wake();
        Ok(())
    }

    /// Sends `data` in `direction`, made by a hook from bytes that `source` has sent in its direction; both connections are
    /// on the calling lane. While too many bytes wait here, `source` is not read.
    pub fn inject_from(&self, direction: Direction, data: Bytes, source: (&Self, Direction)) -> Result<(), Refused> {
        self.0.inject_from(&self.0, direction, data, (&source.0.0, source.1))
    }

    /// Returns true while reading in `direction` waits for other connections to take the bytes sent to them.
    pub(crate) fn waits(&self, direction: Direction) -> bool {
        Shared::waits(&self.0, direction)
    }

    /// Returns true for a connection without a client, which [`Server::adopt`](crate::server::Server::adopt) made.
    pub fn is_adopted(&self) -> bool {
        self.0.is_adopted
    }

    /// Stops reading the source of `direction` for now. Takes effect in directions that hooks see.
    pub fn pause(&self, direction: Direction) {
        self.0.control.pause(direction);
    }

    /// Resumes reading the source of `direction`.
    pub fn resume(&self, direction: Direction) {
        self.0.control.resume(direction);
    }

    /// Fails a side that is carried alone because the side that it is paired with has failed: bytes sent to its peer are
    /// delivered, then the peer gets RST. The close reason is that of `cause`.
    pub fn fail_with(&self, cause: &Self) {
        let reset = || Outcome::plain(CloseReason::Aborted);
        self.0.fail(cause.0.outcome.get().cloned().unwrap_or_else(reset));
    }

    /// Fails a side that is carried alone: bytes sent to its peer are delivered, then the peer gets RST.
    pub(crate) fn fail(&self, outcome: Outcome) {
        self.0.fail(outcome);
    }

    /// Ends one direction in order: its source is read no more, bytes that were read are delivered, then FIN.
    pub fn half_close(&self, direction: Direction) {
        self.0.control.end(direction);
    }

    /// Hides `direction` from hooks from the next chunk on.
    pub fn pass_through(&self, direction: Direction) {
        self.0.control.pass_through(direction);
    }

    /// Records that a hook was shown `bytes` of `direction`, of which it sees `limit` bytes.
    pub(crate) fn show(&self, direction: Direction, bytes: usize, limit: usize) {
        self.0.show(direction, bytes, limit);
    }

    /// Returns true if `direction` is hidden from hooks.
    pub fn is_passed_through(&self, direction: Direction) -> bool {
        self.0.control.passed_through.has(direction)
    }

    /// Changes the stages of `direction`, before its next read; changes are made in the order of the calls. Refused once the
    /// direction has ended, and while 64 changes wait. `edit` runs on the connection's thread.
    pub fn edit_stages(&self, direction: Direction, edit: impl FnOnce(&mut Stages) + Send + 'static) -> Result<(), Refused> {
        self.0.edit(direction, Edit::Stages(Box::new(edit)))
    }

    /// Puts filters in the places of those before, in `direction`, from the next read on. Refused as
    /// [`edit_stages`](Self::edit_stages) is.
    pub fn set_filters(&self, direction: Direction, filters: Filters) -> Result<(), Refused> {
        let (this, connection) = (Arc::clone(&self.0), self.0.key());
        // Made by the connection's task: by then the number of bytes that were read stands still.
        self.edit_stages(direction, move |stages| {
            this.control.filtered.set(direction, filters::want_messages(&filters, direction));
            let (read, changes) = (this.meters[direction].ledger().read, this.is_changed());
            let at = Position { connection, direction, place: Place::In, read, changes };
            stages.set_filters(filters::stages_of(&filters, at));
        })
    }

    /// Puts faults in the places of those before, in `direction`, from the next read on: these instead of the server's. What
    /// they draw follows from the server's seed. Refused as [`edit_stages`](Self::edit_stages) is.
    pub fn set_faults(&self, direction: Direction, faults: Faults) -> Result<(), Refused> {
        let this = Arc::clone(&self.0);
        self.0.own_faults(direction);
        self.edit_stages(direction, move |stages| this.put_faults(direction, &faults, stages))
    }

    /// Frames `direction` from the next byte on: from the one behind the bytes that a hook has been shown last. Without a
    /// framer, hooks are shown chunks. Refused as [`edit_stages`](Self::edit_stages) is.
    pub fn set_framing(&self, direction: Direction, framer: Option<Box<dyn Framer>>, rules: FramingRules) -> Result<(), Refused> {
        self.0.edit(direction, Edit::Framing(framer.map(|framer| (framer, rules))))
    }

    /// Returns true if the bytes of `direction` that a hook was shown last are no whole message, though the direction is
    /// framed.
    pub fn is_partial(&self, direction: Direction) -> bool {
        self.0.control.partial.has(direction)
    }

    /// Returns true if a length field is set in each of the messages that a hook answers in `direction`: then each is to be a
    /// piece of its own.
    pub fn has_length_field(&self, direction: Direction) -> bool {
        self.0.control.length_fields.has(direction)
    }

    /// Returns the state that the connection's task shares with its handles.
    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Reads the side that sends in `direction`, while a hook is asked before its bytes are relayed. `answered` gets the
    /// result on the connection's thread. Returns the number of the read.
    pub fn read(&self, direction: Direction, wish: Wish, answered: Answered) -> Result<u64, Unread> {
        self.0.ask_to_read(direction, wish, answered)
    }

    /// Withdraws a read. Returns false if it was answered: then bytes that nobody has seen may be [put
    /// back](Self::put_back).
    pub fn cancel_read(&self, direction: Direction, number: u64) -> bool {
        self.0.dialogues().is_some_and(|dialogues| dialogues.cancel(direction, number))
    }

    /// Records that the bytes of a read that holds others have been seen. Until then, or until they are put back, another read of
    /// that side is [`Unread::Busy`].
    pub fn note_seen(&self, direction: Direction) {
        if let Some(dialogues) = self.0.dialogues() {
            dialogues.seen(direction);
        }
    }

    /// Puts bytes of a read, which nobody has seen, back in front of those that are still to be read. Without effect once the
    /// bytes are relayed. A message, as `is_message` says, is the next message again.
    pub fn put_back(&self, direction: Direction, bytes: &[u8], is_message: bool) {
        if let Some(dialogues) = self.0.dialogues() {
            dialogues.put_back(direction, bytes, is_message, || self.0.control.dialogue.has(direction));
        }
    }

    /// Takes the framers with which messages were read, for the relay to go on with.
    pub fn take_framers(&self) -> Option<Both<Option<Box<dyn Framer>>>> {
        self.0.dialogues()?.take_framers()
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        self.0.control.wake();
    }

    /// Returns the hooks that are not called any more.
    pub(crate) fn passed_through(&self) -> Interest {
        let passed = &self.0.control.passed_through;
        if passed.is_empty() {
            return Interest::NONE;
        }
        let of = |direction| if passed.has(direction) { Interest::recv(direction) } else { Interest::NONE };
        let both = of(Direction::ToUpstream).with(of(Direction::ToClient));
        // `on_eof` is only called while a hook sees at least one direction.
        if passed.has(Direction::ToUpstream) && passed.has(Direction::ToClient) { both.with(Interest::EOF) } else { both }
    }

    /// Ends the connection in order: bytes that were read are delivered, then both sides get FIN. No effect once it has
    /// ended.
    pub fn close(&self) {
        self.0.control.request(Command::Close);
    }

    /// Ends the connection in order as [`close`](Self::close) does, and listens to neither side afterwards: what a peer says
    /// after its FIN may be answered with RST.
    pub fn close_now(&self) {
        self.0.control.hurry();
        self.close();
    }

    /// Returns true once the connection acts on a request to close: its peers have FIN before it acts on another, as far as
    /// they take the bytes before that.
    pub fn closes(&self) -> bool {
        self.0.control.closes()
    }

    /// Ends the connection at once: both sides get RST, and bytes that were read and not delivered are counted as
    /// undeliverable.
    pub fn abort(&self) {
        self.0.control.request(Command::Abort);
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Connection {}

impl Hash for Connection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
