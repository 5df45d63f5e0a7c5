//! CN: connecting the upstream, or failing to, delays nobody and is told truly.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use interpose::{
    live::handle::{Connection, State},
    words::{direction::Direction, outcome::CloseReason},
};

use crate::{
    conformance::whole,
    support::{
        kernel::{self, SYN_SENT},
        pattern::Pattern,
        peers::{DEADLINE, End, Peer, pass, until},
        running::{IoThreads, Running, forward, to, wait_end},
        upstreams::{Echo, Silent, Unserved, Upstream},
    },
};

/// A server whose upstream does not answer, and time to see what that does.
fn towards_silence(silent: &Silent) -> Running {
    let mut config = to(silent.address());
    forward(&mut config).connect_timeout = DEADLINE * 2;
    Running::start(config)
}

fn connecting(running: &Running) -> (Peer, Connection) {
    let client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    until("a SYN is on its way", || kernel::sockets_towards(running.target.socket_addr().unwrap(), SYN_SENT) > 0);
    assert_eq!(connection.state(), State::Connecting);
    assert_eq!(connection.upstream(), None);
    (client, connection)
}

/// CN-01: A refused connect resets the client, and the reason is `refused`.
#[test]
fn a_refused_connect_resets_the_client() {
    let nobody = Unserved::new();
    let running = Running::start(to(nobody.address()));
    for _ in 0..20 {
        Peer::connect_and_be_reset(running.address());
    }
    running.wait_closed_for(CloseReason::Refused, 20);
    assert_eq!((running.server.stats().to_upstream, running.server.stats().to_client), (whole(0), whole(0)));
}

/// The handle of a connection that cannot be made. It is to be had only until that is known, so clients come
/// until one is caught.
pub fn failed_connection(running: &Running) -> Connection {
    let over = AtomicBool::new(false);
    let caught = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(connection) = running.server.connections().pop() {
                    return Some(connection);
                }
            }
            None
        });
        let start = Instant::now();
        while !watching.is_finished() && start.elapsed() < DEADLINE {
            Peer::connect_and_be_reset(running.address());
        }
        over.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    });
    let connection = caught.expect("a connection is seen before it has failed");
    wait_end(&connection);
    connection
}

#[test]
fn a_failed_connection_says_where_and_why() {
    let nobody = Unserved::new();
    let running = Running::start(to(nobody.address()));
    let connection = failed_connection(&running);
    assert_eq!(connection.reason(), Some(CloseReason::Refused));
    let error = connection.error().unwrap();
    assert_eq!(error, format!("cannot connect to {}: connection refused", nobody.address()));
    assert_eq!(connection.upstream(), None);
}

/// CN-02: A connect without an answer is given up at its limit, and the client is reset.
#[test]
fn a_connect_is_bounded() {
    let silent = Silent::new();
    let mut config = to(silent.address());
    forward(&mut config).connect_timeout = Duration::from_millis(300);
    let running = Running::start(config);
    let start = Instant::now();
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    client.send(b"never read");
    client.expect(End::Reset);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(wait_end(&connection), CloseReason::ConnectTimeout);
    let error = connection.error().unwrap();
    assert!(error.contains(&silent.address().to_string()) && error.contains("0.3 s"), "{error}");
    assert_eq!(connection.ledger(Direction::ToUpstream), whole(0));
    until("the attempt is over", || kernel::sockets_towards(silent.address(), SYN_SENT) == 0);
}

/// CN-04: A client that resets cancels its connect.
#[test]
fn a_client_that_resets_cancels_the_connect() {
    let silent = Silent::new();
    let running = towards_silence(&silent);
    let (mut client, connection) = connecting(&running);
    client.send(b"bytes that nobody will read");
    client.reset();
    assert_eq!(wait_end(&connection), CloseReason::ClientGone);
    until("the attempt is over", || kernel::sockets_towards(silent.address(), SYN_SENT) == 0);
    running.wait_closed_for(CloseReason::ClientGone, 1);
}

