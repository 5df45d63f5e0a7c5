//! The contract between a connection and the hooks that see and change it: each call, its time, and its answers.

mod answer;

use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;

pub use self::answer::{Answer, Reply, Ticket};
pub use crate::words::outcome::Failed;
use crate::{
    inspect::Stages,
    live::handle::Connection,
    settings::forward::Forward,
    threads::lane::{LaneHandle, Lanes, Place},
    words::{
        chunk::{Chunk, Room},
        direction::{Both, Direction},
        interest::{AtomicInterest, Interest},
        outcome::CloseReason,
    },
};

/// The destination of a client: the answer of [`Hooks::on_accept`].
#[derive(Debug)]
pub enum Decision {
    /// To the server's own forward.
    Default,
    /// To this forward.
    Forward(Forward),
    /// To an upstream that is connected already.
    Connected(socket2::Socket),
    /// Nowhere: there is no upstream, and the hooks answer.
    Nowhere,
    /// The client is refused.
    Refuse,
}

/// The fate of a chunk: the answer of [`Hooks::on_recv`].
#[derive(Debug)]
pub enum Verdict {
    /// The chunk goes on unchanged.
    Pass,
    /// The chunk goes no further.
    Drop,
    /// These bytes go on in place of the chunk, in this order.
    Replace(Vec<Bytes>),
}

/// The fate of an end of stream: the answer of [`Hooks::on_eof`].
#[derive(Debug)]
pub enum EndVerdict {
    /// The end is passed on, after these bytes.
    Pass(Vec<Bytes>),
    /// The end is withheld: the direction stays open for injected bytes, until it is ended from outside.
    Withhold,
}

/// The part of a connection's end that waits for `on_close`: dropped once that has ended.
pub type Closing = Box<dyn Send>;

/// Hooks that see and change the bytes of connections. Calls about one connection are made one at a time, each on the thread
/// that the server's [`Interest`] names: a connection whose bytes are shown on a lane runs there.
pub trait Hooks: Send + Sync + fmt::Debug {
    /// Returns the stages of a connection whose relay begins, if it has some. They run on the connection's thread.
    fn stages(&self, connection: &Connection) -> Option<Both<Stages>> {
        let _ = connection;
        None
    }

    /// Called when a client was accepted. Nothing was read from it, and nothing is connected yet.
    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed>;

    /// Called when the upstream is connected. Nothing was read from either side yet.
    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed>;

    /// Returns true if each socket is carried alone: bytes of a client's reach an upstream only through the hooks.
    fn apart(&self) -> bool {
        false
    }

    /// Called when the upstream is connected, and is a connection of its own, which is not read yet. For hooks that have each
    /// socket carried alone.
    fn on_connect_apart(&self, connection: &Connection, upstream: &Connection) -> Result<Answer<()>, Failed> {
        let _ = upstream;
        self.on_connect(connection)
    }

    /// Called when a chunk was read. Its boundaries have no meaning; each byte comes once and in order.
    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed>;

    /// Called when the sending side of a direction has ended it in order, after `on_recv` has seen all of its bytes.
    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed>;

    /// Called when the connection has ended: once, after every other call, whatever hooks were wanted. Afterwards nothing
    /// refers to the connection.
    fn on_close(&self, connection: &Connection, wanted: bool);

    /// Calls [`on_close`](Self::on_close), and drops `closing` once that has ended: a server that stops waits for it.
    fn close(&self, connection: &Connection, wanted: bool, closing: Closing) {
        self.on_close(connection, wanted);
        drop(closing);
    }

    /// Returns memory of the hooks for the next chunk, which is likely to have `size` bytes: then it is read there.
    fn room(&self, size: usize) -> Option<Arc<dyn Room>> {
        let _ = size;
        None
    }

    /// Returns a room to the hooks, unused or after its chunk was handled.
    fn leave(&self, room: Arc<dyn Room>) {
        drop(room);
    }

    /// Returns the time, to bound a turn by. Hooks that read the clock after each call return what they read then.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Called when a relay on the lane lets others run.
    fn turn_over(&self) {}

    /// Returns the number of calls that have failed.
    fn errors(&self) -> u64 {
        0
    }
}

/// The hooks of a server, and the lanes on which they run.
#[derive(Debug)]
pub(crate) struct ServerHooks {
    pub hooks: Arc<dyn Hooks>,
    lanes: Arc<Lanes>,
    /// Maximum bytes of one chunk.
    pub chunk: usize,
    /// True if each socket is carried alone.
    pub apart: bool,
    interest: AtomicInterest,
}

