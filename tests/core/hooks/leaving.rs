//! Ends that a hook asks for: no further chunk is shown, and what came before is still delivered where that is due.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use interpose::{
    hooks::{EndVerdict, Verdict},
    live::handle::Connection,
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, Call, DIRECTIONS, Gate, Pair, Script, Site, figures, inject, inject_on_lane};
use crate::support::{
    pattern::Pattern,
    peers::{End, Peer, clamp, until},
    running::wait_end,
};

const ENDS: Interest = BOTH.with(Interest::EOF);

/// A server whose first connection keeps the lane at the gate with its first chunk; `then` is asked about the others.
fn gated(gate: &Gate, then: impl Fn(&Connection, Direction) -> Verdict + Send + Sync + 'static) -> Site {
    let gate = gate.clone();
    let script = Script::new().recv(move |connection, direction, _| {
        if connection.id() == 1 {
            gate.pass();
            return Ok(Verdict::Pass);
        }
        Ok(then(connection, direction))
    });
    Site::with(script, ENDS, 1, |config| config.relay.chunk = 4)
}

/// Has bytes of both sides, and their ends, waiting for the second connection before its relay gets its turn:
/// then one turn has everything to read.
fn all_at_once(site: &Site, gate: &Gate, directions: &[Direction]) -> Pair {
    let mut first = site.pair();
    let mut pair = site.pair();
    first.client.send(b"hold");
    gate.wait_for_somebody();
    for direction in directions {
        let source = pair.ends(*direction).0;
        source.send(b"one.two.three.");
        source.wait_acknowledged();
    }
    gate.open();
    assert_eq!(first.upstream.receive_exactly(4), b"hold");
    pair
}

/// How it ends, whatever comes before.
fn end_of(peer: &mut Peer) -> End {
    let mut buffer = [0; 1024];
    loop {
        if let Err(end) = peer.receive(&mut buffer) {
            return end;
        }
    }
}

#[test]
fn after_a_close_no_chunk_is_shown() {
    let gate = Gate::default();
    let site = gated(&gate, |connection, direction| {
        inject_on_lane(connection, direction, "and ");
        inject_on_lane(connection, direction, "more");
        inject_on_lane(connection, direction.opposite(), "good ");
        inject_on_lane(connection, direction.opposite(), "bye");
        connection.close();
        Verdict::Pass
    });
    let _opened = gate.opened_at_the_end();
    let Pair { mut client, mut upstream, connection } = all_at_once(&site, &gate, &DIRECTIONS);
    assert_eq!(upstream.receive_exactly(12), b"one.and more");
    upstream.expect(End::Eof);
    assert_eq!(client.receive_exactly(8), b"good bye");
    client.expect(End::Eof);
    drop((client, upstream));
    assert_eq!(wait_end(&connection), CloseReason::Closed);
    site.script.wait_for(&connection, Call::Close { wanted: false });
    assert_eq!(site.script.calls(&connection)[0], Call::Recv(ToUpstream, 4));
    assert_eq!(site.script.calls(&connection).len(), 2, "{:?}", site.script.calls(&connection));
}

#[test]
fn after_a_close_what_replaces_the_chunk_is_delivered() {
    for direction in DIRECTIONS {
        let gate = Gate::default();
        let site = gated(&gate, |connection, _| {
            connection.close();
            Verdict::Replace(["in ", "several ", "pieces"].map(Bytes::from).to_vec())
        });
        let _opened = gate.opened_at_the_end();
        let Pair { mut client, mut upstream, connection } = all_at_once(&site, &gate, &[direction]);
        let (destination, source) =
            if direction == ToUpstream { (&mut upstream, &mut client) } else { (&mut client, &mut upstream) };
        assert_eq!(destination.receive_exactly(17), b"in several pieces");
        destination.expect(End::Eof);
        source.expect(End::Eof);
        drop((client, upstream));
        assert_eq!(wait_end(&connection), CloseReason::Closed);
        assert_eq!(site.script.chunks(&connection, direction), [4]);
    }
}

#[test]
fn after_an_abort_no_chunk_is_shown() {
    for acting in DIRECTIONS {
        let gate = Gate::default();
        let site = gated(&gate, move |connection, direction| {
            if direction == acting {
                connection.abort();
            }
            Verdict::Pass
        });
        let _opened = gate.opened_at_the_end();
        // The client's bytes come first in a turn, so only its abort comes before anything else.
        let sending: &[Direction] = if acting == ToUpstream { &DIRECTIONS } else { &[ToClient] };
        let Pair { mut client, mut upstream, connection } = all_at_once(&site, &gate, sending);
        assert_eq!(wait_end(&connection), CloseReason::Aborted);
        assert_eq!((end_of(&mut client), end_of(&mut upstream)), (End::Reset, End::Reset));
        assert_eq!(site.script.chunks(&connection, acting), [4]);
        assert_eq!(site.script.chunks(&connection, acting.opposite()), Vec::<usize>::new());
    }
}

