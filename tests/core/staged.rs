//! Stages on live connections: bytes and ends for later, a reset behind exactly the bytes before it, changes in the midst.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Verdict},
    inspect::{End as SourceEnd, Outbox, Progress, Stage, Stages, chain::Nothing},
    live::handle::Connection,
    words::{
        chunk::Chunk,
        direction::{Both, Direction},
        interest::Interest,
        outcome::CloseReason,
    },
};

use crate::support::{
    peers::{End, Peer},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

const DELAY: Duration = Duration::from_millis(30);

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
struct Late;

impl Stage for Late {
    fn feed(&mut self, chunk: Chunk, end: SourceEnd, out: &mut Outbox) -> Progress {
        let due = out.now() + DELAY;
        out.push_at(chunk, due);
        if end == SourceEnd::Finished {
            out.end_at(due);
        }
        Progress::Moved
    }
}

/// Lets so many bytes pass, then resets.
#[derive(Debug)]
struct CutAfter(usize);

impl Stage for CutAfter {
    fn feed(&mut self, chunk: Chunk, end: SourceEnd, out: &mut Outbox) -> Progress {
        if chunk.len() < self.0 {
            self.0 -= chunk.len();
            return Nothing.feed(chunk, end, out);
        }
        out.push(bytes::Bytes::copy_from_slice(&chunk[..self.0]));
        out.drop(bytes::Bytes::copy_from_slice(&chunk[self.0..]));
        self.0 = 0;
        out.reset(Failed { reason: CloseReason::Aborted, error: "cut".to_owned() });
        Progress::Moved
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
    let running = Running::start_hooked(to(upstream.address()), Arc::new(Staged(|| Late)), Interest::NONE);
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
        connection.edit_stages(direction, |stages| stages.insert(1, Box::new(Late)));
        let started = Instant::now();
        near.send(b"late");
        assert_eq!(far.receive_exactly(4), b"late");
        assert!(started.elapsed() >= DELAY);
        connection.edit_stages(direction, |stages| drop(stages.remove(1)));
        near.send(b"native again");
        assert_eq!(far.receive_exactly(12), b"native again");
        near.half_close();
        far.expect(End::Eof);
        far.half_close();
        near.expect(End::Eof);
        assert_eq!(wait_end(&connection), CloseReason::Finished);
    }
}
