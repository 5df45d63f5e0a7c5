//! Hooks that answer later: in order, with backpressure, one direction apart from the other, and cancelled with the connection.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Reply, Ticket, Verdict},
    inspect::chain::Nothing,
    live::handle::{Connection, State},
    words::{
        chunk::Chunk,
        direction::{
            Both,
            Direction::{self, ToClient, ToUpstream},
        },
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, DIRECTIONS, Pair, is_silent};
use crate::support::{
    peers::{End, Peer, pass, spawn, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

/// The bytes asked about, and their answer.
type AskedChunk = (Vec<u8>, Reply<Verdict>);

type Late = fn() -> Result<Verdict, Failed>;

/// Hooks that answer when the test does. Questions wait here in the order in which they were asked.
#[derive(Debug)]
struct Asking {
    accept: Mutex<Vec<Reply<Decision>>>,
    /// Returns the answers to chunks that are 50 ms late.
    late: Mutex<Option<Late>>,
    chunks: Mutex<Both<Vec<AskedChunk>>>,
    ends: Mutex<Both<Vec<Reply<EndVerdict>>>>,
}

impl Asking {
    fn new() -> Arc<Self> {
        Arc::new(Self { late: Mutex::default(), accept: Mutex::default(), chunks: Mutex::default(), ends: Mutex::default() })
    }

    /// Waits for the next question about bytes.
    fn chunk(&self, direction: Direction) -> (Vec<u8>, Reply<Verdict>) {
        until("a chunk was asked about", || !self.chunks.lock().unwrap()[direction].is_empty());
        self.chunks.lock().unwrap()[direction].remove(0)
    }

    /// Waits for the next question about an end.
    fn end(&self, direction: Direction) -> Reply<EndVerdict> {
        until("an end was asked about", || !self.ends.lock().unwrap()[direction].is_empty());
        self.ends.lock().unwrap()[direction].remove(0)
    }

    fn accepted(&self) -> Reply<Decision> {
        until("a client was asked about", || !self.accept.lock().unwrap().is_empty());
        self.accept.lock().unwrap().remove(0)
    }
}

impl Hooks for Asking {
    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        let (ticket, reply) = Ticket::new(connection);
        self.accept.lock().unwrap().push(reply);
        Ok(Answer::Later(ticket))
    }

    fn on_connect(&self, _: &Connection) -> Result<Answer<()>, Failed> {
        Ok(().into())
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        let (ticket, reply) = Ticket::new(connection);
        self.chunks.lock().unwrap()[direction].push((chunk.to_vec(), reply));
        let late = *self.late.lock().unwrap();
        Ok(Answer::Later(match late {
            Some(late) => ticket.limited(Instant::now() + Duration::from_millis(50), late),
            None => ticket,
        }))
    }

    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed> {
        let (ticket, reply) = Ticket::new(connection);
        self.ends.lock().unwrap()[direction].push(reply);
        Ok(Answer::Later(ticket))
    }

    fn on_close(&self, _: &Connection, _: bool) {}
}

struct Site {
    hooks: Arc<Asking>,
    upstream: Upstream,
    running: Running,
}

impl Site {
    fn start(interest: Interest) -> Self {
        let (hooks, upstream) = (Asking::new(), Upstream::new());
        let running = Running::start_hooked(to(upstream.address()), hooks.clone(), interest);
        Self { hooks, upstream, running }
    }

    fn pair(&self) -> Pair {
        let client = Peer::connect(self.running.address());
        let connection = self.running.connection_of(client.name());
        let upstream = self.upstream.accept();
        until("the connection is open", || connection.state() == State::Open);
        Pair { client, upstream, connection }
    }
}

/// Returns the set of hooks as called on the lane, and as called on any thread.
fn places(interest: Interest) -> [Interest; 2] {
    [interest, interest.on_any_thread()]
}

#[test]
fn a_direction_whose_answer_is_out_is_not_read_and_the_other_goes_on() {
    for wanted in places(BOTH) {
        let site = Site::start(wanted);
        for direction in DIRECTIONS {
            let mut pair = site.pair();
            pair.ends(direction).0.send(b"first");
            let (asked, first) = site.hooks.chunk(direction);
            assert_eq!(asked, b"first");
            pair.ends(direction).0.send(b"second");
            // The other direction passes four chunks meanwhile.
            for _ in 0..4 {
                pair.ends(direction.opposite()).0.send(b"answer");
                let (_, reply) = site.hooks.chunk(direction.opposite());
                assert!(reply.complete(Ok(Verdict::Pass)));
                assert_eq!(pair.ends(direction.opposite()).1.receive_exactly(6), b"answer");
            }
            assert_eq!(pair.connection.ledger(direction).read, 5, "the rest is left to the kernel");
            assert!(site.hooks.chunks.lock().unwrap()[direction].is_empty() && is_silent(pair.ends(direction).1));
            assert!(first.complete(Ok(Verdict::Replace(vec![Bytes::from_static(b"1"), Bytes::from_static(b"st")]))));
            assert_eq!(pair.ends(direction).1.receive_exactly(3), b"1st");
            let (asked, second) = site.hooks.chunk(direction);
            assert_eq!(asked, b"second");
            assert!(second.complete(Ok(Verdict::Drop)));
            pair.ends(direction).0.send(b"third");
            let (_, third) = site.hooks.chunk(direction);
            assert!(third.complete(Ok(Verdict::Pass)));
            assert_eq!(pair.ends(direction).1.receive_exactly(5), b"third");
        }
    }
}

#[test]
fn an_end_waits_for_the_answers_before_it_and_for_its_own() {
    for wanted in places(BOTH.with(Interest::EOF)) {
        let site = Site::start(wanted);
        for direction in DIRECTIONS {
            let mut pair = site.pair();
            let (source, _) = pair.ends(direction);
            source.send(b"last");
            source.half_close();
            let (_, reply) = site.hooks.chunk(direction);
            assert!(reply.complete(Ok(Verdict::Pass)));
            assert_eq!(pair.ends(direction).1.receive_exactly(4), b"last");
            let end = site.hooks.end(direction);
            assert!(is_silent(pair.ends(direction).1));
            assert!(end.complete(Ok(EndVerdict::Pass(vec![Bytes::from_static(b"words")]))));
            assert_eq!(pair.ends(direction).1.receive_exactly(5), b"words");
            pair.ends(direction).1.expect(End::Eof);
            // Half closed, the other direction lives on.
            pair.ends(direction.opposite()).0.send(b"on");
            assert!(site.hooks.chunk(direction.opposite()).1.complete(Ok(Verdict::Pass)));
            assert_eq!(pair.ends(direction.opposite()).1.receive_exactly(2), b"on");
            pair.ends(direction.opposite()).0.half_close();
            assert!(site.hooks.end(direction.opposite()).complete(Ok(EndVerdict::Pass(Vec::new()))));
            pair.ends(direction.opposite()).1.expect(End::Eof);
            assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
        }
    }
}

#[test]
fn a_connection_that_ends_cancels_the_answers_that_are_out() {
    type Ends = fn(&Site, Pair);
    let ways: [(Ends, CloseReason); 3] = [
        (|_, pair| pair.connection.abort(), CloseReason::Aborted),
        (|_, pair| pair.upstream.reset(), CloseReason::UpstreamReset),
        (|site, _| site.running.server.stop(Duration::ZERO), CloseReason::Stopped),
    ];
    for wanted in places(BOTH) {
        for (end, reason) in ways {
            let site = Site::start(wanted);
            let mut pair = site.pair();
            pair.client.send(b"asked");
            let (_, reply) = site.hooks.chunk(ToUpstream);
            let (told, connection) = (Arc::new(AtomicBool::new(false)), pair.connection.clone());
            let tell = Arc::clone(&told);
            reply.on_cancel(move || tell.store(true, SeqCst));
            assert!(!reply.is_cancelled());
            end(&site, pair);
            until("the answer is cancelled", || reply.is_cancelled() && told.load(SeqCst));
            assert_eq!(wait_end(&connection), reason);
            let late = Arc::new(AtomicBool::new(false));
            let tell = Arc::clone(&late);
            reply.on_cancel(move || tell.store(true, SeqCst));
            assert!(late.load(SeqCst), "at once");
            assert!(!reply.complete(Ok(Verdict::Pass)));
            let ledger = connection.ledger(ToUpstream);
            assert_eq!((ledger.read, ledger.delivered, ledger.undeliverable), (5, 0, 5));
        }
    }
}

#[test]
fn a_close_delivers_what_waits_for_its_answer() {
    for wanted in places(BOTH.with(Interest::EOF)) {
        let site = Site::start(wanted);
        let mut pair = site.pair();
        pair.client.send(b"asked");
        let (_, reply) = site.hooks.chunk(ToUpstream);
        pair.connection.close();
        pair.client.expect(End::Eof);
        assert!(is_silent(&pair.upstream));
        assert!(reply.complete(Ok(Verdict::Pass)));
        assert_eq!(pair.upstream.receive_exactly(5), b"asked");
        pair.upstream.expect(End::Eof);
        drop((pair.client, pair.upstream));
        assert_eq!(wait_end(&pair.connection), CloseReason::Closed);
    }
}

#[test]
fn an_answer_that_never_comes_is_a_hook_that_failed() {
    for wanted in places(BOTH) {
        let site = Site::start(wanted);
        let mut pair = site.pair();
        pair.upstream.send(b"asked");
        drop(site.hooks.chunk(ToClient));
        pair.client.expect(End::Reset);
        assert_eq!(wait_end(&pair.connection), CloseReason::CallbackError);
        assert!(pair.connection.error().unwrap().contains("dropped its reply"));
    }
}

#[test]
fn an_answer_that_is_late_is_cancelled_and_another_takes_its_place() {
    for wanted in places(BOTH) {
        let site = Site::start(wanted);
        let hooks = |late: Late| *site.hooks.late.lock().unwrap() = Some(late);
        hooks(|| Ok(Verdict::Replace(vec![Bytes::from_static(b"late")])));
        for direction in DIRECTIONS {
            let mut pair = site.pair();
            pair.ends(direction).0.send(b"asked");
            let (_, reply) = site.hooks.chunk(direction);
            assert_eq!(pair.ends(direction).1.receive_exactly(4), b"late");
            assert!(reply.is_cancelled() && !reply.complete(Ok(Verdict::Pass)));
            pair.ends(direction).0.send(b"again");
            let (_, reply) = site.hooks.chunk(direction);
            assert!(reply.complete(Ok(Verdict::Pass)), "one in time");
            assert_eq!(pair.ends(direction).1.receive_exactly(5), b"again");
        }
        hooks(|| Err(Failed { reason: CloseReason::CallbackTimeout, error: "late".to_owned() }));
        let mut pair = site.pair();
        pair.client.send(b"asked");
        pair.upstream.expect(End::Reset);
        assert_eq!(wait_end(&pair.connection), CloseReason::CallbackTimeout);
    }
}

#[test]
fn a_connection_does_not_idle_while_an_answer_is_pending() {
    let (hooks, upstream) = (Asking::new(), Upstream::new());
    let mut config = to(upstream.address());
    config.timeouts.idle = Some(Duration::from_millis(20));
    let running = Running::start_hooked(config, hooks.clone(), BOTH.on_any_thread());
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    client.send(b"asked");
    let (_, reply) = hooks.chunk(ToUpstream);
    pass(Duration::from_millis(100));
    assert!(reply.complete(Ok(Verdict::Pass)), "it lives");
    assert_eq!(wait_end(&connection), CloseReason::IdleTimeout);
}

#[test]
fn a_client_waits_for_the_answer_where_it_goes() {
    for wanted in places(Interest::ACCEPT) {
        let site = Site::start(wanted);
        let client = Peer::connect(site.running.address());
        let accepted = site.hooks.accepted();
        pass(Duration::from_millis(5));
        assert!(site.upstream.is_idle(), "nothing is connected before");
        assert!(accepted.complete(Ok(Decision::Default)));
        let mut upstream = site.upstream.accept();
        let mut client = client;
        client.send(b"served");
        assert_eq!(upstream.receive_exactly(6), b"served");
        let refused = Peer::connect(site.running.address());
        assert!(site.hooks.accepted().complete(Ok(Decision::Refuse)));
        site.running.wait_one_closed_for(CloseReason::Rejected);
        drop(refused);
        let gone = Peer::connect(site.running.address());
        let accepted = site.hooks.accepted();
        gone.reset();
        until("the answer is cancelled", || accepted.is_cancelled());
        site.running.wait_one_closed_for(CloseReason::ClientGone);
    }
}

#[test]
fn an_answer_that_comes_while_its_relay_changes_threads_is_taken_once() {
    let site = Site::start(BOTH);
    for round in 0..40 {
        let direction = DIRECTIONS[round % 2];
        let mut pair = site.pair();
        pair.ends(direction).0.send(b"asked");
        let (_, reply) = site.hooks.chunk(direction);
        let answering = spawn(move || reply.complete(Ok(Verdict::Pass)));
        DIRECTIONS.iter().for_each(|direction| pair.connection.pass_through(*direction));
        assert_eq!(pair.ends(direction).1.receive_exactly(5), b"asked");
        assert!(answering.join().unwrap());
        pair.pass(direction, b" and not", b" and not");
        pair.pass(direction.opposite(), b"back", b"back");
        assert!(site.hooks.chunks.lock().unwrap()[direction].is_empty());
    }
}

#[test]
fn an_answer_that_is_out_while_stages_are_put_in_goes_through_those_behind_it() {
    for wanted in places(BOTH.with(Interest::EOF)) {
        let site = Site::start(wanted);
        for direction in DIRECTIONS {
            let mut pair = site.pair();
            pair.ends(direction).0.send(b"asked");
            let (_, reply) = site.hooks.chunk(direction);
            for at in [0, 2] {
                pair.connection.edit_stages(direction, move |stages| stages.insert(at, Box::new(Nothing))).unwrap();
            }
            assert!(is_silent(pair.ends(direction).1));
            assert!(reply.complete(Ok(Verdict::Pass)));
            assert_eq!(pair.ends(direction).1.receive_exactly(5), b"asked");
            pair.ends(direction).0.half_close();
            let end = site.hooks.end(direction);
            pair.connection.edit_stages(direction, |stages| drop((stages.remove(2), stages.remove(0)))).unwrap();
            assert!(is_silent(pair.ends(direction).1));
            assert!(end.complete(Ok(EndVerdict::Pass(Vec::new()))));
            pair.ends(direction).1.expect(End::Eof);
            // Before its peers end, which the hooks would be asked about.
            pair.connection.abort();
            wait_end(&pair.connection);
        }
    }
}
