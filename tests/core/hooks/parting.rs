//! Connections that change their thread while they end: a hook that is given or taken away counts for whatever is still open.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use interpose::{
    hooks::EndVerdict,
    server::Server,
    settings::config::Splice,
    threads::lane::Lane,
    words::{direction::Direction, interest::Interest, outcome::CloseReason},
};

use super::{BOTH, Call, DIRECTIONS, Pair, Script, Site, figures, is_silent};
use crate::{
    conformance::held,
    support::{
        pattern::Pattern,
        peers::{DEADLINE, End, Peer, clamp, pass, until},
        running::{IoThreads, to, wait_end},
        upstreams::Upstream,
    },
};

const ENDS: Interest = BOTH.with(Interest::EOF);

/// Sets the hooks and takes them away, again and again: what flows in the open direction is seen while they are there. A
/// turn that has begun may read what comes at once.
fn flips(site: &Site, pair: &mut Pair, open: Direction) {
    for _ in 0..5 {
        for interest in [BOTH, Interest::NONE] {
            site.running.server.set_interest(interest);
            let mut follows = || {
                let seen = site.script.chunks(&pair.connection, open).len();
                pair.pass(open, b"x", b"x");
                (site.script.chunks(&pair.connection, open).len() > seen) == (interest == BOTH)
            };
            assert!(follows() || follows(), "{open:?}, {interest:?}");
        }
    }
}

fn end_both(pair: &mut Pair, ended: Direction) {
    let (source, destination) = pair.ends(ended.opposite());
    source.half_close();
    destination.expect(End::Eof);
    assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
}

#[test]
fn the_open_direction_of_a_half_closed_connection_is_seen_from_then_on() {
    for splice in [Splice::Streaming, Splice::Always] {
        for ended in DIRECTIONS {
            let site = Site::with(Script::new(), Interest::NONE, 1, |config| config.relay.splice = splice);
            let mut pair = site.pair();
            pair.pass(ended, b"request", b"request");
            let (source, destination) = pair.ends(ended);
            source.half_close();
            destination.expect(End::Eof);
            flips(&site, &mut pair, ended.opposite());
            // Of the end that has come nobody is asked, of the other one is.
            site.running.server.set_interest(Interest::EOF);
            end_both(&mut pair, ended);
            until("on_close was called", || site.script.closes() == 1);
            let ends = |call: &&Call| matches!(call, Call::Eof(_));
            let calls = site.script.calls(&pair.connection);
            assert_eq!(calls.iter().filter(ends).collect::<Vec<_>>(), [&Call::Eof(ended.opposite())]);
        }
    }
}

#[test]
fn a_withheld_end_stays_withheld_wherever_the_connection_goes() {
    for ended in DIRECTIONS {
        let site = Site::start(Script::new().eof(|_, _| Ok(EndVerdict::Withhold)), ENDS);
        let mut pair = site.pair();
        pair.ends(ended).0.half_close();
        site.script.wait_for(&pair.connection, Call::Eof(ended));
        flips(&site, &mut pair, ended.opposite());
        assert!(is_silent(pair.ends(ended).1));
        super::inject(&pair.connection, ended, "injected");
        assert_eq!(pair.ends(ended).1.receive_exactly(8), b"injected");
        pair.connection.half_close(ended);
        pair.ends(ended).1.expect(End::Eof);
        end_both(&mut pair, ended);
    }
}

#[test]
fn what_is_passed_through_while_an_end_is_withheld_is_not_seen() {
    for ended in DIRECTIONS {
        let site = Site::start(Script::new().eof(|_, _| Ok(EndVerdict::Withhold)), ENDS);
        let mut pair = site.pair();
        pair.ends(ended).0.half_close();
        site.script.wait_for(&pair.connection, Call::Eof(ended));
        pair.pass(ended.opposite(), b"seen", b"seen");
        DIRECTIONS.iter().for_each(|direction| pair.connection.pass_through(*direction));
        pair.pass(ended.opposite(), b"not seen", b"not seen");
        assert_eq!(site.script.chunks(&pair.connection, ended.opposite()), [4]);
        assert!(is_silent(pair.ends(ended).1));
        pair.connection.half_close(ended);
        pair.ends(ended).1.expect(End::Eof);
        end_both(&mut pair, ended);
    }
}

#[test]
fn hooks_count_while_the_server_drains() {
    for ended in DIRECTIONS {
        let site = Site::start(Script::new(), Interest::NONE);
        let mut pair = site.pair();
        let (source, destination) = pair.ends(ended);
        source.half_close();
        destination.expect(End::Eof);
        site.running.server.stop(DEADLINE);
        flips(&site, &mut pair, ended.opposite());
        end_both(&mut pair, ended);
    }
}