impl ServerHooks {
    pub(crate) fn new(hooks: Arc<dyn Hooks>, lanes: Arc<Lanes>, chunk: usize) -> Self {
        let apart = hooks.apart();
        Self { hooks, lanes, chunk, apart, interest: AtomicInterest::default() }
    }

    pub(crate) fn interest(&self) -> Interest {
        self.interest.load()
    }

    pub(crate) fn set_interest(&self, interest: Interest) {
        self.interest.store(interest);
    }
}

/// The hooks of one connection, and the lane with which it stays.
#[derive(Debug)]
pub(crate) struct Attendant {
    pub hooked: Arc<ServerHooks>,
    pub connection: Connection,
    /// Taken when the first hook is wanted. Boxed: a connection without hooks needs only the pointer.
    place: OnceLock<Box<Place>>,
}

impl Attendant {
    pub(crate) fn new(hooked: &Arc<ServerHooks>, connection: Connection) -> Self {
        Self { hooked: Arc::clone(hooked), connection, place: OnceLock::new() }
    }

    /// Returns the lane that the connection stays with, from the first call on; none while the server has none.
    #[inline]
    pub(crate) fn lane(&self) -> Option<&LaneHandle> {
        self.known_lane().or_else(|| self.take_place())
    }

    /// Returns the lane that the connection has a place on.
    pub(crate) fn known_lane(&self) -> Option<&LaneHandle> {
        self.place.get().map(|place| &place.lane)
    }

    #[cold]
    fn take_place(&self) -> Option<&LaneHandle> {
        if let Some(place) = self.hooked.lanes.place() {
            let _ = self.place.set(Box::new(place));
        }
        self.known_lane()
    }

    /// Returns the hooks that are wanted of this connection now.
    pub(crate) fn interest(&self) -> Interest {
        let wanted = self.hooked.interest().without(self.connection.passed_through());
        let on_lane = wanted.on_lane();
        // Without a lane none of these can be called.
        if on_lane == Interest::NONE || self.lane().is_some() { wanted } else { wanted.without(on_lane) }
    }

    /// Returns true if a relay on this thread calls hooks: one on the lane, or one whose hooks need none.
    pub(crate) fn calls_here(&self, on_lane: bool) -> bool {
        let calls = || {
            let wanted = self.interest();
            wanted.has(Interest::RELAYED) && !wanted.needs_lane()
        };
        on_lane || calls()
    }

    /// Calls `hook` by `question`, on the lane if that is where it is called, and waits for the answer. `on_lane` is true if
    /// the calling thread is the lane. The caller registers the task with the connection's control: a later answer wakes that.
    pub(crate) async fn ask<T, F>(&self, hook: Interest, on_lane: bool, question: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<Answer<T>, Failed> + Send + 'static,
    {
        self.ask_then(hook, on_lane, question, |answer, _| answer).await
    }

    /// Calls a hook as [`ask`](Self::ask) does, and maps the answer with `then`: before another hook runs on that thread, if
    /// the answer is there at once.
    pub(crate) async fn ask_then<T, U, F, G>(&self, hook: Interest, on_lane: bool, question: F, then: G) -> Result<U, Failed>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<Answer<T>, Failed> + Send + 'static,
        G: FnOnce(T, &Connection) -> U + Send + 'static,
    {
        let question = move |hooks: &dyn Hooks, connection: &Connection| match question(hooks, connection)? {
            Answer::Now(answer) => Ok((Some(then(answer, connection)), None)),
            Answer::Later(ticket) => Ok((None, Some((ticket, then)))),
        };
        let wanted = self.interest();
        let elsewhere = wanted.on_lane().has(hook) || !wanted.has(hook) && self.known_lane().is_some();
        match self.ask_first(on_lane || !elsewhere, question).await? {
            (_, Some((ticket, then))) => Ok(then(poll_fn(|_| ticket.poll_take()).await?, &self.connection)),
            (answer, None) => answer.ok_or_else(lane_ended),
        }
    }

    async fn ask_first<T, F>(&self, here: bool, question: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<T, Failed> + Send + 'static,
    {
        if here {
            return question(&*self.hooked.hooks, &self.connection);
        }
        let Some(lane) = self.lane() else { return Err(lane_ended()) };
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (hooks, connection) = (Arc::clone(&self.hooked.hooks), self.connection.clone());
        lane.spawn(async move {
            let _ = answer.send(question(&*hooks, &connection));
        });
        answered.await.unwrap_or_else(|_| Err(lane_ended()))
    }
}

fn lane_ended() -> Failed {
    Failed { reason: CloseReason::Stopped, error: "the lane has ended".to_owned() }
}
