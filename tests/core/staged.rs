//! Stages on live connections: bytes and ends for later, a reset behind exactly the bytes before it, changes in the midst.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Verdict},
    inspect::{End as SourceEnd, Outbox, Progress, Stage, Stages, chain::Nothing},
    live::{
        handle::Connection,
        inbox::{Patience, Refused},
    },
    words::{
        chunk::Chunk,
        direction::{Both, Direction},
        interest::Interest,
        outcome::CloseReason,
    },
};

use crate::support::{
    peers::{End, Peer, pass, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

const DELAY: Duration = Duration::from_millis(30);

/// Long enough for a test to act meanwhile.
const LONG: Duration = Duration::from_millis(200);

/// Hooks that want nothing, and put a stage behind their place.
struct Staged<F>(F);

impl<F> fmt::Debug for Staged<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Staged")
    }
}

impl<S: Stage + 'static, F: Fn() -> S + Send + Sync> Hooks for Staged<F> {
    fn stages(&self, _: &Connection) -> Option<Both<Stages>> {
        let stages = || Stages::default().after_hook((self.0)());
        Some(Both { to_upstream: stages(), to_client: stages() })
    }

    fn on_accept(&self, _: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(Decision::Default.into())
    }

    fn on_connect(&self, _: &Connection) -> Result<Answer<()>, Failed> {
        Ok(().into())
    }

    fn on_recv(&self, _: &Connection, _: Direction, _: &Chunk) -> Result<Answer<Verdict>, Failed> {
        Ok(Verdict::Pass.into())
    }

    fn on_eof(&self, _: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(EndVerdict::Pass(Vec::new()).into())
    }

    fn on_close(&self, _: &Connection, _: bool) {}
}

/// Delays all by the same time.
#[derive(Debug)]
struct Late(Duration);

impl Stage for Late {
    fn feed(&mut self, chunk: Chunk, end: SourceEnd, out: &mut Outbox) -> Progress {
        let due = out.now() + self.0;
        out.push_at(chunk, due);
        if end == SourceEnd::Finished {
            out.end_at(due);
        }
        Progress::Moved
    }
}

/// Passes a number of bytes, then resets.
#[derive(Debug)]
struct CutAfter(usize);

impl Stage for CutAfter {
    fn feed(&mut self, chunk: Chunk, end: SourceEnd, out: &mut Outbox) -> Progress {
        if chunk.len() < self.0 {
            self.0 -= chunk.len();
            return Nothing.feed(chunk, end, out);
        }
        out.push(Bytes::copy_from_slice(&chunk[..self.0]));
        out.drop(Bytes::copy_from_slice(&chunk[self.0..]));
        self.0 = 0;
        out.reset(Failed { reason: CloseReason::Aborted, error: "cut".to_owned() });
        Progress::Moved
    }
}

/// Keeps a chunk, and takes no other, until it is opened.
#[derive(Debug)]
struct Gate {
    open: Arc<AtomicBool>,
    kept: Option<Chunk>,
}

impl Stage for Gate {
    fn feed(&mut self, chunk: Chunk, end: SourceEnd, out: &mut Outbox) -> Progress {
        if chunk.is_empty() {
            return Nothing.feed(chunk, end, out);
        }
        self.kept = Some(chunk);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        match self.kept.take_if(|_| self.open.load(SeqCst)) {
            Some(chunk) => out.push(chunk),
            None if self.kept.is_some() => return Progress::Waiting,
            None => {}
        }
        Progress::Moved
    }
}

/// Drops what comes, then fails.
#[derive(Debug)]
struct Refuses;

impl Stage for Refuses {
    fn feed(&mut self, chunk: Chunk, _: SourceEnd, out: &mut Outbox) -> Progress {
        out.drop(chunk);
        Progress::Failed(Failed { reason: CloseReason::Aborted, error: "refused".to_owned() })
    }
}

/// The two peers of a connection, in the order of a direction: the sender first.
fn pair(running: &Running, upstream: &Upstream, direction: Direction) -> (Peer, Peer, Connection) {
    let client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    let upstream = upstream.accept();
    match direction {
        Direction::ToUpstream => (client, upstream, connection),
        Direction::ToClient => (upstream, client, connection),
    }
}

#[test]
fn bytes_and_the_end_come_as_late_as_a_stage_says_and_more_is_read_meanwhile() {
    let upstream = Upstream::new();
    let running = Running::start_hooked(to(upstream.address()), Arc::new(Staged(|| Late(DELAY))), Interest::NONE);
    for direction in Direction::ALL {
        let (mut near, mut far, connection) = pair(&running, &upstream, direction);
        let started = Instant::now();
        near.send(b"first");
        near.send(b" and second");
        near.half_close();
        assert_eq!(far.receive_exactly(16), b"first and second");
        assert!(started.elapsed() >= DELAY);
        far.expect(End::Eof);
        far.half_close();
        near.expect(End::Eof);
        assert_eq!(wait_end(&connection), CloseReason::Finished);
    }
}

#[test]
fn a_reset_comes_behind_exactly_the_bytes_before_it() {
    for bytes in [1_usize, 1000, 65_537, 1_000_001] {
        let upstream = Upstream::new();
        let stage = move || CutAfter(bytes);
        let running = Running::start_hooked(to(upstream.address()), Arc::new(Staged(stage)), Interest::NONE);
        for direction in Direction::ALL {
            let (mut near, mut far, connection) = pair(&running, &upstream, direction);
            let sender = crate::support::peers::spawn(move || {
                let _ = near.try_send(&vec![7; 2 * bytes]);
                near
            });
            assert_eq!(far.receive_exactly(bytes), vec![7; bytes], "{direction:?}");
            far.expect(End::Reset);
            assert_eq!(wait_end(&connection), CloseReason::Aborted);
            assert_eq!(connection.error().as_deref(), Some("cut"));
            drop(sender.join().unwrap());
        }
    }
}

