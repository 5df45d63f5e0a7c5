//! Connections that come to a lane and leave it, as the interest in them changes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use interpose::{
    hooks::{Decision, Verdict},
    live::handle::Connection,
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, Call, DIRECTIONS, Gate, Opened, Pair, Script, Site, figures, inject};
use crate::{
    conformance::{held, whole},
    support::{
        pattern::{Pattern, Prng},
        peers::{DEADLINE, End, Peer, pass, until},
        running::{forward, wait_end},
        upstreams::Echo,
    },
};

/// Sends and gets back a pattern in turns, until told to end. Gives how much that was.
fn transfer(client: &mut Peer, number: u64, enough: &AtomicBool) -> u64 {
    let (mut prng, mut out, mut back) = (Prng::new(number), Pattern::new(number), Pattern::new(number));
    while !enough.load(SeqCst) {
        let size = prng.size(60_000) as u64;
        client.send_pattern(&mut out, size, || 20_000);
        client.receive_pattern(&mut back, size);
    }
    back.position()
}

#[test]
fn transfers_survive_two_hundred_changes_of_interest() {
    const CLIENTS: u64 = 20;
    let echo = Echo::start();
    let target = echo.address();
    let copying = |_: &Connection, _, chunk: &[u8]| {
        let (first, second) = chunk.split_at(chunk.len() / 2);
        let copies = || [first, second].map(Bytes::copy_from_slice).to_vec();
        Ok(if chunk.len().is_multiple_of(2) { Verdict::Pass } else { Verdict::Replace(copies()) })
    };
    let site = Site::with(Script::new().recv(copying), Interest::NONE, 2, |config| forward(config).address = target.into());
    let server = &site.running.server;
    let enough = AtomicBool::new(false);
    let clients: Vec<(Peer, Connection)> = (0..CLIENTS).map(|_| site.client()).collect();
    thread::scope(|scope| {
        let transfers: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, (mut client, connection))| {
                let enough = &enough;
                let work = move || {
                    let bytes = transfer(&mut client, number, enough);
                    (client, connection, bytes)
                };
                scope.spawn(work)
            })
            .collect();
        for flip in 0..200 {
            let moved = server.stats().to_client.delivered + 20_000;
            server.set_interest(if flip % 2 == 0 { BOTH } else { Interest::NONE });
            until("bytes flow", || server.stats().to_client.delivered >= moved);
        }
        enough.store(true, SeqCst);
        for (number, transfer) in transfers.into_iter().enumerate() {
            let (mut client, connection, bytes) = transfer.join().unwrap();
            if number % 2 == 0 {
                client.half_close();
                client.expect(End::Eof);
                assert_eq!(wait_end(&connection), CloseReason::Finished);
            } else {
                client.reset();
                assert_eq!(wait_end(&connection), CloseReason::ClientReset);
            }
            for direction in DIRECTIONS {
                let [read, added, delivered, dropped, undeliverable] = figures(&connection, direction);
                assert_eq!((read, delivered, undeliverable), (bytes, bytes, 0));
                assert_eq!(added, dropped, "the copies are as long as what they replace");
            }
        }
    });
    let shown = site.script.count(|call| matches!(call, Call::Recv(..)));
    assert!(shown > 0, "no hook was ever asked");
}

/// Moves a connection to its lane and away while one direction stands still: a byte the other way tells when it is there.
fn move_while_stalled(site: &Site, pair: &mut Pair, stalled: Direction) {
    let other = stalled.opposite();
    for round in 1..=10 {
        site.running.server.set_interest(BOTH);
        pair.pass(other, b"x", b"x");
        assert_eq!(site.script.chunks(&pair.connection, other).len(), round);
        site.running.server.set_interest(Interest::NONE);
        pair.pass(other, b"y", b"y");
        assert_eq!(site.script.chunks(&pair.connection, other).len(), round);
    }
}

#[test]
fn a_stalled_direction_moves_with_what_it_holds() {
    for stalled in DIRECTIONS {
        let site = Site::start(Script::new(), Interest::NONE);
        let mut pair = site.small_pair(16_384);
        let sent = pair.ends(stalled).0.send_until_blocked(&mut Pattern::new(1), 256 << 20);
        assert!(held(pair.connection.ledger(stalled)) > 0);
        move_while_stalled(&site, &mut pair, stalled);
        assert!(held(pair.connection.ledger(stalled)) > 0);
        let (source, destination) = pair.ends(stalled);
        source.half_close();
        assert_eq!(destination.receive_to_end(&mut Pattern::new(1)), (sent, End::Eof));
        assert_eq!(pair.connection.ledger(stalled), whole(sent));
        pair.pass(stalled.opposite(), b"z", b"z");
        let (source, destination) = pair.ends(stalled);
        destination.half_close();
        source.expect(End::Eof);
        assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
    }
}

