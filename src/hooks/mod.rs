//! The contract between a connection and the hooks that see and change it: each call, its time, and its answers.

mod answer;
pub(crate) mod connection_hooks;

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;

pub use self::answer::{Answer, Answered, Reply, Ticket};
pub use crate::words::outcome::Failed;
use crate::{
    inspect::{Stages, framing::Framed},
    live::handle::Connection,
    settings::{config::Relay, forward::Forward},
    threads::lane::Lanes,
    tls::terminate::Tls,
    wire::hello::ClientHello,
    words::{
        chunk::{Chunk, ChunkBuffer},
        direction::{Both, Direction},
        interest::{AtomicInterest, Interest},
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

/// The way of a client that speaks TLS: the answer of [`Hooks::on_client_hello`].
#[derive(Debug)]
pub enum HelloDecision {
    /// As the server is set up: to its target, and with its TLS.
    Default,
    /// Undecrypted, byte for byte, to the server's own target.
    Pass,
    /// To this forward, and with the server's TLS, if it has some.
    Forward(Forward),
    /// To the server's own target, and with this TLS.
    Terminate(Arc<Tls>),
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

    /// Returns the framers of a connection, if it has some: called once, when a hook is first wanted for the bytes of a
    /// direction. A direction that no hook sees is not framed, and one whose bytes have begun to pass before is not framed
    /// any more: where a message begins in it is not known.
    fn framing(&self, connection: &Connection) -> Option<Framed> {
        let _ = connection;
        None
    }

    /// Returns true if the framers may be called on any thread, and so frame for filters as well.
    fn frames_anywhere(&self) -> bool {
        true
    }

    /// Called when a client has sent the first message of TLS, before it is decrypted and before every other hook. For
    /// listeners whose clients all speak TLS: others are refused, unless the server takes them plain.
    fn on_client_hello(&self, connection: &Connection, hello: &Arc<ClientHello>) -> Result<Answer<HelloDecision>, Failed> {
        let _ = (connection, hello);
        Ok(Answer::Now(HelloDecision::Default))
    }

    /// Called when a client was accepted. Nothing was read from it, and nothing is connected yet.
    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed>;

    /// Called when the client has sent bytes and `on_accept`, if there is one, has left the decision open: with all bytes so
    /// far, again when more have come, until the answer is a decision. The bytes are relayed then.
    fn on_preread(&self, connection: &Connection, data: &Bytes) -> Result<Answer<Option<Decision>>, Failed> {
        let _ = (connection, data);
        Ok(Answer::Now(Some(Decision::Default)))
    }

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
    fn chunk_buffer(&self, size: usize) -> Option<Arc<dyn ChunkBuffer>> {
        let _ = size;
        None
    }

    /// Returns a buffer to the hooks, unused or after its chunk was handled.
    fn give_back(&self, buffer: Arc<dyn ChunkBuffer>) {
        drop(buffer);
    }

    /// Returns the time, to bound a turn by. Hooks that read the clock after each call return what they read then.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Called when a relay on the lane lets others run.
    fn turn_over(&self) {}

    /// Counts an answer that cannot be carried out, as a call that has failed.
    fn count_error(&self) {}

    /// Returns the number of calls that have failed.
    fn errors(&self) -> u64 {
        0
    }

    /// Returns the number of answers that did not come within their time limit.
    fn timeouts(&self) -> u64 {
        0
    }
}

/// The hooks of a server, and the lanes on which they run.
#[derive(Debug)]
pub(crate) struct ServerHooks {
    pub hooks: Arc<dyn Hooks>,
    pub lanes: Arc<Lanes>,
    /// Maximum bytes of one chunk.
    pub chunk: usize,
    /// The number of bytes of each direction that are shown. None where each socket is carried alone: without its hooks such a
    /// socket's bytes would go nowhere.
    pub inspect_limit: Option<usize>,
    /// True if each socket is carried alone.
    pub apart: bool,
    interest: AtomicInterest,
}

impl ServerHooks {
    pub(crate) fn new(hooks: Arc<dyn Hooks>, lanes: Arc<Lanes>, relay: &Relay) -> Self {
        let apart = hooks.apart();
        let inspect_limit = relay.inspect_limit.filter(|_| !apart);
        Self { hooks, lanes, chunk: relay.chunk, inspect_limit, apart, interest: AtomicInterest::default() }
    }

    pub(crate) fn interest(&self) -> Interest {
        self.interest.load()
    }

    pub(crate) fn set_interest(&self, interest: Interest) {
        self.interest.store(interest);
    }
}
