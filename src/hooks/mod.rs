//! The seam between a connection and whoever wants to see and change it: what is asked, when, and the answers.

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

/// Where hooks are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedOn {
    /// On the connection's lane. A connection of which hooks want to see bytes runs there.
    Lane,
    /// On the thread that the connection runs on. Hooks that may not block, and answer later what takes time.
    AnyThread,
}

/// Somebody who sees and changes what flows. Calls about one connection are made one at a time, where [`place`](Self::place)
/// says.
pub trait Hooks: Send + Sync + fmt::Debug {
    /// Returns where the hooks are asked. Asked once.
    fn place(&self) -> AskedOn {
        AskedOn::Lane
    }

    /// Returns the stages of a connection that begins to flow, where it has some. They run wherever it runs.
    fn stages(&self, connection: &Connection) -> Option<Both<Stages>> {
        let _ = connection;
        None
    }

    /// A client was accepted. Nothing was read from it, and nothing is connected yet.
    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed>;

    /// The upstream is connected. Nothing was read from either side yet.
    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed>;

    /// Returns true if each socket is carried alone: bytes of a client's reach an upstream only through the hooks.
    fn apart(&self) -> bool {
        false
    }

    /// The upstream is connected, and is a connection of its own, which is not read yet. For hooks that have each socket
    /// carried alone.
    fn on_connect_apart(&self, connection: &Connection, upstream: &Connection) -> Result<Answer<()>, Failed> {
        let _ = upstream;
        self.on_connect(connection)
    }

    /// A chunk was read. Its borders mean nothing; each byte comes once and in order.
    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed>;

    /// The sending side of a direction has ended it in order, and `on_recv` has seen all of it.
    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed>;

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
    on_lane: bool,
    interest: AtomicInterest,
}

impl Hooked {
    pub(crate) fn new(hooks: Arc<dyn Hooks>, lanes: Arc<Lanes>, chunk: usize) -> Self {
        let (apart, on_lane) = (hooks.apart(), hooks.place() == AskedOn::Lane);
        Self { hooks, lanes, chunk, apart, on_lane, interest: AtomicInterest::default() }
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

    /// Returns true if the hooks are asked on a lane.
    pub(crate) fn is_on_lane(&self) -> bool {
        self.hooked.on_lane
    }

    /// Returns true if there is a thread on which the hooks can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.is_on_lane() || self.lane().is_some()
    }

    /// Returns the lane that the connection stays with, from the first call on; none while the server has none, or if its
    /// hooks need none.
    #[inline]
    pub(crate) fn lane(&self) -> Option<&LaneHandle> {
        self.place.get().map(Box::as_ref).or_else(|| self.take_place()).map(|place| &place.lane)
    }

    #[cold]
    fn take_place(&self) -> Option<&Place> {
        if self.is_on_lane()
            && let Some(place) = self.hooked.lanes.place()
        {
            let _ = self.place.set(Box::new(place));
        }
        self.place.get().map(Box::as_ref)
    }

    /// What is wanted of this connection now.
    pub(crate) fn interest(&self) -> Interest {
        let wanted = self.hooked.interest().without(self.connection.passed_through());
        // Without a lane nobody can be asked.
        if wanted == Interest::NONE || self.can_ask() { wanted } else { Interest::NONE }
    }

    /// Asks `question` on the lane, or here where that is the place, and waits for the answer. The caller has the task woken
    /// by the connection's control: an answer that comes later wakes that.
    pub(crate) async fn ask<T, F>(&self, on_lane: bool, question: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<Answer<T>, Failed> + Send + 'static,
    {
        self.ask_then(on_lane, question, |answer, _| answer).await
    }

    /// Asks as [`ask`](Self::ask) does, and makes of the answer what `then` does: before another question is asked on that
    /// thread, if the answer is there at once.
    pub(crate) async fn ask_then<T, U, F, G>(&self, on_lane: bool, question: F, then: G) -> Result<U, Failed>
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
        match self.ask_first(on_lane, question).await? {
            (_, Some((ticket, then))) => Ok(then(poll_fn(|_| ticket.poll_take()).await?, &self.connection)),
            (answer, None) => answer.ok_or_else(lane_ended),
        }
    }

    async fn ask_first<T, F>(&self, on_lane: bool, question: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<T, Failed> + Send + 'static,
    {
        if on_lane || !self.is_on_lane() {
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
