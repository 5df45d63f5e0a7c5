//! A server's life: bound, started, stopped, and nothing left behind.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use interpose::{
    live::handle::State,
    server::Server,
    settings::{
        config::{Config, Limits},
        forward::Forward,
    },
    threads::workers::Workers,
    words::{error::ErrorKind, outcome::CloseReason},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    connect::assert_echoes,
    support::{
        kernel,
        own_process::alone,
        peers::{DEADLINE, End, Peer, pass, until},
        running::{IoThreads, Running, closed, forward, to},
        upstreams::{Echo, Silent, Unserved, Upstream, is_refused},
    },
};

fn bound() -> Server {
    Server::bind(to(Unserved::new().address())).unwrap()
}

fn at(server: &Server) -> SocketAddr {
    server.address().inet().unwrap()
}

/// LC-02
#[test]
fn a_server_can_be_stopped_before_it_is_started() {
    let server = bound();
    assert!(!server.is_started() && !server.is_stopping() && !server.is_closed());
    server.stop(Duration::from_secs(60));
    assert!(server.wait(Some(DEADLINE)));
    assert!(is_refused(at(&server)));
    let error = server.start(&Workers::start(1).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert!(error.to_string().contains("make a new server"), "{error}");
    assert!(!server.is_started() && server.is_closed());
}

/// LC-02: Stops before the start, twice, or from many threads at once have the effect of one.
#[test]
fn stops_at_once_from_many_threads_are_one() {
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    let client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                running.server.stop(Duration::ZERO);
                assert!(running.server.wait(Some(DEADLINE)));
                running.server.stop(Duration::from_secs(5));
                assert!(running.server.is_closed());
            });
        }
    });
    assert_eq!(connection.reason(), Some(CloseReason::Stopped));
    assert_eq!(closed(&running.server), [(CloseReason::Stopped, 1)]);
}

#[test]
fn a_second_start_changes_nothing() {
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    running.server.start(&running.io.workers).unwrap();
    running.server.clone().start(&running.io.workers).unwrap();
    assert_echoes(running.address());
    running.wait_closed_for(CloseReason::Finished, 1);
    assert_eq!(running.server.stats().accepted, 1);
}

#[test]
fn waiting_is_bounded_and_does_not_stop_anything() {
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    let (start, limit) = (Instant::now(), Duration::from_millis(50));
    assert!(!running.server.wait(Some(limit)));
    assert!(start.elapsed() >= limit);
    assert_echoes(running.address());
}

