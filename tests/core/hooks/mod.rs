//! Hooks: what they are asked, what their answers do, and that what they do stays with their own lane.
//!
//! `conformance` shows that hooks which change nothing are not noticed by the peers; this is about the others.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Verdict},
    live::{
        handle::{Connection, State},
        inbox::Patience,
    },
    settings::config::Config,
    words::{
        chunk::Chunk,
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
        stats::Ledger,
    },
};

use self::gate::{Gate, Opened};
use crate::support::{
    peers::{DEADLINE, Peer, until},
    running::{Running, to},
    upstreams::Upstream,
};

mod accepting;
mod blocking;
mod chunk_buffers;
mod closing;
mod dialogue;
mod edits;
mod ending;
mod failing;
mod gate;
mod given;
mod injecting;
mod inspect_limit;
mod later;
mod leaving;
mod moving;
mod parting;
mod preread;
mod verdicts;

const BOTH: Interest = Interest::TO_UPSTREAM.with(Interest::TO_CLIENT);

const DIRECTIONS: [Direction; 2] = [ToUpstream, ToClient];

/// A call that hooks have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Accept,
    Connect,
    Recv(Direction, usize),
    Eof(Direction),
    Close { wanted: bool },
}

type Hook<T> = Box<dyn Fn(&Connection) -> Result<T, Failed> + Send + Sync>;
type OnRecv = Box<dyn Fn(&Connection, Direction, &[u8]) -> Result<Verdict, Failed> + Send + Sync>;
type OnEof = Box<dyn Fn(&Connection, Direction) -> Result<EndVerdict, Failed> + Send + Sync>;
type OnClose = Box<dyn Fn(&Connection) + Send + Sync>;

/// Hooks made of closures. Those that a test does not give let everything pass. Every call is written down.
struct Script {
    accept: Hook<Decision>,
    connect: Hook<()>,
    recv: OnRecv,
    eof: OnEof,
    close: OnClose,
    journal: Mutex<Journal>,
}

#[derive(Debug, Default)]
struct Journal {
    calls: Vec<(Connection, Call)>,
    /// Of which on_close was told.
    over: HashSet<u64>,
    /// Calls that must not have been made.
    wrong: Vec<String>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    fn new() -> Self {
        Self {
            accept: Box::new(|_| Ok(Decision::Default)),
            connect: Box::new(|_| Ok(())),
            recv: Box::new(|_, _, _| Ok(Verdict::Pass)),
            eof: Box::new(|_, _| Ok(EndVerdict::Pass(Vec::new()))),
            close: Box::new(|_| {}),
            journal: Mutex::default(),
        }
    }

    fn accept(mut self, hook: impl Fn(&Connection) -> Result<Decision, Failed> + Send + Sync + 'static) -> Self {
        self.accept = Box::new(hook);
        self
    }

    fn connect(mut self, hook: impl Fn(&Connection) -> Result<(), Failed> + Send + Sync + 'static) -> Self {
        self.connect = Box::new(hook);
        self
    }

    fn recv(mut self, hook: impl Fn(&Connection, Direction, &[u8]) -> Result<Verdict, Failed> + Send + Sync + 'static) -> Self {
        self.recv = Box::new(hook);
        self
    }

    fn eof(mut self, hook: impl Fn(&Connection, Direction) -> Result<EndVerdict, Failed> + Send + Sync + 'static) -> Self {
        self.eof = Box::new(hook);
        self
    }

    fn close(mut self, hook: impl Fn(&Connection) + Send + Sync + 'static) -> Self {
        self.close = Box::new(hook);
        self
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a call down. What it gives notices when the hook's own checks fail: its thread is not the test's.
    fn note(&self, connection: &Connection, call: Call) -> Noted<'_> {
        let mut journal = self.journal();
        let (id, state) = (connection.id(), connection.state());
        if thread::current().name() != Some("lane") {
            journal.wrong.push(format!("{id}: {call:?} was not made on a lane"));
        }
        // One that is asked from off its lane may have been given up meanwhile.
        let asked = matches!(call, Call::Accept | Call::Connect);
        if !asked && matches!(call, Call::Close { .. }) != (state == State::Closed) {
            journal.wrong.push(format!("{id}: {call:?} while it was {state:?}"));
        }
        if journal.over.contains(&id) {
            journal.wrong.push(format!("{id}: {call:?} after on_close"));
        }
        if matches!(call, Call::Close { .. }) {
            journal.over.insert(id);
        }
        journal.calls.push((connection.clone(), call));
        Noted(self, call)
    }

    /// The calls about one connection, in order.
    fn calls(&self, connection: &Connection) -> Vec<Call> {
        self.journal().calls.iter().filter(|(of, _)| of == connection).map(|(_, call)| *call).collect()
    }

    /// A connection that the hooks have heard of, be it over.
    fn known(&self, id: u64) -> Option<Connection> {
        self.journal().calls.iter().find(|(of, _)| of.id() == id).map(|(of, _)| of.clone())
    }

    /// How often, over all connections, a call of this kind was made.
    fn count(&self, kind: impl Fn(&Call) -> bool) -> usize {
        self.journal().calls.iter().filter(|(_, call)| kind(call)).count()
    }

    fn closes(&self) -> usize {
        self.count(|call| matches!(call, Call::Close { .. }))
    }