#[test]
fn stages_of_a_live_connection_are_put_in_and_taken_out() {
    let upstream = Upstream::new();
    let running = Running::start(to(upstream.address()));
    for direction in Direction::ALL {
        let (mut near, mut far, connection) = pair(&running, &upstream, direction);
        near.send(b"native");
        assert_eq!(far.receive_exactly(6), b"native");
        connection.edit_stages(direction, |stages| stages.insert(1, Box::new(Late(DELAY)))).unwrap();
        let started = Instant::now();
        near.send(b"late");
        assert_eq!(far.receive_exactly(4), b"late");
        assert!(started.elapsed() >= DELAY);
        connection.edit_stages(direction, |stages| drop(stages.remove(1))).unwrap();
        near.send(b"native again");
        assert_eq!(far.receive_exactly(12), b"native again");
        near.half_close();
        far.expect(End::Eof);
        far.half_close();
        near.expect(End::Eof);
        assert_eq!(wait_end(&connection), CloseReason::Finished);
    }
}

#[test]
fn bytes_behind_those_for_later_do_not_overtake_them_once_the_stage_is_taken_out() {
    let upstream = Upstream::new();
    let start = |interest| {
        let hooks = Arc::new(Staged(|| Late(LONG)));
        Running::start_hooked(to(upstream.address()), hooks, interest)
    };
    for running in [start(Interest::NONE), start(Interest::TO_UPSTREAM.with(Interest::TO_CLIENT))] {
        for direction in Direction::ALL {
            let (mut near, mut far, connection) = pair(&running, &upstream, direction);
            near.send(b"late");
            until("it was read", || connection.ledger(direction).read == 4);
            connection.edit_stages(direction, |stages| drop(stages.remove(1))).unwrap();
            near.send(b" and behind");
            near.half_close();
            assert_eq!(far.receive_exactly(15), b"late and behind");
            far.expect(End::Eof);
            far.half_close();
            near.expect(End::Eof);
            assert_eq!(wait_end(&connection), CloseReason::Finished);
        }
    }
}

#[test]
fn injected_bytes_wait_in_their_inbox_while_a_stage_behind_the_hook_waits() {
    let upstream = Upstream::new();
    let open = Arc::new(AtomicBool::new(false));
    let of_stages = Arc::clone(&open);
    let hooks = Staged(move || Gate { open: Arc::clone(&of_stages), kept: None });
    let running = Running::start_hooked(to(upstream.address()), Arc::new(hooks), Interest::NONE);
    for direction in Direction::ALL {
        open.store(false, SeqCst);
        let (mut near, mut far, connection) = pair(&running, &upstream, direction);
        near.send(b"read");
        until("it was read", || connection.ledger(direction).read == 4);
        connection.inject(direction, Bytes::from_static(b" and sent"), Patience::Wait(None)).unwrap();
        pass(Duration::from_millis(20));
        assert_eq!(connection.ledger(direction).added, 0, "a bounded inbox has them");
        open.store(true, SeqCst);
        connection.edit_stages(direction, |_| ()).unwrap();
        assert_eq!(far.receive_exactly(13), b"read and sent");
        near.half_close();
        far.expect(End::Eof);
    }
}

#[test]
fn bytes_that_a_stage_dropped_before_it_failed_are_counted_as_dropped() {
    let upstream = Upstream::new();
    let running = Running::start_hooked(to(upstream.address()), Arc::new(Staged(|| Refuses)), Interest::NONE);
    for direction in Direction::ALL {
        let (mut near, mut far, connection) = pair(&running, &upstream, direction);
        near.send(b"none");
        far.expect(End::Reset);
        assert_eq!(wait_end(&connection), CloseReason::Aborted);
        let ledger = connection.ledger(direction);
        assert_eq!((ledger.read, ledger.dropped, ledger.undeliverable), (4, 4, 0));
    }
}

#[test]
fn changes_of_stages_are_bounded_and_none_waits_for_a_direction_that_has_ended() {
    let upstream = Upstream::new();
    let running = Running::start(to(upstream.address()));
    let (near, far, connection) = pair(&running, &upstream, Direction::ToUpstream);
    let (entered, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_in, opened) = (Arc::clone(&entered), Arc::clone(&gate));
    let hold = move |_: &mut Stages| {
        is_in.store(true, SeqCst);
        until("it is let go", || opened.load(SeqCst));
    };
    connection.edit_stages(Direction::ToUpstream, hold).unwrap();
    until("a change is made", || entered.load(SeqCst));
    let subject = Arc::new(());
    let refused = std::iter::repeat_with(|| {
        let subject = Arc::clone(&subject);
        connection.edit_stages(Direction::ToUpstream, move |_| drop(subject))
    });
    let taken = refused.take_while(Result::is_ok).take(1000).count();
    gate.store(true, SeqCst);
    assert_eq!(taken, 64);
    until("all were made", || Arc::strong_count(&subject) == 1);
    connection.abort();
    wait_end(&connection);
    let late = Arc::clone(&subject);
    assert_eq!(connection.edit_stages(Direction::ToClient, move |_| drop(late)), Err(Refused::Ended));
    assert_eq!(Arc::strong_count(&subject), 1);
    drop((near, far));
}