#[test]
fn closed_is_a_future_too() {
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    let (before, server) = (running.server.closed(), running.server.clone());
    let waiting = crate::support::peers::spawn(move || block_on(before));
    server.stop(Duration::ZERO);
    waiting.join().unwrap();
    block_on(server.closed());
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

/// Clients that come between bind and start are not lost.
#[test]
fn clients_may_come_before_the_start() {
    let echo = Echo::start();
    let server = Server::bind(to(echo.address())).unwrap();
    let mut early = Peer::connect(at(&server));
    early.send(b"early");
    let io = IoThreads::start(1);
    server.start(&io.workers).unwrap();
    assert_eq!(early.receive_exactly(5), b"early");
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
}

/// RS-05: A client that resets before it is accepted harms nobody.
/// RS-06: A client whose address cannot be read any more is no error of the server.
///
/// Clients that reset before they are accepted have no name any more.
#[test]
fn resets_in_the_backlog_are_survived() {
    let echo = Echo::start();
    let server = Server::bind(to(echo.address())).unwrap();
    for number in 0..50 {
        let mut client = Peer::connect(at(&server));
        if number % 2 == 0 {
            client.send(b"bytes before the reset");
        }
        client.reset();
    }
    let io = IoThreads::start(1);
    server.start(&io.workers).unwrap();
    assert_echoes(at(&server));
    until("all have ended", || server.stats().active == 0);
    let expected = [CloseReason::ClientGone, CloseReason::ClientReset, CloseReason::Finished];
    assert!(closed(&server).iter().all(|(reason, _)| expected.contains(reason)), "{:?}", closed(&server));
    assert_eq!(server.stats().closed_for(CloseReason::Finished), 1);
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
}

#[test]
fn servers_that_share_their_threads_do_not_share_their_fate() {
    let echo = Echo::start();
    let io = IoThreads::start(2);
    let servers: Vec<_> = (0..10).map(|_| Running::start_on(&io, to(echo.address()))).collect();
    let mut clients: Vec<_> = servers.iter().map(|running| Peer::connect(running.address())).collect();
    for client in &mut clients {
        client.send(b"x");
        assert_eq!(client.receive_exactly(1), b"x");
    }
    for running in &servers[..5] {
        running.server.stop(Duration::ZERO);
        assert!(running.server.wait(Some(DEADLINE)));
    }
    for client in &mut clients[..5] {
        client.expect(End::Reset);
    }
    for (client, running) in clients[5..].iter_mut().zip(&servers[5..]) {
        client.send(b"y");
        assert_eq!(client.receive_exactly(1), b"y");
        assert_echoes(running.address());
    }
}

/// The threads live as long as somebody needs them: the server does.
#[test]
fn a_server_keeps_its_threads() {
    let echo = Echo::start();
    let server = Server::bind(to(echo.address())).unwrap();
    let workers = Workers::start(1).unwrap();
    server.start(&workers).unwrap();
    drop(workers);
    assert_echoes(at(&server));
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
}

#[test]
fn figures_add_up() {
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    for _ in 0..7 {
        assert_echoes(running.address());
    }
    let live = Peer::connect(running.address());
    let connection = running.connection_of(live.name());
    until("it is open", || connection.state() == State::Open);
    until("seven have ended", || running.server.stats().active == 1);
    connection.abort();
    running.wait_closed_for(CloseReason::Aborted, 1);
    let stats = running.server.stats();
    assert_eq!(stats.accepted, 8);
    assert_eq!(stats.closed.len(), CloseReason::ALL.len());
    assert_eq!(closed(&running.server), [(CloseReason::Finished, 7), (CloseReason::Aborted, 1)]);
    assert_eq!((stats.to_upstream.delivered, stats.to_client.delivered), (28, 28));
    assert_eq!((stats.accept_errors, stats.accept_paused), (0, false));
}

/// LC-01: Starts and stops leave no descriptor and no thread behind.
///
/// 500 starts and stops, each with a connection that lives when the stop comes, leave no descriptor.
#[test]
fn starting_and_stopping_leaves_nothing_behind() {
    alone(concat!(module_path!(), "::starting_and_stopping_leaves_nothing_behind"), || {
        let upstream = Upstream::new();
        let io = IoThreads::start(2);
        let once = || {
            let running = Running::start_on(&io, to(upstream.address()));
            let mut client = Peer::connect(running.address());
            let server = upstream.accept();
            running.server.stop(Duration::ZERO);
            assert!(running.server.wait(Some(DEADLINE)));
            client.expect(End::Reset);
            drop(server);
        };
        once();
        let (descriptors, threads) = (kernel::descriptors(), kernel::threads());
        for _ in 0..500 {
            once();
        }
        until("descriptors are back", || kernel::descriptors() == descriptors);
        assert_eq!(kernel::threads(), threads);
    });
}

/// Whichever way connections end, and workers with them.
#[test]
fn ended_connections_and_workers_leave_nothing_behind() {
    alone(concat!(module_path!(), "::ended_connections_and_workers_leave_nothing_behind"), || {
        let (upstream, silent, nobody) = (Upstream::new(), Silent::new(), Unserved::new());
        let (descriptors, threads) = (kernel::descriptors(), kernel::threads());
        for _ in 0..8 {
            let io = IoThreads::start(3);
            let running = Running::start_on(&io, to(upstream.address()));
            for way in 0..5 {
                let client = Peer::connect(running.address());
                let server = upstream.accept();
                match way {
                    0 => client.reset(),
                    1 => server.reset(),
                    2 => {
                        client.half_close();
                        server.half_close();
                    }
                    3 => running.server.connections().iter().for_each(interpose::live::handle::Connection::close),
                    _ => running.server.connections().iter().for_each(interpose::live::handle::Connection::abort),
                }
                until("it has ended", || running.server.stats().active == 0);
            }
            let waiting = Running::start_on(&io, to(silent.address()));
            let refused = Running::start_on(&io, to(nobody.address()));
            let client = Peer::connect(waiting.address());
            Peer::connect_and_be_reset(refused.address());
            until("it was accepted", || waiting.server.stats().active == 1);
            drop((running, waiting, refused, client, io));
        }
        until("descriptors are back", || kernel::descriptors() == descriptors);
        until("threads are back", || kernel::threads() == threads);
    });
}

/// AC-01 and AC-06, of the core alone: out of descriptors, the listener waits without spinning, and goes on when there are some.
#[test]
fn running_out_of_descriptors_is_waited_out() {
    alone(concat!(module_path!(), "::running_out_of_descriptors_is_waited_out"), || runs_out_of_descriptors("127.0.0.1"));
}

/// The same where the upstream's name has to be looked up, which takes a descriptor too.
#[test]
fn running_out_of_descriptors_for_a_name_is_waited_out() {
    alone(concat!(module_path!(), "::running_out_of_descriptors_for_a_name_is_waited_out"), || {
        runs_out_of_descriptors("localhost");
    });
}

fn runs_out_of_descriptors(host: &str) {
    // Nobody accepts here: connecting to its backlog is enough, and takes no descriptor of this process.
    let upstream = Upstream::new();
    let mut config = to(upstream.address());
    forward(&mut config).address = format!("{host}:{}", upstream.address().port()).parse().unwrap();
    config.limits = Limits { max_connections: Some(1000) };
    let server = Server::bind(config).unwrap();
    let io = IoThreads::start(1);
    let clients: Vec<_> = (0..60).map(|_| Peer::connect(at(&server))).collect();
    let (limit, before) = (getrlimit(Resource::Nofile), io.usage());
    let few = Rlimit { current: Some(kernel::descriptors() as u64 + 10), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    server.start(&io.workers).unwrap();
    until("the listener pauses", || server.stats().accept_paused);
    pass(Duration::from_secs(1));
    let stats = server.stats();
    setrlimit(Resource::Nofile, limit).unwrap();
    let cpu = io.usage().cpu - before.cpu;
    assert!(stats.accept_paused && (1..20).contains(&stats.active), "{stats:?}");
    assert!(stats.accept_errors < 40, "{} failed accepts in a second", stats.accept_errors);
    assert!(cpu < Duration::from_millis(100), "{cpu:?} of processor time in a second");
    // A client is accepted only with a descriptor for its upstream; the first of all finds out that they are few.
    // The rest was left waiting, and is served.
    let failed = server.stats().closed_for(CloseReason::FdExhausted);
    assert!(failed <= 2, "{:?}", closed(&server));
    until("all clients are served", || server.stats().active as u64 + failed == 60);
    assert!(!server.stats().accept_paused);
    drop(clients);
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
}

/// A lookup that fails for lack of a descriptor is told as that, and is no answer for those who come later.
#[test]
fn a_lookup_without_a_descriptor_says_nothing_about_the_name() {
    alone(concat!(module_path!(), "::a_lookup_without_a_descriptor_says_nothing_about_the_name"), || {
        let upstream = Upstream::new();
        let mut config = to(upstream.address());
        forward(&mut config).address = format!("localhost:{}", upstream.address().port()).parse().unwrap();
        let server = Server::bind(config).unwrap();
        let io = IoThreads::start(1);
        let mut client = Peer::connect(at(&server));
        let limit = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(kernel::descriptors() as u64 + 10), maximum: limit.maximum };
        setrlimit(Resource::Nofile, few).unwrap();
        let mut taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        // For the server's clock, and for the client.
        taken.truncate(taken.len() - 2);
        server.start(&io.workers).unwrap();
        client.expect(End::Reset);
        until("it has ended", || server.stats().active == 0);
        assert_eq!(closed(&server), [(CloseReason::FdExhausted, 1)]);
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut client = Peer::connect(at(&server));
        client.send(b"x");
        assert_eq!(upstream.accept().receive_exactly(1), b"x");
        server.stop(Duration::ZERO);
        assert!(server.wait(Some(DEADLINE)));
    });
}

/// LC-12: The port of a server can be bound again as soon as it has stopped.
///
/// Also when it has just had connections.
#[test]
fn a_port_is_free_again_after_the_stop() {
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    let address = running.address();
    let mut client = Peer::connect(address);
    client.send(b"x");
    assert_eq!(client.receive_exactly(1), b"x");
    // The server's side closes first, so that TIME_WAIT is on our port.
    running.connection_of(client.name()).close();
    client.expect(End::Eof);
    drop((client, running));
    let again = Config::new(address.into(), Forward::to(echo.address()));
    assert_echoes(Running::start(again).address());
}
