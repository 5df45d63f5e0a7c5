//! A hook that does not return stops its own lane, and nothing else.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use interpose::{
    hooks::Verdict,
    live::{handle::Connection, inbox::Patience},
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, Call, DIRECTIONS, Gate, Opened, Pair, Script, Site};
use crate::support::{
    kernel::is_listening,
    peers::{End, Peer, pass, until},
    running::{Running, to, wait_end},
    upstreams::Echo,
};

/// A server one lane of which stands at the gate, in a hook of its first connection.
struct Blocked {
    _first: Pair,
    _opened: Opened,
    site: Site,
    gate: Gate,
}

fn blocked(lanes: usize, interest: Interest) -> Blocked {
    let gate = Gate::default();
    let before = gate.clone();
    let script = Script::new().recv(move |connection, _, _| {
        if connection.id() == 1 {
            before.pass();
        }
        Ok(Verdict::Pass)
    });
    let site = Site::with(script, interest, lanes, |_| {});
    let mut first = site.pair();
    let opened = gate.opened_at_the_end();
    first.client.send(b"hold");
    gate.wait_for_somebody();
    Blocked { _first: first, _opened: opened, site, gate }
}

#[test]
fn other_servers_are_not_affected() {
    let _blocked = blocked(1, BOTH);
    let echo = Echo::start();
    let native = Running::start(to(echo.address()));
    let hooked = Site::start(Script::new(), BOTH);
    let mut client = Peer::connect(native.address());
    client.send(b"hello");
    assert_eq!(client.receive_exactly(5), b"hello");
    let mut pair = hooked.pair();
    for direction in DIRECTIONS {
        pair.pass(direction, b"hello", b"hello");
    }
}

#[test]
fn another_lane_of_the_server_is_not_affected() {
    let Blocked { site, gate, .. } = &blocked(2, BOTH);
    // Its place is on the lane with fewer connections, which is the other one.
    let mut second = site.pair();
    for direction in DIRECTIONS {
        second.pass(direction, b"hello", b"hello");
    }
    // The next is on the blocked one again. It is accepted, and served in time.
    let (mut third, connection) = site.client();
    third.send(b"patient");
    let mut fourth = site.pair();
    fourth.pass(ToUpstream, b"hello", b"hello");
    assert_eq!(connection.upstream(), None);
    gate.open();
    let mut upstream = site.upstream.accept();
    // The first one's bytes are held up as well.
    assert_eq!(upstream.receive_exactly(7), b"patient");
}

/// Who is of no interest is not on a lane, whatever that one does.
#[test]
fn native_connections_of_the_server_are_not_affected() {
    let Blocked { site, .. } = &blocked(1, BOTH);
    site.running.server.set_interest(Interest::CLOSE);
    for _ in 0..20 {
        let mut pair = site.pair();
        for direction in DIRECTIONS {
            pair.pass(direction, b"hello", b"hello");
        }
        pair.client.half_close();
        pair.upstream.expect(End::Eof);
        pair.upstream.close();
        pair.client.expect(End::Eof);
        assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
    }
    assert_eq!(site.script.closes(), 0, "the hooks are told on their lane");
}

#[test]
fn clients_are_still_accepted() {
    let Blocked { site, gate, .. } = &blocked(1, BOTH);
    let mut clients: Vec<Peer> = (0..100).map(|_| Peer::connect(site.running.address())).collect();
    until("all were accepted", || site.running.server.stats().accepted == 101);
    clients.iter_mut().for_each(|client| client.send(b"x"));
    gate.open();
    for _ in &clients {
        let mut upstream = site.upstream.accept();
        assert_eq!(upstream.receive_exactly(1), b"x");
    }
}

/// A server is stopped in time though a hook is stuck, and its end is recorded once the hook returns.
#[test]
fn a_stuck_hook_does_not_hold_up_a_stop() {
    for lanes in [1, 2] {
        let Blocked { site, gate, _first: first, .. } = &blocked(lanes, BOTH.with(Interest::CLOSE));
        let second = (lanes == 2).then(|| site.pair());
        let start = Instant::now();
        site.running.server.stop(Duration::ZERO);
        assert!(site.running.server.wait(Some(Duration::from_secs(2))), "not closed after {:?}", start.elapsed());
        assert!(site.running.server.is_closed() && !is_listening(site.running.address()));
        if let Some(Pair { mut client, mut upstream, connection }) = second {
            client.expect(End::Reset);
            upstream.expect(End::Reset);
            assert_eq!(wait_end(&connection), CloseReason::Stopped);
        }
        assert_eq!(first.connection.reason(), None);
        gate.open();
        assert_eq!(wait_end(&first.connection), CloseReason::Stopped);
        until("on_close was called", || site.script.closes() == lanes);
    }
}

