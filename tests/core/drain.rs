//! LC-03 to LC-06 and LC-16: a stop lets connections finish, and ends what does not.

use std::{
    net::SocketAddr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use interpose::{server::Server, words::outcome::CloseReason};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{
    kernel::is_listening,
    log_lines,
    own_process::alone,
    pattern::{Pattern, Prng},
    peers::{DEADLINE, End, Peer, pass, until},
    running::{IoThreads, Running, closed, to, wait_end},
    upstreams::{Echo, Upstream, is_refused},
};

/// LC-03: Transfers that run when a drain begins finish, with every byte.
/// LC-05: Nobody new is let in while a server drains.
///
/// A hundred transfers run when the stop comes. All of them finish, and nobody new is let in.
#[test]
fn a_drain_loses_nothing() {
    const CLIENTS: u64 = 100;
    let echo = Echo::start();
    let running = Running::start_on(&IoThreads::start(2), to(echo.address()));
    let midway = Barrier::new(CLIENTS as usize + 1);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = Peer::connect(running.address());
            let midway = &midway;
            scope.spawn(move || transfer(client, number, midway));
        }
        midway.wait();
        running.server.stop(DEADLINE * 2);
        until("the listener is closed", || !is_listening(running.address()));
        assert!(is_refused(running.address()));
        assert!(!running.server.is_closed());
        midway.wait();
    });
    assert!(running.server.wait(Some(DEADLINE)));
    assert_eq!(closed(&running.server), [(CloseReason::Finished, CLIENTS)]);
    let stats = running.server.stats();
    assert_eq!(stats.to_upstream, stats.to_client);
    assert_eq!(stats.to_client.undeliverable, 0);
}

/// Echoes a pattern in turns, then ends in order. Half-way, with bytes under way, it meets the others.
fn transfer(mut client: Peer, number: u64, midway: &Barrier) {
    let (mut prng, mut out, mut back) = (Prng::new(number), Pattern::new(number), Pattern::new(number));
    for turn in 0..20 {
        let size = prng.size(20_000) as u64;
        client.send_pattern(&mut out, size, || 5000);
        if turn == 10 {
            midway.wait();
            midway.wait();
        }
        client.receive_pattern(&mut back, size);
    }
    client.half_close();
    client.expect(End::Eof);
    assert_eq!(back.position(), out.position());
}

/// LC-04: A connection that has not finished at the drain's deadline is reset; one that has is not touched.
///
/// Both sides of it.
#[test]
fn a_drain_ends_at_its_deadline() {
    let upstream = Upstream::new();
    let running = Running::start(to(upstream.address()));
    let mut endless = Peer::connect(running.address());
    let mut endless_side = upstream.accept();
    let connection = running.connection_of(endless.name());
    let mut brief = Peer::connect(running.address());
    let mut brief_side = upstream.accept();
    let grace = Duration::from_millis(400);
    let start = Instant::now();
    running.server.stop(grace);
    brief.send(b"quick");
    assert_eq!(brief_side.receive_exactly(5), b"quick");
    brief.half_close();
    brief_side.half_close();
    brief.expect(End::Eof);
    brief_side.expect(End::Eof);
    endless.expect(End::Reset);
    assert!(start.elapsed() >= grace, "{:?}", start.elapsed());
    endless_side.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::Stopped);
    assert!(running.server.wait(Some(DEADLINE)));
    assert_eq!(closed(&running.server), [(CloseReason::Finished, 1), (CloseReason::Stopped, 1)]);
}

#[test]
fn the_earliest_deadline_of_several_stops_holds() {
    for deadlines in [[3600, 0], [0, 3600]] {
        let echo = Echo::start();
        let running = Running::start(to(echo.address()));
        let mut client = Peer::connect(running.address());
        running.connection_of(client.name());
        for seconds in deadlines {
            running.server.stop(Duration::from_secs(seconds));
        }
        client.expect(End::Reset);
        assert!(running.server.wait(Some(DEADLINE)));
    }
}

/// The clock cannot count as far as `Duration::MAX`.
#[test]
fn a_drain_may_have_no_end() {
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    let mut client = Peer::connect(running.address());
    running.connection_of(client.name());
    running.server.stop(Duration::MAX);
    until("the listener is closed", || !is_listening(running.address()));
    client.send(b"x");
    assert_eq!(client.receive_exactly(1), b"x");
    client.half_close();
    client.expect(End::Eof);
    assert!(running.server.wait(Some(DEADLINE)));
}

/// The rest of an earlier answer, which the client has not waited for, is no answer to its last word.
#[test]
fn a_left_server_waits_for_the_answer_behind_an_earlier_one() {
    let upstream = Upstream::new();
    let running = Running::start(to(upstream.address()));
    let mut client = Peer::connect(running.address());
    let mut server = upstream.accept();
    client.send(b"first");
    assert_eq!(server.receive_exactly(5), b"first");
    for part in 0..10 {
        if part == 8 {
            client.send(b"second");
            assert_eq!(server.receive_exactly(6), b"second");
        }
        server.send(b"part");
        assert_eq!(client.receive_exactly(4), b"part");
    }
    running.server.leave(DEADLINE * 2);
    // Ten times the silence after an exchange that is over.
    pass(Duration::from_millis(200));
    server.send(b"answer");
    assert_eq!(client.receive_exactly(6), b"answer");
    client.half_close();
    server.expect(End::Eof);
    server.half_close();
    client.expect(End::Eof);
    assert!(running.server.wait(Some(DEADLINE)));
}

