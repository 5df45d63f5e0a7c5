//! Limits on silence, apart from those of ends (HC) and of connecting (CN).

use std::time::{Duration, Instant};

use interpose::{
    settings::config::Timeouts,
    words::{direction::Direction, outcome::CloseReason},
};

use crate::{
    conformance::{held, whole},
    support::{
        pattern::Pattern,
        peers::{End, Peer, pass},
        running::{Running, to, wait_end},
        upstreams::Upstream,
    },
};

fn limited(timeouts: Timeouts) -> (Upstream, Running) {
    let upstream = Upstream::new();
    let mut config = to(upstream.address());
    config.timeouts = timeouts;
    let running = Running::start(config);
    (upstream, running)
}

#[test]
fn silence_both_ways_is_limited_by_idle() {
    let limit = Duration::from_millis(300);
    let (upstream, running) = limited(Timeouts { idle: Some(limit), ..Timeouts::default() });
    let mut client = Peer::connect(running.address());
    let mut server = upstream.accept();
    let connection = running.connection_of(client.name());
    let start = Instant::now();
    client.send(b"last words");
    assert_eq!(server.receive_exactly(10), b"last words");
    client.expect(End::Reset);
    assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
    server.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::IdleTimeout);
    assert_eq!(connection.ledger(Direction::ToUpstream), whole(10));
}

/// Bytes in one direction keep both alive.
#[test]
fn a_trickle_one_way_is_not_idle() {
    let limit = Duration::from_millis(1500);
    let (upstream, running) = limited(Timeouts { idle: Some(limit), ..Timeouts::default() });
    let mut client = Peer::connect(running.address());
    let mut server = upstream.accept();
    let connection = running.connection_of(client.name());
    let start = Instant::now();
    while start.elapsed() < limit * 2 {
        server.send(b"x");
        assert_eq!(client.receive_exactly(1), b"x");
        pass(Duration::from_millis(100));
    }
    server.close();
    client.expect(End::Eof);
    client.close();
    assert_eq!(wait_end(&connection), CloseReason::Finished);
}

/// Without limits a silent connection stays, and costs nothing.
#[test]
fn silence_is_not_limited_by_default() {
    let (upstream, running) = limited(Timeouts { half_close: Some(Duration::from_millis(200)), ..Timeouts::default() });
    let mut client = Peer::connect(running.address());
    let mut server = upstream.accept();
    let before = running.io.usage();
    pass(Duration::from_millis(1000));
    let after = running.io.usage();
    assert!(after.sleeps - before.sleeps < 10, "{} wake-ups of an idle connection", after.sleeps - before.sleeps);
    client.send(b"still here");
    assert_eq!(server.receive_exactly(10), b"still here");
}

/// A peer whose window stays shut is given up by the kernel when `unacknowledged` says so: it is lost, and the other
/// side is reset.
#[test]
fn unacknowledged_bytes_are_limited_if_asked_for() {
    let limit = Duration::from_millis(1000);
    let (upstream, running) = limited(Timeouts { unacknowledged: Some(limit), ..Timeouts::default() });
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    let server = upstream.accept();
    client.send_until_blocked(&mut Pattern::new(1), 256 << 20);
    assert!(held(connection.ledger(Direction::ToUpstream)) > 0);
    client.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::UpstreamLost);
    assert!(connection.ledger(Direction::ToUpstream).undeliverable > 0);
    assert!(connection.error().unwrap().starts_with("the upstream is gone: "), "{:?}", connection.error());
    drop(server);
}