#[test]
fn a_reset_is_true_after_moves() {
    for stalled in DIRECTIONS {
        let site = Site::start(Script::new(), Interest::NONE);
        let mut pair = site.small_pair(16_384);
        pair.ends(stalled).0.send_until_blocked(&mut Pattern::new(1), 256 << 20);
        move_while_stalled(&site, &mut pair, stalled);
        let Pair { client, upstream, connection } = pair;
        // The one who does not read resets: the other is blocked in sending, and has to learn of it.
        let (source, destination) = if stalled == ToUpstream { (client, upstream) } else { (upstream, client) };
        destination.reset();
        let mut source = source;
        source.expect(End::Reset);
        let reason = if stalled == ToUpstream { CloseReason::UpstreamReset } else { CloseReason::ClientReset };
        assert_eq!(wait_end(&connection), reason);
        assert!(connection.ledger(stalled).undeliverable > 0);
    }
}

/// Without a byte that flows: an end alone is noticed on the new thread too.
#[test]
fn an_end_is_noticed_after_a_move() {
    for interest in [BOTH, Interest::NONE] {
        let start = if interest == BOTH { Interest::NONE } else { BOTH };
        for reset in [false, true] {
            let site = Site::start(Script::new(), start);
            let Pair { client, mut upstream, connection } = site.pair();
            site.running.server.set_interest(interest);
            if reset {
                client.reset();
                upstream.expect(End::Reset);
                assert_eq!(wait_end(&connection), CloseReason::ClientReset);
            } else {
                client.close();
                upstream.expect(End::Eof);
                upstream.close();
                assert_eq!(wait_end(&connection), CloseReason::Finished);
            }
        }
    }
}

/// A server whose first connection keeps the only lane at the gate. The others are for `recv`.
fn one_lane(gate: &Gate, recv: impl Fn(&Connection, Direction) + Send + Sync + 'static, interest: Interest) -> (Site, Opened) {
    let before = gate.clone();
    let script = Script::new().recv(move |connection, direction, _| {
        if connection.id() == 1 {
            before.pass()
        } else {
            recv(connection, direction)
        }
        Ok(Verdict::Pass)
    });
    (Site::start(script, interest), gate.opened_at_the_end())
}

/// Blocks the lane with the first connection; the second flows all the same, because it is not there.
fn flows_without_its_lane(site: &Site, gate: &Gate, first: &mut Pair, pair: &mut Pair) {
    first.client.send(b"hold");
    gate.wait_for_somebody();
    // A peer may have a byte before it is counted.
    until("all is counted", || DIRECTIONS.iter().all(|direction| held(pair.connection.ledger(*direction)) == 0));
    let before = [figures(&pair.connection, ToUpstream), figures(&pair.connection, ToClient)];
    let chunks = site.script.calls(&pair.connection).len();
    for direction in DIRECTIONS {
        let (source, destination) = pair.ends(direction);
        thread::scope(|scope| {
            scope.spawn(|| source.send_pattern(&mut Pattern::new(1), 2_000_000, || 50_000));
            destination.receive_pattern(&mut Pattern::new(1), 2_000_000);
        });
    }
    assert_eq!(site.script.calls(&pair.connection).len(), chunks, "a hook was asked");
    until("the ledgers have it", || {
        let now = [figures(&pair.connection, ToUpstream), figures(&pair.connection, ToClient)];
        (0..2).all(|n| now[n][0] == before[n][0] + 2_000_000 && now[n][2] == before[n][2] + 2_000_000)
    });
    pair.client.half_close();
    pair.upstream.expect(End::Eof);
    pair.upstream.half_close();
    pair.client.expect(End::Eof);
    assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
}

