//! How many connections a server has at once, and what it says of those who wait for a place.

use std::time::Duration;

use interpose::{settings::config::Limits, words::outcome::CloseReason};

use crate::support::{
    peers::{Peer, pass, until},
    running::{Running, to},
    upstreams::{Unserved, Upstream},
};

/// AC-07: Clients beyond the limit of connections wait in the backlog, and are served when there is room.
#[test]
fn connections_are_limited() {
    let upstream = Upstream::new();
    let mut config = to(upstream.address());
    config.limits = Limits { max_connections: Some(4) };
    let running = Running::start(config);
    assert_eq!(running.server.stats().max_connections, 4);
    let mut clients: Vec<_> = (0..10_u8).map(|_| Peer::connect(running.address())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&[u8::try_from(number).unwrap()]);
    }
    let mut served: Vec<Peer> = (0..4).map(|_| upstream.accept()).collect();
    pass(Duration::from_millis(100));
    assert!(upstream.is_idle(), "a fifth was connected");
    let mut seen = Vec::new();
    while let Some(mut server) = served.pop() {
        assert!(running.server.stats().active <= 4);
        seen.push(server.receive_exactly(1)[0]);
        server.reset();
        if seen.len() + served.len() < 10 {
            served.push(upstream.accept());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    running.wait_closed_for(CloseReason::UpstreamReset, 10);
}

/// A full house is no news as long as nobody waits outside. Who comes then is counted, though the listener has heard of
/// nobody since.
#[test]
fn a_limit_counts_as_reached_only_while_somebody_waits() {
    for listen in ["127.0.0.1:0", "localhost:0"] {
        let upstream = Upstream::new();
        let mut config = to(upstream.address());
        config.listen = listen.parse().unwrap();
        config.limits = Limits { max_connections: Some(2) };
        let running = Running::start(config);
        let reached = || running.server.stats().max_connections_reached;
        let enter = || {
            let client = Peer::connect(running.address());
            let side = upstream.accept();
            (client, side)
        };
        for _ in 0..2 {
            let pairs = [enter(), enter()];
            assert!(running.io.busy_looks(5) < 5, "it looks for somebody all the time");
            assert_eq!(reached(), 0);
            for (client, side) in pairs {
                client.reset();
                drop(side);
            }
            until("both are over", || running.server.stats().active == 0);
        }
        let pairs = [enter(), enter()];
        let waiting = [Peer::connect(running.address()), Peer::connect(running.address())];
        until("it is counted", || reached() == 1);
        assert!(running.io.busy_looks(5) < 5, "it looks at who waits all the time");
        assert_eq!(reached(), 1);
        drop((pairs, waiting));
    }
}

#[test]
fn the_default_limit_follows_from_the_descriptors() {
    let running = Running::start(to(Unserved::new().address()));
    let most = running.server.stats().max_connections;
    assert!((1..=10_000).contains(&most), "{most}");
}
