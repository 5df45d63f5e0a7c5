//! Live connections, and the handles the outside has of them.

use std::{
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    addr::SocketName,
    control::{Command, Control},
    hooks::Interest,
    inbox::{Inbox, Patience, Refused},
    outcome::{CloseReason, Outcome},
    stats::{Direction, Ledger, Meter, Totals},
};

/// A connection's life as the outside sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The upstream is not connected yet.
    Connecting,
    /// Bytes flow.
    Open,
    /// It has ended; its reason is known.
    Closed,
}

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
    told: AtomicBool,
    /// Made by the first injection: few connections ever see one.
    inboxes: OnceLock<Box<Inboxes>>,
}

#[derive(Debug, Default)]
struct Inboxes {
    to_upstream: Inbox,
    to_client: Inbox,
}

impl Inboxes {
    fn of(&self, direction: Direction) -> &Inbox {
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

/// A handle of one connection: valid after its end, when it still tells how it went.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Shared>);

impl From<Arc<Shared>> for Connection {
    fn from(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl Connection {
    /// Unique within its server, counted from 1.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Where in its life it is.
    pub fn state(&self) -> State {
        match (self.0.outcome.get(), self.0.upstream.get()) {
            (Some(_), _) => State::Closed,
            (None, Some(_)) => State::Open,
            (None, None) => State::Connecting,
        }
    }

    /// Why it ended, once it has.
    pub fn reason(&self) -> Option<CloseReason> {
        self.0.outcome.get().map(|outcome| outcome.reason)
    }

    /// Notes that its hooks know of the end.
    pub fn tell(&self) {
        self.0.told.store(true, Ordering::Release);
    }

    /// Whether its hooks know of the end.
    pub fn is_told(&self) -> bool {
        self.0.told.load(Ordering::Acquire)
    }

    /// One line about the end, where there is something to say.
    pub fn error(&self) -> Option<String> {
        self.0.outcome.get().and_then(|outcome| outcome.error.clone())
    }

    /// The client's side.
    pub fn client(&self) -> SideNames {
        (*self.0.client).clone()
    }

    /// The upstream's side, once connected.
    pub fn upstream(&self) -> Option<SideNames> {
        self.0.upstream.get()?.as_deref().cloned()
    }

    /// The bytes of one direction so far.
    pub fn ledger(&self, direction: Direction) -> Ledger {
        match direction {
            Direction::ToUpstream => self.0.to_upstream.ledger(),
            Direction::ToClient => self.0.to_client.ledger(),
        }
    }

    /// Sends `data` behind what goes in `direction` already, whole and in the order of the calls.
    pub fn inject(&self, direction: Direction, data: Bytes, patience: Patience) -> Result<(), Refused> {
        let inbox = self.0.inboxes.get_or_init(Box::default).of(direction);
        // An end that found no inbox to end has been noted before: either it sees the inbox, or it is seen here.
        fence(Ordering::SeqCst);
        if self.0.control.over.has(direction) {
            return Err(Refused::Ended);
        }
        inbox.put(data, patience)?;
        self.0.control.wake();
        Ok(())
    }

    /// Ends one direction in order: no more of its source is read, what was read is delivered, then FIN.
    pub fn half_close(&self, direction: Direction) {
        self.0.control.end(direction);
    }

    /// No hook sees `direction` from the next chunk on.
    pub fn pass_through(&self, direction: Direction) {
        self.0.control.pass_through(direction);
    }

    /// The hooks that are not asked any more.
    pub(crate) fn passed_through(&self) -> Interest {
        let passed = &self.0.control.passed_through;
        if passed.is_empty() {
            return Interest::NONE;
        }
        let of = |direction| if passed.has(direction) { Interest::recv(direction) } else { Interest::NONE };
        let both = of(Direction::ToUpstream).with(of(Direction::ToClient));
        // An end is only worth asking about while some direction is seen.
        if passed.has(Direction::ToUpstream) && passed.has(Direction::ToClient) { both.with(Interest::EOF) } else { both }
    }

    /// Ends it in order: what was read is delivered, then both sides get FIN. No effect once it has ended.
    pub fn close(&self) {
        self.0.control.request(Command::Close);
    }

    /// Ends it at once: both sides get RST, and what was read and not delivered is counted undeliverable.
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

/// The live connections of one server, and the figures of those that ended.
#[derive(Debug)]
pub(crate) struct Registry {
    live: Mutex<HashMap<u64, Arc<Shared>>>,
    ended: Mutex<Ended>,
    accepted: AtomicU64,
    /// The most that lived at once since that was last asked for.
    peak: AtomicUsize,
    /// Connections that have ended, and whose hooks have still to be told.
    untold: AtomicUsize,
    /// Told when the last live connection ends.
    empty: Notify,
}

#[derive(Debug)]
struct Ended {
    by_reason: Vec<u64>,
    to_upstream: Ledger,
    to_client: Ledger,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn new() -> Self {
        let ended =
            Ended { by_reason: vec![0; CloseReason::ALL.len()], to_upstream: Ledger::default(), to_client: Ledger::default() };
        Self {
            live: Mutex::default(),
            ended: Mutex::new(ended),
            accepted: AtomicU64::new(0),
            peak: AtomicUsize::new(0),
            untold: AtomicUsize::new(0),
            empty: Notify::new(),
        }
    }

    /// Enters a client that was just accepted.
    pub(crate) fn enter(&self, client: SideNames) -> Arc<Shared> {
        let id = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let shared = Arc::new(Shared {
            id,
            client: Box::new(client),
            upstream: OnceLock::new(),
            to_upstream: Meter::default(),
            to_client: Meter::default(),
            control: Control::default(),
            outcome: OnceLock::new(),
            told: AtomicBool::new(false),
            inboxes: OnceLock::new(),
        });
        let mut live = held(&self.live);
        live.insert(id, Arc::clone(&shared));
        self.peak.fetch_max(live.len(), Ordering::Relaxed);
        drop(live);
        shared
    }

    /// Records the end. The first outcome wins; the ledger is balanced by it.
    pub(crate) fn leave(&self, shared: &Shared, outcome: Outcome) {
        for direction in [Direction::ToUpstream, Direction::ToClient] {
            shared.end_inbox(direction);
            shared.meter(direction).balance();
        }
        // Ended before not live: a snapshot may never lack a connection, so it takes the locks in the same order.
        let mut ended = held(&self.ended);
        if shared.outcome.set(outcome).is_ok() {
            let reason = shared.outcome.get().map_or(CloseReason::InternalError, |outcome| outcome.reason);
            ended.by_reason[reason as usize] += 1;
            ended.to_upstream.add(shared.to_upstream.ledger());
            ended.to_client.add(shared.to_client.ledger());
        }
        let mut live = held(&self.live);
        live.remove(&shared.id);
        if live.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// One more connection whose end its hooks are to be told.
    pub(crate) fn to_be_told(&self) {
        self.untold.fetch_add(1, Ordering::AcqRel);
    }

    /// They were told, or cannot be.
    pub(crate) fn told(&self) {
        self.untold.fetch_sub(1, Ordering::AcqRel);
        self.empty.notify_waiters();
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        let mut found: Vec<Connection> = held(&self.live).values().cloned().map(Connection).collect();
        found.sort_by_key(Connection::id);
        found
    }

    /// Has every connection look around: what is wanted of it has changed.
    pub(crate) fn wake_all(&self) {
        for shared in held(&self.live).values() {
            shared.control.wake();
        }
    }

    /// Has every connection that may have bytes on their way look at whether they are acknowledged.
    pub(crate) fn look_all(&self) {
        for shared in held(&self.live).values() {
            let delivered = shared.to_upstream.ledger().delivered + shared.to_client.ledger().delivered;
            if shared.control.looks.ask(delivered) {
                shared.control.wake();
            }
        }
    }

    pub(crate) fn abort_all(&self) {
        for shared in held(&self.live).values() {
            shared.control.request(Command::Stop);
        }
    }

    /// How many connections live, and the most that did since this was last asked for.
    pub(crate) fn live_and_peak(&self) -> (usize, usize) {
        let live = held(&self.live).len();
        (live, self.peak.swap(live, Ordering::Relaxed))
    }

    /// Connections that live, and ends that were not told yet.
    pub(crate) fn left(&self) -> (usize, usize) {
        (held(&self.live).len(), self.untold.load(Ordering::Acquire))
    }

    /// Completes when no connection lives, and every hook was told of the ends.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if held(&self.live).is_empty() && self.untold.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Accepted, active, closed by reason, and the bytes of both directions.
    pub(crate) fn totals(&self) -> Totals {
        let ended = held(&self.ended);
        let live = held(&self.live);
        let (mut to_upstream, mut to_client) = (ended.to_upstream, ended.to_client);
        for shared in live.values() {
            to_upstream.add(shared.to_upstream.ledger());
            to_client.add(shared.to_client.ledger());
        }
        let closed = CloseReason::ALL.iter().map(|reason| (*reason, ended.by_reason[*reason as usize])).collect();
        Totals { accepted: self.accepted.load(Ordering::Relaxed), active: live.len(), closed, to_upstream, to_client }
    }
}
