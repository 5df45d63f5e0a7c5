//! The limit of bytes that hooks are shown: what is shown, and the switch to a native relay behind it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Verdict},
    inspect::framing::Framed,
    live::handle::{Connection, State},
    settings::config::{Coalesce, Config, Splice},
    words::{
        chunk::Chunk,
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, DIRECTIONS, Pair};
use crate::{
    conformance::{
        watching::{Later, Watching},
        whole,
    },
    support::{
        pattern::{Pattern, Prng},
        peers::{End, Peer, until},
        running::{Running, loopback, to, wait_end},
        upstreams::{Echo, Upstream},
    },
};

/// The number of bytes that one read takes at most in these tests.
const CHUNK: usize = 4096;

/// The sizes of the chunks that were shown of a connection, by direction.
type Shown = [Vec<usize>; 2];

/// Hooks that answer as others do, and write down what they are shown.
#[derive(Debug)]
struct Noting {
    answers: Box<dyn Hooks>,
    shown: Mutex<HashMap<u64, Shown>>,
}

impl Noting {
    fn shown(&self, connection: &Connection) -> Shown {
        self.shown.lock().unwrap().get(&connection.id()).cloned().unwrap_or_default()
    }
}

impl Hooks for Noting {
    fn framing(&self, connection: &Connection) -> Option<Framed> {
        self.answers.framing(connection)
    }

    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        self.answers.on_accept(connection)
    }

    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed> {
        self.answers.on_connect(connection)
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        self.shown.lock().unwrap().entry(connection.id()).or_default()[direction as usize].push(chunk.len());
        self.answers.on_recv(connection, direction, chunk)
    }

    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed> {
        self.answers.on_eof(connection, direction)
    }

    fn on_close(&self, connection: &Connection, wanted: bool) {
        self.answers.on_close(connection, wanted);
    }
}

/// Where and when hooks answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OnLane,
    Later,
    /// As the first, behind a decision by the first bytes.
    Preread,
    /// As the first, about messages of 511 bytes at most.
    Framed,
    FramedLater,
}

const KINDS: [Kind; 5] = [Kind::OnLane, Kind::Later, Kind::Preread, Kind::Framed, Kind::FramedLater];

/// Starts a server with hooks of this kind that are shown `limit` bytes of each direction.
fn start(kind: Kind, limit: usize, mut config: Config) -> (Arc<Noting>, Running) {
    config.relay.inspect_limit = Some(limit);
    config.relay.chunk = CHUNK;
    let answers: Box<dyn Hooks> = match kind {
        Kind::Later => Box::new(Later::default()),
        Kind::FramedLater => Box::new(Later::framed()),
        Kind::Framed => Box::new(Watching { framed: true, ..Watching::default() }),
        Kind::OnLane | Kind::Preread => Box::new(Watching::default()),
    };
    let hooks = Arc::new(Noting { answers, shown: Mutex::default() });
    let interest = match kind {
        Kind::OnLane | Kind::Framed => BOTH,
        Kind::Later | Kind::FramedLater => BOTH.on_any_thread(),
        Kind::Preread => BOTH.with(Interest::PREREAD),
    };
    (hooks.clone(), Running::start_hooked(config, hooks, interest))
}

#[test]
fn the_chunk_in_which_the_limit_is_reached_is_shown_whole_and_none_behind_it() {
    for kind in KINDS {
        let upstream = Upstream::new();
        let (hooks, running) = start(kind, 10, to(upstream.address()));
        let mut client = Peer::connect(running.address());
        let connection = running.connection_of(client.name());
        client.send(b"seven b");
        let upstream = upstream.accept();
        until("the connection is open", || connection.state() == State::Open);
        let mut pair = Pair { client, upstream, connection };
        assert_eq!(pair.upstream.receive_exactly(7), b"seven b");
        pair.pass(ToClient, b"ten bytes.", b"ten bytes.");
        pair.pass(ToClient, b"not shown", b"not shown");
        pair.pass(ToUpstream, b"the last one", b"the last one");
        pair.pass(ToUpstream, b"not shown", b"not shown");
        assert_eq!(hooks.shown(&pair.connection), [vec![7, 12], vec![10]], "{kind:?}");
        pair.client.half_close();
        pair.upstream.expect(End::Eof);
        pair.upstream.half_close();
        assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
        assert_eq!(pair.connection.ledger(ToUpstream), whole(28));
    }
}

#[test]
fn a_limit_of_nothing_is_refused() {
    let mut config = Config::new(loopback(), None);
    config.relay.inspect_limit = Some(0);
    let error = config_error(config);
    assert!(error.starts_with("inspect_limit: "), "{error}");
}

fn config_error(config: Config) -> String {
    interpose::server::Server::bind(config).unwrap_err().to_string()
}

/// Sends `length` bytes through an echo and checks what comes back, with the end behind it.
fn echo(mut client: Peer, seed: u64, length: u64) {
    let mut prng = Prng::new(seed);
    let mut sender = client.try_clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            sender.send_pattern(&mut Pattern::new(seed), length, || prng.size(20_000));
            sender.half_close();
        });
        assert_eq!(client.receive_to_end(&mut Pattern::new(seed)), (length, End::Eof));
    });
}

/// 10,000 directions switch in the midst of their streams, while others do.
#[test]
fn no_byte_is_lost_doubled_or_reordered_at_the_switch() {
    const CLIENTS: u64 = 8;
    const ROUNDS: u64 = 42;
    let limits = [1, 5000, 30_000];
    let upstream = Echo::start();
    let (switches, seed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for (kind, limit) in KINDS.into_iter().flat_map(|kind| limits.map(|limit| (kind, limit))) {
        let mut config = to(upstream.address());
        (config.relay.splice, config.relay.coalesce) = (Splice::Always, Coalesce::Never);
        let (hooks, running) = start(kind, limit, config);
        let converse = || {
            for _ in 0..ROUNDS {
                let seed = seed.fetch_add(1, Relaxed) as u64;
                let length = limit as u64 + 4 * CHUNK as u64 + Prng::new(seed).size(60_000) as u64;
                let client = Peer::connect(running.address());
                let connection = running.connection_of(client.name());
                echo(client, seed, length);
                assert_eq!(wait_end(&connection), CloseReason::Finished);
                let shown = hooks.shown(&connection);
                for (direction, chunks) in DIRECTIONS.into_iter().zip(shown) {
                    assert_eq!(connection.ledger(direction), whole(length));
                    let (last, total) = (chunks[chunks.len() - 1], chunks.iter().sum::<usize>());
                    assert!(total >= limit && total - last < limit, "{chunks:?}, {limit}, {kind:?}");
                    switches.fetch_add(1, Relaxed);
                }
            }
        };
        thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(converse))));
    }
    assert!(switches.into_inner() >= 10_000);
}