/// A hook that ends one direction sees no more of it; the other direction lives on.
#[test]
fn after_a_half_close_no_chunk_of_that_direction_is_shown() {
    for direction in DIRECTIONS {
        let gate = Gate::default();
        let site = gated(&gate, move |connection, of| {
            if of == direction {
                connection.half_close(direction);
                inject_on_lane(connection, direction, "last");
            }
            Verdict::Pass
        });
        let _opened = gate.opened_at_the_end();
        let mut pair = all_at_once(&site, &gate, &[direction]);
        let destination = pair.ends(direction).1;
        assert_eq!(destination.receive_exactly(8), b"one.last");
        destination.expect(End::Eof);
        pair.pass(direction.opposite(), b"other way", b"other way");
        assert_eq!(site.script.chunks(&pair.connection, direction), [4]);
        assert_eq!(figures(&pair.connection, direction), [4, 4, 8, 0, 0]);
    }
}

#[test]
fn a_close_in_on_eof_ends_both() {
    let script = Script::new().eof(|connection, _| {
        inject_on_lane(connection, ToClient, "and you");
        connection.close();
        Ok(EndVerdict::Pass(vec![Bytes::from_static(b"bye")]))
    });
    let site = Site::start(script, ENDS);
    let Pair { mut client, mut upstream, connection } = site.pair();
    client.half_close();
    assert_eq!(upstream.receive_exactly(3), b"bye");
    upstream.expect(End::Eof);
    assert_eq!(client.receive_exactly(7), b"and you");
    client.expect(End::Eof);
    drop((client, upstream));
    assert_eq!(wait_end(&connection), CloseReason::Closed);
    assert_eq!(site.script.calls(&connection)[..1], [Call::Eof(ToUpstream)]);
}

/// The upstream is connected, so both sides get what was injected and an end in order, wherever the hook is asked.
#[test]
fn a_close_in_on_connect_ends_both() {
    for interest in [Interest::CONNECT, Interest::CONNECT.with(BOTH)] {
        let script = Script::new().connect(|connection| {
            inject_on_lane(connection, ToUpstream, "sorry");
            inject_on_lane(connection, ToClient, "closed");
            connection.close();
            Ok(())
        });
        let site = Site::start(script, interest);
        for _ in 0..20 {
            let mut client = Peer::connect(site.running.address());
            let mut upstream = site.upstream.accept();
            assert_eq!(upstream.receive_exactly(5), b"sorry");
            upstream.expect(End::Eof);
            assert_eq!(client.receive_exactly(6), b"closed");
            client.expect(End::Eof);
        }
        site.running.wait_closed_for(CloseReason::Closed, 20);
        assert_eq!(site.script.count(|call| matches!(call, Call::Recv(..))), 0);
    }
}

/// From off the lane too, and while the hook has still to return.
#[test]
fn a_close_does_not_wait_for_on_connect() {
    let gate = Gate::default();
    let before = gate.clone();
    let script = Script::new().connect(move |connection| {
        inject_on_lane(connection, ToUpstream, "sorry");
        connection.close();
        before.pass();
        Ok(())
    });
    let site = Site::start(script, Interest::CONNECT);
    let _opened = gate.opened_at_the_end();
    let mut client = Peer::connect(site.running.address());
    let mut upstream = site.upstream.accept();
    assert_eq!(upstream.receive_exactly(5), b"sorry");
    upstream.expect(End::Eof);
    client.expect(End::Eof);
    drop((client, upstream));
    site.running.wait_closed_for(CloseReason::Closed, 1);
}

/// From outside: what was injected before goes out in both directions, however little the peers take at once.
#[test]
fn a_close_delivers_all_that_was_injected_before() {
    for interest in [Interest::NONE, ENDS] {
        for buffers in [None, Some(32_768)] {
            let site = Site::start(Script::new(), interest);
            let Pair { client, upstream, connection } = site.pair();
            let mut patterns = [Pattern::new(1), Pattern::new(2)];
            for peer in [&client, &upstream] {
                clamp(&peer.socket(), buffers);
            }
            for (direction, pattern) in DIRECTIONS.into_iter().zip(&mut patterns) {
                (0..20).for_each(|_| inject(&connection, direction, pattern.take(10_000)));
            }
            connection.close();
            for (mut peer, seed) in [(upstream, 1), (client, 2)] {
                assert_eq!(peer.receive_to_end(&mut Pattern::new(seed)), (200_000, End::Eof));
            }
            assert_eq!(wait_end(&connection), CloseReason::Closed);
        }
    }
}

/// A hook may end connections other than its own.
#[test]
fn a_hook_may_abort_another_connection() {
    let site = {
        let other = std::sync::Mutex::new(None::<Connection>);
        let done = AtomicBool::new(false);
        Site::start(
            Script::new().recv(move |connection, _, _| {
                if let Some(other) = &*other.lock().unwrap() {
                    other.abort();
                    done.store(true, Ordering::SeqCst);
                    return Ok(Verdict::Pass);
                }
                *other.lock().unwrap() = Some(connection.clone());
                Ok(Verdict::Pass)
            }),
            BOTH,
        )
    };
    let mut first = site.pair();
    first.pass(ToUpstream, b"x", b"x");
    let mut second = site.pair();
    second.pass(ToUpstream, b"x", b"x");
    first.client.expect(End::Reset);
    first.upstream.expect(End::Reset);
    assert_eq!(wait_end(&first.connection), CloseReason::Aborted);
    second.pass(ToClient, b"x", b"x");
    until("on_close was called", || site.script.closes() == 1);
}