#[test]
fn passed_through_from_outside_it_leaves_the_lane() {
    let gate = Gate::default();
    let (site, _opened) = one_lane(&gate, |_, _| {}, BOTH.with(Interest::EOF));
    let (mut first, mut pair) = (site.pair(), site.pair());
    for direction in DIRECTIONS {
        pair.pass(direction, b"seen", b"seen");
    }
    pair.connection.pass_through(ToUpstream);
    // The other direction is still seen, so it stays where it is.
    pair.pass(ToUpstream, b"not seen", b"not seen");
    pair.pass(ToClient, b"seen too", b"seen too");
    let seen = [Call::Recv(ToUpstream, 4), Call::Recv(ToClient, 4), Call::Recv(ToClient, 8)];
    assert_eq!(site.script.calls(&pair.connection), seen);
    pair.connection.pass_through(ToClient);
    // A byte there and back: it has left.
    pair.pass(ToClient, b"x", b"x");
    pair.pass(ToUpstream, b"x", b"x");
    flows_without_its_lane(&site, &gate, &mut first, &mut pair);
    gate.open();
    until("on_close was called", || site.script.closes() == 1);
    assert_eq!(site.script.calls(&pair.connection), [&seen[..], &[Call::Close { wanted: false }]].concat());
}

/// From the next chunk on, so also within one turn.
#[test]
fn passed_through_by_its_hook_it_leaves_the_lane() {
    let gate = Gate::default();
    let both = |connection: &Connection, _| DIRECTIONS.iter().for_each(|direction| connection.pass_through(*direction));
    let (site, _opened) = one_lane(&gate, both, BOTH);
    let (mut first, mut pair) = (site.pair(), site.pair());
    pair.pass(ToClient, b"seen", b"seen");
    pair.pass(ToUpstream, b"not seen", b"not seen");
    flows_without_its_lane(&site, &gate, &mut first, &mut pair);
    assert_eq!(site.script.calls(&pair.connection), [Call::Recv(ToClient, 4)]);
}

#[test]
fn passed_through_in_the_middle_of_what_was_sent() {
    for direction in DIRECTIONS {
        let through = move |connection: &Connection, of: Direction, _: &[u8]| {
            connection.pass_through(of);
            Ok(Verdict::Drop)
        };
        let site = Site::with(Script::new().recv(through), BOTH, 1, |config| config.relay.chunk = 4);
        let mut pair = site.pair();
        pair.pass(direction, b"1234567890", b"567890");
        assert_eq!(site.script.chunks(&pair.connection, direction), [4]);
    }
}

/// Only the connection that was passed through is unseen, and it stays so when the interest changes.
#[test]
fn what_was_passed_through_stays_unseen() {
    let site = Site::start(Script::new(), Interest::NONE);
    let mut pair = site.pair();
    DIRECTIONS.iter().for_each(|direction| pair.connection.pass_through(*direction));
    site.running.server.set_interest(BOTH);
    let mut other = site.pair();
    for direction in DIRECTIONS {
        pair.pass(direction, b"x", b"x");
        other.pass(direction, b"x", b"x");
    }
    assert_eq!(site.script.calls(&pair.connection), []);
    assert_eq!(site.script.calls(&other.connection).len(), 2);
}

/// What was injected goes along, and a connection without an upstream moves like any other.
#[test]
fn a_connection_to_nowhere_moves_too() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let script = {
        let shown = shown.clone();
        Script::new().accept(|_| Ok(Decision::Nowhere)).recv(move |_, _, chunk| {
            shown.lock().unwrap().extend_from_slice(chunk);
            Ok(Verdict::Pass)
        })
    };
    let site = Site::start(script, Interest::ACCEPT);
    let (mut client, connection) = site.client();
    for round in 1..=10 {
        site.running.server.set_interest(Interest::ACCEPT.with(BOTH));
        client.send(b"seen");
        until("it was shown", || shown.lock().unwrap().len() == 4 * round);
        site.running.server.set_interest(Interest::ACCEPT);
        inject(&connection, ToClient, "answer");
        assert_eq!(client.receive_exactly(6), b"answer");
    }
    client.half_close();
    client.expect(End::Eof);
    assert_eq!(wait_end(&connection), CloseReason::Finished);
}

#[test]
fn a_question_without_its_answer_stays_one_on_another_thread() {
    for (before, after) in [(BOTH, Interest::NONE), (Interest::NONE, BOTH)] {
        let site = Site::start(Script::new(), before);
        let mut pair = site.pair();
        pair.pass(ToUpstream, b"question", b"question");
        site.running.server.set_interest(after);
        site.running.server.leave(DEADLINE * 2);
        // Ten times the silence after an exchange that is over.
        pass(Duration::from_millis(200));
        pair.pass(ToClient, b"answer", b"answer");
        pair.client.expect(End::Eof);
        assert_eq!(wait_end(&pair.connection), CloseReason::Closed);
    }
}
