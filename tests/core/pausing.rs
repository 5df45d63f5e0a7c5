//! A listener that refuses clients for a while, as a server does that is not running, and keeps its address.
#![cfg(unix)]

use std::{
    io::ErrorKind as Kind,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use interpose::{
    server::Server,
    settings::{config::Config, forward::Forward},
    threads::workers::Workers,
    words::{addr::Address, error::ErrorKind},
};

use crate::{
    connect::assert_echoes,
    support::{
        folder::Folder,
        peers::{DEADLINE, Peer, until},
        running::{Running, to},
        upstreams::{Echo, Upstream, is_refused},
    },
};

fn at(server: &Server) -> SocketAddr {
    server.address().inet().unwrap()
}

fn assert_kept(address: SocketAddr) {
    // With SO_REUSEADDR, as the standard library has it.
    let error = TcpListener::bind(address).unwrap_err();
    assert_eq!(error.kind(), Kind::AddrInUse, "another program could take {address}");
}

#[test]
fn clients_are_refused_connections_live_on_and_the_address_is_kept() {
    let echo = Echo::start();
    for host in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let running = Running::start(Config { listen: host.parse().unwrap(), ..to(echo.address()) });
        let port = at(&running.server).port();
        let address = format!("{}:{port}", if host.starts_with('[') { "[::1]" } else { "127.0.0.1" }).parse().unwrap();
        let mut before = Peer::connect(address);
        until("it is accepted", || running.server.stats().active == 1);
        for _ in 0..3 {
            running.server.pause_listening().unwrap();
            running.server.pause_listening().unwrap();
            assert!(!running.server.is_listening());
            assert!(is_refused(address) && is_refused(address));
            assert_kept(at(&running.server));
            before.send(b"still");
            assert_eq!(before.receive_exactly(5), b"still");
            running.server.resume_listening().unwrap();
            running.server.resume_listening().unwrap();
            assert!(running.server.is_listening());
            assert_echoes(address);
        }
    }
}

#[test]
fn a_given_port_and_both_loopbacks_pause_as_well() {
    let echo = Echo::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = Running::start(Config { listen: free.into(), ..to(echo.address()) });
    running.server.pause_listening().unwrap();
    assert!(is_refused(free));
    running.server.resume_listening().unwrap();
    assert_echoes(free);

    let running = Running::start(Config { listen: "localhost:0".parse().unwrap(), ..to(echo.address()) });
    let port = at(&running.server).port();
    running.server.pause_listening().unwrap();
    for host in ["127.0.0.1", "[::1]"] {
        assert!(is_refused(format!("{host}:{port}").parse().unwrap()), "{host}");
    }
    running.server.resume_listening().unwrap();
    assert_echoes(SocketAddr::new("127.0.0.1".parse().unwrap(), port));
}

#[test]
fn a_server_may_be_paused_before_it_starts_and_stopped_while_it_is_paused() {
    let echo = Echo::start();
    let server = Server::bind(to(echo.address())).unwrap();
    let address = at(&server);
    server.pause_listening().unwrap();
    assert!(is_refused(address));
    let workers = Workers::start(1).unwrap();
    server.start(&workers).unwrap();
    assert!(is_refused(address));
    server.resume_listening().unwrap();
    assert_echoes(address);
    server.pause_listening().unwrap();
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
    TcpListener::bind(address).expect("a stopped server keeps no address");
    for error in [server.pause_listening().unwrap_err(), server.resume_listening().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Stopped);
    }
}

/// A client whose connect has succeeded is served, at whatever moment the pause comes. One that comes at the moment of the
/// pause may be refused a second late, when its kernel tries again.
#[test]
fn a_connect_is_refused_or_served() {
    const CLIENTS: usize = 3;
    let echo = Echo::start();
    let running = Running::start(to(echo.address()));
    let address = running.address();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    match TcpStream::connect(address) {
                        Err(error) => assert_eq!(error.kind(), Kind::ConnectionRefused, "{error}"),
                        Ok(client) => {
                            let mut client = Peer::new(client);
                            client.send(b"x");
                            assert_eq!(client.receive_exactly(1), b"x");
                            served.fetch_add(1, Relaxed);
                        }
                    }
                }
            });
        }
        for _ in 0..4 {
            running.server.pause_listening().unwrap();
            running.server.resume_listening().unwrap();
            let so_far = served.load(Relaxed);
            until("a client is served", || served.load(Relaxed) > so_far);
        }
        is_over.store(true, Relaxed);
    });
}

#[test]
fn a_unix_socket_refuses_as_well_and_keeps_its_permissions() {
    let (folder, echo) = (Folder::new(), Echo::start());
    let running = Running::start(Config::new(folder.address("listener"), Forward::to(echo.address())));
    let path = folder.path("listener");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    for _ in 0..3 {
        running.server.pause_listening().unwrap();
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), Kind::ConnectionRefused);
        running.server.resume_listening().unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    drop(running);
    until("the file is removed", || !path.exists());
}

#[test]
fn a_socket_that_the_process_was_started_with_goes_on() {
    use std::os::fd::AsRawFd;
    let (given, upstream) = (TcpListener::bind("127.0.0.1:0").unwrap(), Upstream::new());
    let number = u32::try_from(given.as_raw_fd()).unwrap();
    let running = Running::start(Config { listen: Address::Descriptor(number), ..to(upstream.address()) });
    let error = running.server.pause_listening().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let client = Peer::connect(given.local_addr().unwrap());
    drop((upstream.accept(), client));
}