#[test]
fn a_connecting_connection_can_be_closed_and_aborted() {
    let silent = Silent::new();
    let running = towards_silence(&silent);
    for (end, reason) in [(Connection::close as fn(&Connection), CloseReason::Closed), (Connection::abort, CloseReason::Aborted)]
    {
        let (mut client, connection) = connecting(&running);
        end(&connection);
        assert_eq!(wait_end(&connection), reason);
        assert!(client.receive(&mut [0]).is_err());
        until("the attempt is over", || kernel::sockets_towards(silent.address(), SYN_SENT) == 0);
    }
}

#[test]
fn a_stop_ends_a_connecting_connection() {
    let silent = Silent::new();
    let running = towards_silence(&silent);
    let (mut client, connection) = connecting(&running);
    running.server.stop(Duration::ZERO);
    client.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::Stopped);
    assert!(running.server.wait(Some(DEADLINE)));
}

/// CN-05: Clients of a dead upstream delay no other connection.
///
/// On one I/O thread, fifty clients of an upstream that does not answer, and a hundred of one that does.
#[test]
fn a_dead_upstream_delays_nobody_else() {
    let (silent, echo) = (Silent::new(), Echo::start());
    let dead = towards_silence(&silent);
    let healthy = Running::start_on(&dead.io, to(echo.address()));
    let waiting: Vec<_> = (0..50).map(|_| Peer::connect(dead.address())).collect();
    until("all clients of the dead upstream were accepted", || dead.server.stats().active == 50);
    for number in 0..100_u8 {
        let mut client = Peer::connect(healthy.address());
        for byte in [number, 1, 2] {
            client.send(&[byte]);
            assert_eq!(client.receive_exactly(1), [byte]);
        }
    }
    // The healthy ones were served while the others waited, not after.
    let connections = dead.server.connections();
    assert_eq!(connections.len(), 50);
    assert!(connections.iter().all(|connection| connection.state() == State::Connecting));
    healthy.wait_closed_for(CloseReason::Finished, 100);
    drop(waiting);
}

/// CN-06: Bytes sent while the upstream is being connected wait in the kernel, and arrive.
#[test]
fn bytes_sent_while_connecting_arrive() {
    let silent = Silent::new();
    let running = towards_silence(&silent);
    let (mut client, connection) = connecting(&running);
    thread::scope(|scope| {
        scope.spawn(move || {
            client.send_pattern(&mut Pattern::new(6), 1 << 20, || 50_000);
            client.half_close();
            client.expect(End::Eof);
        });
        pass(Duration::from_millis(100));
        assert_eq!(connection.ledger(Direction::ToUpstream), whole(0));
        let mut upstream = silent.wake().accept();
        assert_eq!(upstream.receive_to_end(&mut Pattern::new(6)), (1 << 20, End::Eof));
    });
    assert_eq!(wait_end(&connection), CloseReason::Finished);
    assert_eq!(connection.ledger(Direction::ToUpstream), whole(1 << 20));
}

/// HC-06: A FIN that comes while the upstream is being connected is passed on to it afterwards.
///
/// A FIN is not leaving.
#[test]
fn a_fin_while_connecting_is_passed_on() {
    let silent = Silent::new();
    let running = towards_silence(&silent);
    let (mut client, connection) = connecting(&running);
    client.send(b"five!");
    client.half_close();
    client.wait_acknowledged();
    pass(Duration::from_millis(100));
    assert_eq!(connection.state(), State::Connecting);
    let mut upstream = silent.wake().accept();
    assert_eq!(upstream.receive_exactly(5), b"five!");
    upstream.expect(End::Eof);
    upstream.send(b"answer");
    upstream.close();
    assert_eq!(client.receive_exactly(6), b"answer");
    client.expect(End::Eof);
    assert_eq!(wait_end(&connection), CloseReason::Finished);
}

/// CN-07: An upstream may speak first, to a client that says nothing.
#[test]
fn a_banner_arrives_at_a_silent_client() {
    let upstream = Upstream::new();
    let running = Running::start(to(upstream.address()));
    let mut client = Peer::connect(running.address());
    let mut server = upstream.accept();
    server.send(b"220 hello\r\n");
    assert_eq!(client.receive_exactly(11), b"220 hello\r\n");
}