    /// The sizes of the chunks that were shown of one direction.
    fn chunks(&self, connection: &Connection, direction: Direction) -> Vec<usize> {
        let size = |call: &Call| match call {
            Call::Recv(of, size) if *of == direction => Some(*size),
            _ => None,
        };
        self.calls(connection).iter().filter_map(size).collect()
    }

    /// Waits for this call.
    fn wait_for(&self, connection: &Connection, call: Call) {
        until(&format!("{call:?} was called"), || self.calls(connection).contains(&call));
    }
}

/// Kept while a hook runs.
struct Noted<'a>(&'a Script, Call);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.journal().wrong.push(format!("{:?}: the hook found something wrong", self.1));
        }
    }
}

impl Hooks for Script {
    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        let _noted = self.note(connection, Call::Accept);
        (self.accept)(connection).map(Answer::Now)
    }

    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed> {
        let _noted = self.note(connection, Call::Connect);
        (self.connect)(connection).map(Answer::Now)
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        let _noted = self.note(connection, Call::Recv(direction, chunk.len()));
        (self.recv)(connection, direction, chunk).map(Answer::Now)
    }

    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed> {
        let _noted = self.note(connection, Call::Eof(direction));
        (self.eof)(connection, direction).map(Answer::Now)
    }

    fn on_close(&self, connection: &Connection, wanted: bool) {
        let _noted = self.note(connection, Call::Close { wanted });
        (self.close)(connection);
    }
}

/// An answer that is none.
fn fails<T>() -> Result<T, Failed> {
    Err(Failed { reason: CloseReason::CallbackError, error: "the hook broke".to_owned() })
}

/// A server with scripted hooks and an upstream behind it.
struct Site {
    running: Running,
    upstream: Upstream,
    script: Arc<Script>,
}

/// A client, its upstream, and the connection between them.
struct Pair {
    client: Peer,
    upstream: Peer,
    connection: Connection,
}

impl Site {
    fn start(script: Script, interest: Interest) -> Self {
        Self::with(script, interest, 1, |_| {})
    }

    fn with(script: Script, interest: Interest, lanes: usize, change: impl FnOnce(&mut Config)) -> Self {
        let upstream = Upstream::new();
        let script = Arc::new(script);
        let mut config = to(upstream.address());
        change(&mut config);
        let running = Running::bind_hooked(config, script.clone(), interest, lanes);
        running.server.start(&running.io.workers).unwrap();
        Self { running, upstream, script }
    }

    fn client(&self) -> (Peer, Connection) {
        let client = Peer::connect(self.running.address());
        let connection = self.running.connection_of(client.name());
        (client, connection)
    }

    fn pair(&self) -> Pair {
        let (client, connection) = self.client();
        self.pair_of(client, connection)
    }

    /// The same, with clamped kernel buffers at both peers.
    fn small_pair(&self, buffers: usize) -> Pair {
        let client = Peer::connect_with(self.running.address(), Some(buffers));
        let connection = self.running.connection_of(client.name());
        let pair = self.pair_of(client, connection);
        crate::support::peers::clamp(&pair.upstream.socket(), Some(buffers));
        pair
    }

    fn pair_of(&self, client: Peer, connection: Connection) -> Pair {
        let upstream = self.upstream.accept();
        until("the connection is open", || connection.state() == State::Open);
        Pair { client, upstream, connection }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.running.server.stop(Duration::ZERO);
        let closed = self.running.server.wait(Some(DEADLINE));
        let journal = self.script.journal();
        let untold = journal.calls.iter().find(|(of, _)| !journal.over.contains(&of.id()));
        let well = closed && journal.wrong.is_empty() && untold.is_none();
        assert!(thread::panicking() || well, "{:?}, and of no end after {untold:?}", journal.wrong);
    }
}

impl Pair {
    /// (who sends, who receives) in a direction.
    fn ends(&mut self, direction: Direction) -> (&mut Peer, &mut Peer) {
        match direction {
            ToUpstream => (&mut self.client, &mut self.upstream),
            ToClient => (&mut self.upstream, &mut self.client),
        }
    }

    /// Sends `bytes` in a direction, and expects `arrives` at its end.
    fn pass(&mut self, direction: Direction, bytes: &[u8], arrives: &[u8]) {
        let (source, destination) = self.ends(direction);
        source.send(bytes);
        assert_eq!(destination.receive_exactly(arrives.len()), arrives, "{direction:?}");
    }
}

/// Injects as a hook does.
fn inject_on_lane(connection: &Connection, direction: Direction, data: impl Into<Bytes>) {
    connection.inject(direction, data.into(), Patience::OnLane).unwrap();
}

/// Injects as any other thread does.
fn inject(connection: &Connection, direction: Direction, data: impl Into<Bytes>) {
    connection.inject(direction, data.into(), Patience::Wait(Some(DEADLINE))).unwrap();
}

/// What a direction's ledger has: read, added, delivered, dropped, undeliverable.
fn figures(connection: &Connection, direction: Direction) -> [u64; 5] {
    let Ledger { read, added, delivered, dropped, undeliverable } = connection.ledger(direction);
    [read, added, delivered, dropped, undeliverable]
}

/// Whether nothing has come: no byte, no end.
fn is_silent(peer: &Peer) -> bool {
    let socket = peer.socket();
    socket.set_nonblocking(true).unwrap();
    let nothing = socket.peek(&mut [std::mem::MaybeUninit::uninit()]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
    nothing
}
