//! The seam between a connection and whoever wants to see and change it: what is asked, when, and the answers.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;

pub use crate::words::outcome::Failed;
use crate::{
    live::handle::Connection,
    settings::forward::Forward,
    threads::lane::{LaneHandle, Lanes, Place},
    words::{
        chunk::{Chunk, Room},
        direction::Direction,
        interest::{AtomicInterest, Interest},
        outcome::CloseReason,
    },
};

/// Where a client goes: the answer of [`Hooks::on_accept`].
#[derive(Debug)]
pub enum Decision {
    /// To the server's own forward.
    Default,
    /// To this one.
    Forward(Forward),
    /// To an upstream that is connected already.
    Connected(socket2::Socket),
    /// Nowhere: there is no upstream, and the hooks answer.
    Nowhere,
    /// The client is refused.
    Refuse,
}

/// What becomes of a chunk: the answer of [`Hooks::on_recv`].
#[derive(Debug)]
pub enum Verdict {
    /// It goes on as it came.
    Pass,
    /// It goes no further.
    Drop,
    /// These go on in its place, in this order.
    Replace(Vec<Bytes>),
}

/// What becomes of an end of stream: the answer of [`Hooks::on_eof`].
#[derive(Debug)]
pub enum EndVerdict {
    /// It is passed on, after these.
    Pass(Vec<Bytes>),
    /// It is withheld: the direction stays open for what is injected, until it is ended from outside.
    Withhold,
}

/// Somebody who sees and changes what flows. Every call is made on the connection's lane, one at a time.
pub trait Hooks: Send + Sync + fmt::Debug {
    /// A client was accepted. Nothing was read from it, and nothing is connected yet.
    fn on_accept(&self, connection: &Connection) -> Result<Decision, Failed>;

    /// The upstream is connected. Nothing was read from either side yet.
    fn on_connect(&self, connection: &Connection) -> Result<(), Failed>;

    /// Returns true if each socket is carried alone: bytes of a client's reach an upstream only through the hooks.
    fn apart(&self) -> bool {
        false
    }

    /// The upstream is connected, and is a connection of its own, which is not read yet. For hooks that have each socket
    /// carried alone.
    fn on_connect_apart(&self, connection: &Connection, upstream: &Connection) -> Result<(), Failed> {
        let _ = upstream;
        self.on_connect(connection)
    }

    /// A chunk was read. Its borders mean nothing; each byte comes once and in order.
    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Verdict, Failed>;

    /// The sending side of a direction has ended it in order, and `on_recv` has seen all of it.
    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<EndVerdict, Failed>;

    /// The connection is over. Called once, after every other, whatever was of interest: it is the time to forget it.
    fn on_close(&self, connection: &Connection, wanted: bool);

    /// Memory of the hooks' own for the next chunk, which is likely to have `size` bytes: then it is read there.
    fn room(&self, size: usize) -> Option<Arc<dyn Room>> {
        let _ = size;
        None
    }

    /// A room that is not needed, or whose chunk has passed.
    fn leave(&self, room: Arc<dyn Room>) {
        drop(room);
    }

    /// Returns the time, to bound a turn by. Hooks that read the clock after each call return what they read then.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// A relay that runs on the lane gives others their turn.
    fn turn_over(&self) {}

    /// How many calls have failed.
    fn errors(&self) -> u64 {
        0
    }
}

/// The hooks of a server and the lanes they run on.
#[derive(Debug)]
pub(crate) struct Hooked {
    pub hooks: Arc<dyn Hooks>,
    lanes: Arc<Lanes>,
    /// The most that one chunk has.
    pub chunk: usize,
    /// Each socket is carried alone.
    pub apart: bool,
    interest: AtomicInterest,
}

impl Hooked {
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

/// One connection's share in the hooks: which they are, and the lane it stays with.
#[derive(Debug)]
pub(crate) struct Attendant {
    pub hooked: Arc<Hooked>,
    pub connection: Connection,
    /// Taken when the first hook is wanted. Boxed: a connection without hooks has nothing of it.
    place: OnceLock<Box<Place>>,
}

impl Attendant {
    pub(crate) fn new(hooked: &Arc<Hooked>, connection: Connection) -> Self {
        Self { hooked: Arc::clone(hooked), connection, place: OnceLock::new() }
    }

    /// The lane that the connection stays with, from the first call on; none while the server has none.
    #[inline]
    pub(crate) fn lane(&self) -> Option<&LaneHandle> {
        self.place.get().map(Box::as_ref).or_else(|| self.take_place()).map(|place| &place.lane)
    }

    #[cold]
    fn take_place(&self) -> Option<&Place> {
        if let Some(place) = self.hooked.lanes.place() {
            let _ = self.place.set(Box::new(place));
        }
        self.place.get().map(Box::as_ref)
    }

    /// What is wanted of this connection now.
    pub(crate) fn interest(&self) -> Interest {
        let wanted = self.hooked.interest().without(self.connection.passed_through());
        // Without a lane nobody can be asked.
        if wanted == Interest::NONE || self.lane().is_some() { wanted } else { Interest::NONE }
    }

    /// Has `question` asked on the lane and waits for the answer; here and now if this is the lane.
    pub(crate) async fn ask<T, F>(&self, on_lane: bool, question: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<T, Failed> + Send + 'static,
    {
        if on_lane {
            return question(&*self.hooked.hooks, &self.connection);
        }
        let gone = Failed { reason: CloseReason::Stopped, error: "the lane has ended".to_owned() };
        let Some(lane) = self.lane() else { return Err(gone) };
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (hooks, connection) = (Arc::clone(&self.hooked.hooks), self.connection.clone());
        lane.spawn(async move {
            let _ = answer.send(question(&*hooks, &connection));
        });
        answered.await.unwrap_or(Err(gone))
    }
}
