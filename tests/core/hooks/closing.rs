//! on_close: once for every connection, whatever its end, and before its server has closed.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use interpose::{
    hooks::Decision,
    live::handle::{Connection, State},
    server::Server,
    threads::lane::Lane,
    words::{
        direction::Direction::{ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
        stats::Ledger,
    },
};

use super::{BOTH, Call, Gate, Pair, Script, Site, inject_on_lane};
use crate::{
    conformance::whole,
    support::{
        kernel::descriptors,
        own_process::alone,
        peers::{DEADLINE, End, Peer, until},
        running::{to, wait_end},
        upstreams::{Silent, Unserved},
    },
};

/// On the native path, and on a lane from the start.
const PLACES: [Interest; 2] = [Interest::CLOSE, Interest::CLOSE.with(BOTH)];

/// What on_close saw: the connection, its reason, and its ledgers.
type Seen = Arc<Mutex<Vec<(u64, Option<CloseReason>, Ledger, Ledger)>>>;

fn looking() -> (Script, Seen) {
    let seen = Seen::default();
    let script = {
        let seen = seen.clone();
        let look = move |connection: &Connection| {
            assert_eq!(connection.state(), State::Closed);
            let (up, down) = (connection.ledger(ToUpstream), connection.ledger(ToClient));
            seen.lock().unwrap().push((connection.id(), connection.reason(), up, down));
        };
        Script::new().close(look)
    };
    (script, seen)
}

/// Then every on_close has returned.
fn stop(site: &Site) {
    site.running.server.stop(Duration::ZERO);
    assert!(site.running.server.wait(Some(DEADLINE)));
}

/// Ends one connection in this way on either path: on_close has to see this reason, once.
fn sees(reason: CloseReason, end: impl Fn(&Site, Pair)) {
    for interest in PLACES {
        let (script, seen) = looking();
        let site = Site::start(script, interest);
        let pair = site.pair();
        let connection = pair.connection.clone();
        end(&site, pair);
        assert_eq!(wait_end(&connection), reason);
        let final_ledgers = (connection.id(), Some(reason), connection.ledger(ToUpstream), connection.ledger(ToClient));
        stop(&site);
        assert_eq!(*seen.lock().unwrap(), [final_ledgers]);
        assert_eq!(site.script.calls(&connection).last(), Some(&Call::Close { wanted: true }));
    }
}

#[test]
fn of_an_orderly_end() {
    sees(CloseReason::Finished, |_, mut pair| {
        pair.pass(ToUpstream, b"there", b"there");
        pair.client.half_close();
        pair.upstream.expect(End::Eof);
        pair.upstream.close();
        pair.client.expect(End::Eof);
        let ledgers = || (pair.connection.ledger(ToUpstream), pair.connection.ledger(ToClient));
        assert_eq!(ledgers(), (whole(5), whole(0)));
    });
}

#[test]
fn of_a_reset() {
    sees(CloseReason::ClientReset, |_, Pair { client, mut upstream, .. }| {
        client.reset();
        upstream.expect(End::Reset);
    });
    sees(CloseReason::UpstreamReset, |_, Pair { mut client, upstream, .. }| {
        upstream.reset();
        client.expect(End::Reset);
    });
}

#[test]
fn of_an_end_from_outside() {
    sees(CloseReason::Closed, |_, Pair { mut client, mut upstream, connection }| {
        connection.close();
        client.expect(End::Eof);
        upstream.expect(End::Eof);
    });
    sees(CloseReason::Aborted, |_, Pair { mut client, mut upstream, connection }| {
        connection.abort();
        client.expect(End::Reset);
        upstream.expect(End::Reset);
    });
    sees(CloseReason::Stopped, |site, Pair { mut client, mut upstream, .. }| {
        site.running.server.stop(Duration::ZERO);
        client.expect(End::Reset);
        upstream.expect(End::Reset);
    });
}

/// A connection that never got an upstream is told of as well.
#[test]
fn of_one_that_was_never_connected() {
    let unserved = Unserved::new();
    for interest in PLACES {
        let (script, seen) = looking();
        let site = Site::with(script, interest, 1, |config| {
            config.forward.as_mut().unwrap().address = unserved.address().into();
        });
        Peer::connect_and_be_reset(site.running.address());
        site.running.wait_closed_for(CloseReason::Refused, 1);
        stop(&site);
        assert_eq!(*seen.lock().unwrap(), [(1, Some(CloseReason::Refused), whole(0), whole(0))]);
    }
}

#[test]
fn of_one_that_was_refused() {
    for place in PLACES {
        let (script, seen) = looking();
        let site = Site::start(script.accept(|_| Ok(Decision::Refuse)), place.with(Interest::ACCEPT));
        Peer::connect_and_be_reset(site.running.address());
        site.running.wait_closed_for(CloseReason::Rejected, 1);
        stop(&site);
        assert_eq!(*seen.lock().unwrap(), [(1, Some(CloseReason::Rejected), whole(0), whole(0))]);
    }
}