/// LC-06: A client whose connect had succeeded when the stop came is served.
///
/// Even if nobody had accepted it.
#[test]
fn the_backlog_is_served_before_the_listener_closes() {
    let echo = Echo::start();
    let server = Server::bind(to(echo.address())).unwrap();
    let address: SocketAddr = server.address().inet().unwrap();
    let mut waiting: Vec<_> = (0..100).map(|_| Peer::connect(address)).collect();
    let io = IoThreads::start(1);
    server.start(&io.workers).unwrap();
    server.stop(DEADLINE * 2);
    for (number, client) in (0..100).zip(&mut waiting) {
        client.send(&[number]);
        assert_eq!(client.receive_exactly(1), [number]);
    }
    until("the listener is closed", || !is_listening(address));
    assert!(is_refused(address));
    assert!(!server.is_closed() && server.stats().active == 100, "{:?}", server.stats());
    for client in &mut waiting {
        client.half_close();
        client.expect(End::Eof);
    }
    assert!(server.wait(Some(DEADLINE)));
    assert_eq!(closed(&server), [(CloseReason::Finished, 100)]);
}

/// LC-16: A peer that takes nothing does not hold up a stop.
#[test]
fn a_stalled_connection_does_not_delay_a_stop() {
    let upstream = Upstream::new();
    let running = Running::start(to(upstream.address()));
    let mut client = Peer::connect_with(running.address(), Some(16_384));
    let mut server = upstream.accept();
    let connection = running.connection_of(client.name());
    client.send_until_blocked(&mut Pattern::new(1), 64 << 20);
    server.send_until_blocked(&mut Pattern::new(2), 64 << 20);
    running.server.stop(Duration::ZERO);
    assert!(running.server.wait(Some(DEADLINE)));
    assert_eq!(wait_end(&connection), CloseReason::Stopped);
    assert_eq!(server.receive_to_end(&mut Pattern::new(1)).1, End::Reset);
}

/// Connections that wait for a place while the server drains are not kept hanging, and the log tells of them.
#[test]
fn a_stop_turns_away_who_waits_for_a_place() {
    alone(concat!(module_path!(), "::a_stop_turns_away_who_waits_for_a_place"), || {
        log_lines::start();
        let upstream = Upstream::new();
        let mut config = to(upstream.address());
        config.limits.max_connections = Some(1);
        let running = Running::start(config);
        let mut served = Peer::connect(running.address());
        let mut side = upstream.accept();
        let waiting: Vec<_> = (0..3).map(|_| Peer::connect(running.address())).collect();
        running.server.stop(DEADLINE * 2);
        until("the listener is closed", || !is_listening(running.address()));
        for mut client in waiting {
            client.expect(End::Reset);
        }
        let warnings = log_lines::of("interpose::listener", log::Level::Warn);
        // The one before it says that the only place was taken.
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let start = format!("{}: 3 clients that still waited at the end of listening were reset: ", running.address());
        assert!(warnings[1].starts_with(&start), "{warnings:?}");
        served.send(b"x");
        assert_eq!(side.receive_exactly(1), b"x");
        served.close();
        side.expect(End::Eof);
        side.close();
        assert!(running.server.wait(Some(DEADLINE)));
    });
}

/// The same where there is no descriptor for them.
#[test]
fn a_stop_without_descriptors_turns_away_who_waits() {
    alone(concat!(module_path!(), "::a_stop_without_descriptors_turns_away_who_waits"), || {
        log_lines::start();
        let server = Server::bind(to(Upstream::new().address())).unwrap();
        let address = server.address().inet().unwrap();
        let (mut waiting, io) = (Peer::connect(address), IoThreads::start(1));
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).unwrap();
        server.start(&io.workers).unwrap();
        until("the listener pauses", || server.stats().accept_paused);
        server.stop(DEADLINE * 2);
        assert!(server.wait(Some(DEADLINE)));
        waiting.expect(End::Reset);
        let warnings = log_lines::of("interpose::listener", log::Level::Warn);
        setrlimit(Resource::Nofile, limit).unwrap();
        let expected =
            format!("{address}: clients that still waited at the end of listening, if any, were reset: too many open files");
        assert!(warnings.contains(&expected), "{warnings:?}");
    });
}

/// A close listens to its peers for a while, a close that is not to take long does not: both send FIN first.
#[test]
fn a_close_that_is_not_to_take_long_ends_in_order_and_at_once() {
    for is_hurried in [true, false] {
        let upstream = Upstream::new();
        let running = Running::start(to(upstream.address()));
        let mut client = Peer::connect(running.address());
        client.send(b"question");
        let mut served = upstream.accept();
        assert_eq!(served.receive_exactly(8), b"question");
        let connection = running.server.connections().pop().expect("it lives");
        assert!(!connection.closes());
        let began = Instant::now();
        if is_hurried {
            connection.close_now();
        } else {
            connection.close();
        }
        client.expect(End::Eof);
        served.expect(End::Eof);
        assert!(connection.closes());
        until("it has ended", || connection.reason().is_some());
        assert_eq!(connection.reason(), Some(CloseReason::Closed));
        // Neither peer has ended: the other close has listened to them for a second.
        assert_eq!(began.elapsed() < Duration::from_millis(900), is_hurried);
    }
}
