//! Upstreams that hooks have connected by themselves.

use std::{
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, mpsc},
};

use interpose::{
    hooks::Decision,
    settings::{config::Config, forward::Forward},
    words::{
        addr::SocketName,
        direction::Direction::{ToClient, ToUpstream},
        outcome::CloseReason,
    },
};

use super::{
    Pair, Site,
    accepting::{PLACES, deciding, is_refused_by},
};
use crate::support::{
    folder::Folder,
    peers::{DEADLINE, End, Peer, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

#[test]
fn a_connected_socket_is_adopted() {
    for interest in PLACES {
        let elsewhere = Upstream::new();
        let target = elsewhere.address();
        let names = Arc::new(Mutex::new(None));
        let given = names.clone();
        let decide = move || {
            let socket = TcpStream::connect(target).unwrap();
            *given.lock().unwrap() = socket.local_addr().ok();
            Decision::Connected(socket.into())
        };
        let site = Site::start(deciding(decide), interest);
        let (client, connection) = site.client();
        let mut pair = Pair { client, upstream: elsewhere.accept(), connection };
        pair.pass(ToUpstream, b"there", b"there");
        pair.pass(ToClient, b"back", b"back");
        let upstream = pair.connection.upstream().unwrap();
        assert_eq!(upstream.peer.inet(), Some(target));
        assert_eq!(upstream.local.inet(), *names.lock().unwrap());
        assert_eq!(upstream.local.inet(), Some(pair.upstream.remote()));
        pair.upstream.reset();
        pair.client.expect(End::Reset);
        assert_eq!(wait_end(&pair.connection), CloseReason::UpstreamReset);
    }
}

/// Sockets that hooks connect to a listener which leads back here: known only once they are given.
#[test]
fn a_loop_of_connected_sockets_is_cut() {
    for interest in PLACES {
        let back = Arc::new(Mutex::new(None));
        let target = Arc::clone(&back);
        let decide = move || Decision::Connected(TcpStream::connect(target.lock().unwrap().unwrap()).unwrap().into());
        let hooked = Running::bind_hooked(to(([127, 0, 0, 1], 1).into()), Arc::new(deciding(decide)), interest, 1);
        let through = Running::start_on(&hooked.io, to(hooked.address()));
        *back.lock().unwrap() = Some(through.address());
        hooked.server.start(&hooked.io.workers).unwrap();
        Peer::connect_and_be_reset(hooked.address());
        let servers = [&hooked.server, &through.server];
        until("every connection has ended", || servers.iter().all(|server| server.stats().active == 0));
        let accepted: u64 = servers.iter().map(|server| server.stats().accepted).sum();
        assert!(accepted <= 16, "{accepted} connections");
        assert!(servers.iter().any(|server| server.stats().closed_for(CloseReason::LoopDetected) > 0));
    }
}

/// A socket that connects to a path has no name there: it is known by what the system says of it.
#[cfg(target_os = "linux")]
#[test]
fn a_loop_of_connected_unix_sockets_is_cut() {
    for interest in PLACES {
        let folder = Folder::new();
        let path = folder.path("through");
        let decide = move || Decision::Connected(UnixStream::connect(&path).unwrap().into());
        let mut config = to(([127, 0, 0, 1], 1).into());
        config.listen = folder.address("hooked");
        let hooked = Running::bind_hooked(config, Arc::new(deciding(decide)), interest, 1);
        let through = Config::new(folder.address("through"), Forward::to(folder.address("hooked")));
        let through = Running::start_on(&hooked.io, through);
        hooked.server.start(&hooked.io.workers).unwrap();
        let mut client = folder.connect("hooked");
        assert!(!matches!(client.receive(&mut [0]), Ok(1..)), "it ends");
        client.close();
        let servers = [&hooked.server, &through.server];
        until("every connection has ended", || servers.iter().all(|server| server.stats().active == 0));
        let accepted: u64 = servers.iter().map(|server| server.stats().accepted).sum();
        assert!(accepted <= 16, "{accepted} connections");
        assert!(servers.iter().any(|server| server.stats().closed_for(CloseReason::LoopDetected) > 0));
    }
}

/// The peer's name is forgotten by then, which is no reason not to read what it has sent.
#[test]
fn a_connected_socket_that_has_ended_before_it_is_given_says_its_last_words() {
    for (interest, resets) in [(PLACES[0], true), (PLACES[0], false), (PLACES[1], true), (PLACES[1], false)] {
        let elsewhere = Upstream::new();
        let socket = TcpStream::connect(elsewhere.address()).unwrap();
        let mut peer = elsewhere.accept();
        peer.send(b"last words");
        if resets {
            peer.reset();
        } else {
            socket.shutdown(Shutdown::Write).unwrap();
            peer.expect(End::Eof);
            peer.close();
        }
        until("its peer has ended", || socket.peer_addr().is_err());
        // Given once the client is looked at: all of it may be over in no time.
        let (give, given) = mpsc::sync_channel::<TcpStream>(1);
        let given = Mutex::new(given);
        let decide = move || Decision::Connected(given.lock().unwrap().recv_timeout(DEADLINE).unwrap().into());
        let site = Site::start(deciding(decide), interest);
        let (mut client, connection) = site.client();
        give.send(socket).unwrap();
        assert_eq!(client.receive_exactly(10), b"last words");
        client.expect(if resets { End::Reset } else { End::Eof });
        // What has ended both ways takes an end as little as bytes.
        client.half_close();
        assert_eq!(wait_end(&connection), CloseReason::UpstreamReset);
        assert_eq!(connection.upstream().unwrap().peer.to_string(), "0.0.0.0:0", "nobody knows it any more");
    }
}

#[test]
fn a_connected_unix_socket_is_adopted() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let given = Mutex::new(Some(ours));
    let decide = move || Decision::Connected(given.lock().unwrap().take().unwrap().into());
    let site = Site::start(deciding(decide), PLACES[1]);
    let (client, connection) = site.client();
    let mut pair = Pair { client, upstream: Peer::unix(theirs), connection };
    pair.pass(ToUpstream, b"there", b"there");
    pair.pass(ToClient, b"back", b"back");
    let unnamed = SocketName::Unix(String::new());
    let names = pair.connection.upstream().unwrap();
    assert_eq!((names.peer, names.local), (unnamed.clone(), unnamed));
    pair.client.half_close();
    pair.upstream.expect(End::Eof);
    pair.upstream.close();
    pair.client.expect(End::Eof);
    assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
}

#[test]
fn a_socket_that_is_not_connected_fails_its_connection_only() {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    is_refused_by(move || deciding(move || Decision::Connected(socket())), CloseReason::ConnectFailed);
}