/// An idle connection on a lane costs nothing.
#[test]
fn a_lane_with_nothing_to_do_sleeps() {
    let upstream = crate::support::upstreams::Upstream::new();
    let script = std::sync::Arc::new(Script::new());
    let running = Running::start_hooked(to(upstream.address()), script.clone(), BOTH);
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    let mut side = upstream.accept();
    client.send(b"x");
    assert_eq!(side.receive_exactly(1), b"x");
    let before = running.io.usage();
    crate::support::peers::pass(Duration::from_millis(500));
    let after = running.io.usage();
    assert!(after.sleeps - before.sleeps < 10, "{} wake-ups of an idle connection", after.sleeps - before.sleeps);
    assert_eq!(script.chunks(&connection, ToUpstream), [1]);
    assert_eq!(script.chunks(&connection, ToClient), Vec::<usize>::new());
}

/// Returns the number of chunks of the first connection, `busy` in one direction, that came before the next connection's, whose
/// client sends while the first is busy. `answer` is what the hook does with each chunk of the first.
fn chunks_ahead(busy: Direction, answer: impl Fn(&Connection, Direction) + Send + Sync + 'static) -> usize {
    const BEFORE: usize = 20;
    let second: Arc<OnceLock<Mutex<Peer>>> = Arc::default();
    let (shown, sender) = (AtomicUsize::new(0), Arc::clone(&second));
    let script = Script::new().recv(move |connection, direction, _| {
        if connection.id() == 1 {
            answer(connection, direction);
            if shown.fetch_add(1, Relaxed) == BEFORE {
                sender.get().unwrap().lock().unwrap().send(b"x");
            }
        }
        Ok(Verdict::Pass)
    });
    let site = Site::with(script, BOTH, 1, |config| config.relay.chunk = 1);
    let (mut first, Pair { client, mut upstream, connection }) = (site.pair(), site.pair());
    second.set(Mutex::new(client)).unwrap();
    let source = if busy == ToUpstream { &mut first.client } else { &mut first.upstream };
    source.send(&[b'.'; 500]);
    assert_eq!(upstream.receive_exactly(1), b"x");
    let journal = site.script.journal();
    let ahead = journal.calls.iter().take_while(|(of, call)| !(of == &connection && matches!(call, Call::Recv(..))));
    ahead.filter(|(_, call)| matches!(call, Call::Recv(..))).count() - BEFORE
}

/// Chunks that cost a millisecond each: a turn ends after five of them, and the lane polls its driver then.
#[test]
fn slow_chunks_of_one_connection_do_not_hold_up_another() {
    for busy in DIRECTIONS {
        let ahead = chunks_ahead(busy, |_, _| pass(Duration::from_millis(1)));
        assert!(ahead < 10, "{ahead} chunks of the first came {busy:?} before the second's");
    }
}

/// Each answer ends a turn, so turns alone say little of the time that has gone by.
#[test]
fn answered_chunks_of_one_connection_do_not_hold_up_another() {
    for busy in DIRECTIONS {
        let ahead = chunks_ahead(busy, |connection, direction| {
            pass(Duration::from_micros(200));
            // Refused once the test is over.
            let _ = connection.inject(direction.opposite(), Bytes::from_static(b"!"), Patience::OnLane);
        });
        assert!(ahead < 20, "{ahead} chunks of the first came {busy:?} before the second's");
    }
}

/// However many chunks one connection has there already, and though none of them goes on.
#[test]
fn many_small_chunks_of_one_connection_do_not_hold_up_another() {
    const CHUNKS: usize = 30_000;
    let gate = Gate::default();
    let before = gate.clone();
    let script = Script::new().recv(move |connection, _, chunk| {
        if chunk == b"!" {
            before.pass();
        }
        Ok(if connection.id() == 1 { Verdict::Drop } else { Verdict::Pass })
    });
    let site = Site::with(script, BOTH, 1, |config| config.relay.chunk = 1);
    let _opened = gate.opened_at_the_end();
    let (mut first, mut second) = (site.pair(), site.pair());
    first.client.send(b"!");
    gate.wait_for_somebody();
    first.client.send(&[b'.'; CHUNKS]);
    second.client.send(b"x");
    gate.open();
    assert_eq!(second.upstream.receive_exactly(1), b"x");
    until("all chunks were shown", || site.script.chunks(&first.connection, ToUpstream).len() == CHUNKS + 1);
    let journal = site.script.journal();
    let ahead = journal.calls.iter().take_while(|(of, call)| !(of == &second.connection && matches!(call, Call::Recv(..))));
    let ahead = ahead.filter(|(_, call)| matches!(call, Call::Recv(..))).count();
    assert!(ahead < 2000, "{ahead} chunks of the first came before the second's");
}