/// Bytes that a side sent before it reset are shown, though it is gone; the reset comes behind it, and is the reason.
#[test]
fn what_a_failed_side_has_left_is_seen_and_its_reset_stays_true() {
    for direction in DIRECTIONS {
        for interest in [BOTH, Interest::NONE] {
            let first = if interest == BOTH { Interest::NONE } else { BOTH };
            let site = Site::start(Script::new(), first);
            let mut pair = site.small_pair(16_384);
            let sent = pair.ends(direction).0.send_until_blocked(&mut Pattern::new(1), 256 << 20);
            let Pair { client, upstream, connection } = pair;
            let (source, mut destination) =
                if direction == Direction::ToUpstream { (client, upstream) } else { (upstream, client) };
            let seen = figures(&connection, direction)[0];
            source.reset();
            site.running.server.set_interest(interest);
            let (received, end) = destination.receive_to_end(&mut Pattern::new(1));
            assert_eq!(end, End::Reset);
            let reason = if direction == Direction::ToUpstream { CloseReason::ClientReset } else { CloseReason::UpstreamReset };
            assert_eq!(wait_end(&connection), reason);
            let [read, _, delivered, _, undeliverable] = figures(&connection, direction);
            assert_eq!((read, delivered), (delivered + undeliverable, received));
            assert!(read <= sent && read >= seen);
            let ends = site.script.count(|call| matches!(call, Call::Eof(_)));
            assert_eq!(ends, 0, "a reset is no end");
        }
    }
}

#[test]
fn a_limit_goes_along() {
    let limit = Duration::from_millis(400);
    for ended in DIRECTIONS {
        let site = Site::with(Script::new(), Interest::NONE, 1, |config| config.timeouts.half_close = Some(limit));
        let mut pair = site.pair();
        let start = std::time::Instant::now();
        pair.ends(ended).0.half_close();
        pair.ends(ended).1.expect(End::Eof);
        // Moves without end, and nothing that flows.
        for interest in [BOTH, Interest::NONE].into_iter().cycle() {
            site.running.server.set_interest(interest);
            if pair.connection.reason().is_some() {
                break;
            }
            assert!(start.elapsed() < DEADLINE, "moves are taken for progress");
            pass(Duration::from_millis(10));
        }
        assert_eq!(pair.connection.reason(), Some(CloseReason::HalfCloseTimeout));
        pair.ends(ended).0.expect(End::Reset);
    }
}

#[test]
fn what_a_pipe_holds_moves_too() {
    for stalled in DIRECTIONS {
        let site = Site::with(Script::new(), Interest::NONE, 1, |config| config.relay.splice = Splice::Always);
        let mut pair = site.small_pair(16_384);
        let sent = pair.ends(stalled).0.send_until_blocked(&mut Pattern::new(1), 256 << 20);
        for interest in [BOTH, Interest::NONE, BOTH] {
            site.running.server.set_interest(interest);
            pair.pass(stalled.opposite(), b"x", b"x");
        }
        let (source, destination) = pair.ends(stalled);
        source.half_close();
        assert_eq!(destination.receive_to_end(&mut Pattern::new(1)), (sent, End::Eof));
        let last = Bytes::from_static(b"last");
        pair.pass(stalled.opposite(), &last, &last);
        end_both(&mut pair, stalled);
        assert_eq!(figures(&pair.connection, stalled), [sent, 0, sent, 0, 0]);
    }
}

/// A move to a lane that has ended, or that never was, ends no direction in order, and loses no byte from the books.
#[test]
fn a_move_to_a_lane_that_has_ended_resets_both_sides() {
    let (upstream, io) = (Upstream::new(), IoThreads::start(1));
    for stalled in DIRECTIONS {
        let server = Server::bind(to(upstream.address())).unwrap();
        let lane = Lane::new(|| {}).unwrap();
        server.hook(Arc::new(Script::new()), [lane.handle()]);
        server.start(&io.workers).unwrap();
        lane.shut_down();
        let client = Peer::connect_with(server.address().inet().unwrap(), Some(16_384));
        let peer = upstream.accept();
        clamp(&peer.socket(), Some(16_384));
        let connection = server.connections().remove(0);
        let mut pair = Pair { client, upstream: peer, connection };
        let sent = pair.ends(stalled).0.send_until_blocked(&mut Pattern::new(1), 256 << 20);
        assert!(held(pair.connection.ledger(stalled)) > 0);
        server.set_interest(BOTH);
        assert_eq!(wait_end(&pair.connection), CloseReason::Stopped);
        let (source, destination) = pair.ends(stalled);
        source.expect(End::Reset);
        assert_eq!(destination.receive_to_end(&mut Pattern::new(1)).1, End::Reset);
        let [read, _, delivered, _, undeliverable] = figures(&pair.connection, stalled);
        assert!(read == delivered + undeliverable && undeliverable > 0 && read <= sent);
        server.stop(Duration::ZERO);
        assert!(server.wait(Some(DEADLINE)));
    }
}

#[test]
fn without_a_lane_nobody_is_asked_and_nothing_turns_in_circles() {
    let (upstream, io) = (Upstream::new(), IoThreads::start(1));
    let server = Server::bind(to(upstream.address())).unwrap();
    let script = Arc::new(Script::new());
    server.hook(script.clone(), []);
    server.start(&io.workers).unwrap();
    let client = Peer::connect(server.address().inet().unwrap());
    let mut pair = Pair { client, upstream: upstream.accept(), connection: server.connections().remove(0) };
    server.set_interest(ENDS);
    for direction in DIRECTIONS {
        pair.pass(direction, b"x", b"x");
    }
    assert!(io.busy_looks(10) < 10);
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
    assert_eq!(script.count(|_| true), 0);
}