/// Whoever was asked once is told of the end, even if that is of no interest: it is the time to forget.
#[test]
fn whoever_was_asked_is_told() {
    let silent = Silent::new();
    let target = silent.address();
    let site = Site::with(Script::new(), Interest::NONE, 1, |config| config.forward.as_mut().unwrap().address = target.into());
    let (mut client, connection) = site.client();
    // Of interest only from now on: neither when it was accepted, nor when it ends.
    site.running.server.set_interest(Interest::CONNECT);
    let upstream = silent.wake();
    site.script.wait_for(&connection, Call::Connect);
    site.running.server.set_interest(Interest::NONE);
    let mut side = upstream.accept();
    client.send(b"x");
    assert_eq!(side.receive_exactly(1), b"x");
    connection.abort();
    client.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::Aborted);
    until("on_close was called", || site.script.closes() == 1);
    assert_eq!(site.script.calls(&connection), [Call::Connect, Call::Close { wanted: false }]);
}

/// Who was never asked is not told, unless that is of interest.
#[test]
fn whoever_was_never_asked_is_not_told() {
    let site = Site::start(Script::new(), Interest::NONE);
    let Pair { mut client, upstream, connection } = site.pair();
    upstream.reset();
    client.expect(End::Reset);
    wait_end(&connection);
    let Pair { mut client, upstream, .. } = site.pair();
    site.running.server.set_interest(Interest::CLOSE);
    upstream.reset();
    client.expect(End::Reset);
    until("on_close was called", || site.script.closes() > 0);
    assert_eq!(site.script.known(1), None);
    assert_eq!(site.script.calls(&site.script.known(2).unwrap()), [Call::Close { wanted: true }]);
}

#[test]
fn five_hundred_at_once() {
    const CONNECTIONS: usize = 500;
    for interest in PLACES {
        let (script, seen) = looking();
        let site = Site::start(script, interest);
        thread::scope(|scope| {
            for number in 0..10 {
                let site = &site;
                scope.spawn(move || {
                    let clients: Vec<Peer> = (0..CONNECTIONS / 10).map(|_| Peer::connect(site.running.address())).collect();
                    let upstreams: Vec<Peer> = clients.iter().map(|_| site.upstream.accept()).collect();
                    for client in clients {
                        if number % 2 == 0 { client.close() } else { client.reset() }
                    }
                    drop(upstreams);
                });
            }
        });
        site.running.server.stop(DEADLINE * 2);
        assert!(site.running.server.wait(Some(DEADLINE)));
        let mut told: Vec<u64> = seen.lock().unwrap().iter().map(|(id, ..)| *id).collect();
        told.sort_unstable();
        assert_eq!(told, (1..=CONNECTIONS as u64).collect::<Vec<_>>());
    }
}

/// A server is closed once its hooks know of every end, not before.
#[test]
fn a_server_closes_after_the_last_on_close() {
    for interest in PLACES {
        let gate = Gate::default();
        let before = gate.clone();
        let site = Site::start(Script::new().close(move |_| before.pass()), interest);
        let _opened = gate.opened_at_the_end();
        let Pair { mut client, mut upstream, .. } = site.pair();
        client.half_close();
        upstream.expect(End::Eof);
        upstream.half_close();
        client.expect(End::Eof);
        gate.wait_for_somebody();
        site.running.server.stop(DEADLINE * 2);
        assert_eq!(site.running.server.stats().active, 0);
        assert!(!site.running.server.wait(Some(Duration::from_millis(100))));
        gate.open();
        let start = Instant::now();
        assert!(site.running.server.wait(Some(DEADLINE)));
        assert!(start.elapsed() < DEADLINE / 2);
        assert_eq!(site.script.closes(), 1);
    }
}

/// What is injected into a connection that is over goes nowhere, and is not counted as anything.
#[test]
fn nothing_is_taken_any_more() {
    let late = Script::new().close(|connection| {
        for direction in super::DIRECTIONS {
            let before = connection.ledger(direction);
            let taken =
                connection.inject(direction, bytes::Bytes::from_static(b"late"), interpose::live::inbox::Patience::OnLane);
            assert_eq!(taken, Err(interpose::live::inbox::Refused::Ended));
            assert_eq!(connection.ledger(direction), before);
        }
    });
    let early = late.connect(|connection| {
        inject_on_lane(connection, ToClient, "early");
        Ok(())
    });
    let site = Site::start(early, Interest::CLOSE.with(Interest::CONNECT));
    let Pair { mut client, upstream, connection } = site.pair();
    assert_eq!(client.receive_exactly(5), b"early");
    upstream.close();
    client.expect(End::Eof);
    client.close();
    assert_eq!(wait_end(&connection), CloseReason::Finished);
    until("on_close was called", || site.script.closes() == 1);
}

/// A lane holds descriptors, and nobody would ever let it go again.
#[test]
fn a_closed_server_takes_no_lane() {
    alone(concat!(module_path!(), "::a_closed_server_takes_no_lane"), || {
        for hooked_before in [false, true] {
            let server = Server::bind(to(Unserved::new().address())).unwrap();
            if hooked_before {
                server.hook(Arc::new(Script::new()), []);
            }
            server.stop(Duration::ZERO);
            assert!(server.wait(Some(DEADLINE)));
            let before = descriptors();
            let lane = Lane::new(|| {}).unwrap();
            server.hook(Arc::new(Script::new()), [lane.handle()]);
            assert!(descriptors() > before);
            lane.shut_down();
            assert_eq!(descriptors(), before, "hooked before: {hooked_before}");
        }
    });
}