/// CN-09: A name that does not resolve resets the client in time, with a reason of its own.
#[test]
fn a_name_that_does_not_resolve_resets_the_client() {
    let mut config = to(Unserved::new().address());
    forward(&mut config).address = "name.invalid:80".parse().unwrap();
    let running = Running::start(config);
    let connection = failed_connection(&running);
    // A machine without any name server cannot tell that a name does not exist.
    let reason = connection.reason().unwrap();
    assert!(matches!(reason, CloseReason::NameNotFound | CloseReason::ResolveFailed), "{reason}");
    let error = connection.error().unwrap();
    assert!(error.contains("cannot connect to name.invalid:80") && error.contains("\"name.invalid\""), "{error}");
}

/// CN-13, as this machine's `localhost` happens to be.
#[test]
fn localhost_reaches_an_ipv4_upstream() {
    let echo = Echo::start();
    let mut config = to(echo.address());
    forward(&mut config).address = format!("localhost:{}", echo.address().port()).parse().unwrap();
    let running = Running::start(config);
    assert_echoes(running.address());
}

pub fn assert_echoes(address: SocketAddr) {
    let mut client = Peer::connect(address);
    client.send(b"ping");
    assert_eq!(client.receive_exactly(4), b"ping");
    client.half_close();
    client.expect(End::Eof);
}

/// CN-16
#[test]
fn a_source_address_is_what_the_upstream_sees() {
    let upstream = Upstream::new();
    let mut config = to(upstream.address());
    forward(&mut config).source = Some("127.0.0.2".parse().unwrap());
    let running = Running::start(config);
    let client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    let server = upstream.accept();
    assert_eq!(server.remote().ip().to_string(), "127.0.0.2");
    until("the connection is open", || connection.state() == State::Open);
    let names = connection.upstream().unwrap();
    assert_eq!((names.local.inet(), names.peer.inet()), (Some(server.remote()), Some(server.name())));
    let names = connection.client();
    assert_eq!((names.local.inet(), names.peer.inet()), (Some(client.remote()), Some(client.name())));
}

#[test]
fn a_source_address_of_another_machine_is_told() {
    let mut config = to(Unserved::new().address());
    forward(&mut config).source = Some("203.0.113.7".parse().unwrap());
    let running = Running::start(config);
    let connection = failed_connection(&running);
    assert_eq!(connection.reason(), Some(CloseReason::ConnectFailed));
    assert!(connection.error().unwrap().contains("source 203.0.113.7"), "{:?}", connection.error());
}

#[test]
fn ipv6_at_both_ends() {
    let upstream = Upstream::at("[::1]:0".parse().unwrap(), None);
    let mut config = to(upstream.address());
    config.listen = "[::1]:0".parse().unwrap();
    let running = Running::start(config);
    let mut client = Peer::connect(running.address());
    let mut server = upstream.accept();
    client.send(b"six");
    assert_eq!(server.receive_exactly(3), b"six");
    let connection = running.connection_of(client.name());
    assert_eq!(connection.client().peer.to_string(), format!("[::1]:{}", client.name().port()));
}

/// `[::]` serves both families, and names an IPv4 client as such.
#[test]
fn an_unspecified_ipv6_listener_is_dual_stack() {
    let upstream = Upstream::new();
    let mut config = to(upstream.address());
    config.listen = "[::]:0".parse().unwrap();
    let running = Running::start(config);
    let port = running.address().port();
    for host in ["127.0.0.1", "[::1]"] {
        let client = Peer::connect(format!("{host}:{port}").parse().unwrap());
        let connection = running.connection_of(client.name());
        assert_eq!(connection.client().peer.to_string(), format!("{host}:{}", client.name().port()));
        assert_eq!(connection.client().local.to_string(), format!("{host}:{port}"));
        upstream.accept();
    }
}

/// Any client is connected on any thread: four threads, forty clients.
#[test]
fn connections_spread_over_the_io_threads() {
    let echo = Echo::start();
    let io = IoThreads::start(4);
    let running = Running::start_on(&io, to(echo.address()));
    let mut clients: Vec<_> = (0..40).map(|_| Peer::connect(running.address())).collect();
    for client in &mut clients {
        client.send(b"x");
        assert_eq!(client.receive_exactly(1), b"x");
    }
    drop(clients);
    running.wait_closed_for(CloseReason::Finished, 40);
    assert!(io.usage_each().iter().all(|usage| usage.sleeps > 4), "{:?}", io.usage_each());
}
