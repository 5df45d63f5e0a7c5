//! CN-19: Unix sockets serve at either end; they have no reset, so an abort is a close there.

use std::{
    fs,
    io::{self, IoSlice},
    net::SocketAddr,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixName, UnixListener, UnixStream},
    },
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use interpose::{
    live::handle::State,
    server::Server,
    settings::{config::Config, forward::Forward},
    words::{
        addr::{Address, SocketName},
        direction::Direction,
        error::{Error, ErrorKind},
        outcome::CloseReason,
    },
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::{
    conformance::{BUFFER, held, whole},
    connect::failed_connection,
    support::{
        folder::{Folder, accept, bounded},
        own_process::alone,
        pattern::Pattern,
        peers::{DEADLINE, End, Peer, spawn, until},
        running::{Running, forward, to, wait_end},
        upstreams::{Unserved, Upstream},
    },
};

const MIB: u64 = 1 << 20;

fn between(folder: &Folder) -> (UnixListener, Running) {
    let upstream = folder.listen("upstream");
    let running = Running::start(Config::new(folder.address("listener"), Forward::to(folder.address("upstream"))));
    (upstream, running)
}

#[test]
fn every_byte_and_both_ends_pass_between_unix_sockets() {
    let folder = Folder::new();
    let (upstream, running) = between(&folder);
    let mut client = folder.connect("listener");
    let mut server = accept(&upstream);
    until("the connection is open", || running.server.connections()[0].state() == State::Open);
    let connection = running.server.connections().remove(0);
    assert_eq!(connection.client().peer, SocketName::Unix(String::new()));
    assert_eq!(Address::from(connection.client().local), folder.address("listener"));
    assert_eq!(Address::from(connection.upstream().unwrap().peer), folder.address("upstream"));
    thread::scope(|scope| {
        scope.spawn(|| {
            client.send_pattern(&mut Pattern::new(1), 8 * MIB, || 70_000);
            client.half_close();
        });
        assert_eq!(server.receive_to_end(&mut Pattern::new(1)), (8 * MIB, End::Eof));
    });
    thread::scope(|scope| {
        scope.spawn(move || server.send_pattern(&mut Pattern::new(2), 8 * MIB, || 70_000));
        assert_eq!(client.receive_to_end(&mut Pattern::new(2)), (8 * MIB, End::Eof));
    });
    assert_eq!(wait_end(&connection), CloseReason::Finished);
    assert_eq!(connection.ledger(Direction::ToUpstream), whole(8 * MIB));
    assert_eq!(connection.ledger(Direction::ToClient), whole(8 * MIB));
}

/// A read ends behind the bytes that descriptors came with. What follows must not wait for the sender's next word.
#[test]
fn bytes_behind_descriptors_are_not_held_up() {
    let folder = Folder::new();
    let (upstream, running) = between(&folder);
    let client = UnixStream::connect(folder.path("listener")).unwrap();
    let mut server = accept(&upstream);
    until("the connection is open", || running.server.connections()[0].state() == State::Open);
    for _ in 0..50 {
        send_with_descriptor(&client, b"abc");
        send_with_descriptor(&client, b"def");
        assert_eq!(server.receive_exactly(6), b"abcdef");
    }
}

fn send_with_descriptor(socket: &UnixStream, bytes: &[u8]) {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [socket.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, bytes.len());
}

#[test]
fn abstract_names_at_both_ends() {
    let name = format!("interpose-test-{}", std::process::id());
    let named = |end: &str| UnixName::from_abstract_name(format!("{name}-{end}")).unwrap();
    let upstream = bounded(UnixListener::bind_addr(&named("upstream")).unwrap());
    let address = |end: &str| format!("unix:@{name}-{end}").parse::<Address>().unwrap();
    let running = Running::start(Config::new(address("listener"), Forward::to(address("upstream"))));
    assert_eq!(running.server.address().to_string(), format!("unix:@{name}-listener"));
    let mut client = Peer::unix(UnixStream::connect_addr(&named("listener")).unwrap());
    let mut server = accept(&upstream);
    client.send(b"hello");
    assert_eq!(server.receive_exactly(5), b"hello");
    server.close();
    client.expect(End::Eof);
}

#[test]
fn a_tcp_reset_ends_a_unix_client_and_the_other_way_round() {
    let (folder, upstream) = (Folder::new(), Upstream::new());
    let mut config = to(upstream.address());
    config.listen = folder.address("listener");
    let running = Running::start(config);
    let mut client = folder.connect("listener");
    let mut server = upstream.accept();
    // A reset that comes before the connect is noticed fails the connect, as it does in a direct client.
    until("the connection is open", || running.server.connections()[0].state() == State::Open);
    server.send(b"half an ans");
    server.wait_acknowledged();
    server.reset();
    assert_eq!(client.receive_exactly(11), b"half an ans");
    // No reset can be had here; the end at least is one for both directions.
    assert!(client.receive(&mut [0]).is_err());
    until("the client cannot write either", || client.try_send(b"x").is_err());
    running.wait_closed_for(CloseReason::UpstreamReset, 1);

    let target = folder.listen("upstream");
    let running = Running::start(Config::new("127.0.0.1:0".parse().unwrap(), Forward::to(folder.address("upstream"))));
    let client = Peer::connect(running.address());
    let mut server = accept(&target);
    until("the connection is open", || running.server.connections()[0].state() == State::Open);
    client.reset();
    assert!(server.receive(&mut [0]).is_err());
    until("the upstream cannot write either", || server.try_send(b"x").is_err());
    running.wait_closed_for(CloseReason::ClientReset, 1);
}

/// A Unix peer that closes with bytes unread, or writes to one who closed: the others get a reset, not an end.
#[test]
fn a_unix_upstream_that_drops_its_client_resets_it() {
    let folder = Folder::new();
    let target = folder.listen("upstream");
    let running = Running::start(Config::new("127.0.0.1:0".parse().unwrap(), Forward::to(folder.address("upstream"))));
    let mut client = Peer::connect(running.address());
    let server = accept(&target);
    until("the connection is open", || running.server.connections()[0].state() == State::Open);
    client.send(b"a request that is never read");
    server.wait_readable();
    server.close();
    client.expect(End::Reset);
    running.wait_closed_for(CloseReason::UpstreamReset, 1);
}

#[test]
fn a_unix_upstream_that_never_reads_stops_the_client() {
    let folder = Folder::new();
    let (upstream, running) = between(&folder);
    let mut client = folder.connect("listener");
    let mut server = accept(&upstream);
    let sent = client.send_until_blocked(&mut Pattern::new(3), 64 * MIB);
    let connection = running.server.connections().remove(0);
    let ledger = connection.ledger(Direction::ToUpstream);
    assert!(held(ledger) > 0 && held(ledger) <= BUFFER, "{ledger:?}");
    assert!(sent < 4 * MIB, "{sent}");
    client.half_close();
    assert_eq!(server.receive_to_end(&mut Pattern::new(3)), (sent, End::Eof));
}

#[test]
fn a_missing_unix_upstream_is_refused() {
    let folder = Folder::new();
    let mut config = to(Unserved::new().address());
    forward(&mut config).address = folder.address("nobody");
    let running = Running::start(config);
    let connection = failed_connection(&running);
    assert_eq!(connection.reason(), Some(CloseReason::Refused));
    let error = connection.error().unwrap();
    assert!(error.starts_with(&format!("cannot connect to {}: ", folder.address("nobody"))), "{error}");
    // A file that a dead program left is as good as none.
    drop(folder.listen("nobody"));
    assert!(folder.path("nobody").exists());
    assert_eq!(failed_connection(&running).reason(), Some(CloseReason::Refused));
}

/// A connect to a Unix listener with a full backlog fails at once instead of waiting; we wait for it.
#[test]
fn a_busy_unix_upstream_is_waited_for() {
    let folder = Folder::new();
    let target = folder.listen("upstream");
    SockRef::from(&target).listen(0).unwrap();
    let running = Running::start(Config::new("127.0.0.1:0".parse().unwrap(), Forward::to(folder.address("upstream"))));
    let clients: Vec<_> = (0..4).map(|_| Peer::connect(running.address())).collect();
    until("all were accepted", || running.server.stats().active == 4);
    let mut servers: Vec<_> = (0..4).map(|_| accept(&target)).collect();
    let mut names: Vec<SocketAddr> = Vec::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        names.push(client.name());
        client.send(&[u8::try_from(number).unwrap()]);
        client.half_close();
    }
    let mut seen: Vec<u8> = servers.iter_mut().map(|server| server.receive_exactly(1)[0]).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
    drop(servers);
    running.wait_closed_for(CloseReason::Finished, 4);
}

fn bind_at(path: &Path) -> Result<Server, Error> {
    let listen = Address::Unix(path.to_str().unwrap().to_owned());
    Server::bind(Config::new(listen, Forward::to(Unserved::new().address())))
}

#[test]
fn a_stale_socket_file_is_replaced_and_removed_in_the_end() {
    let folder = Folder::new();
    let path = folder.path("listener");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = bind_at(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
    drop(server);
    until("the file is gone", || !path.exists());
}

#[test]
fn a_relative_socket_file_is_removed_from_another_folder() {
    alone(concat!(module_path!(), "::a_relative_socket_file_is_removed_from_another_folder"), || {
        let folder = Folder::new();
        std::env::set_current_dir(folder.path("")).unwrap();
        let server = bind_at(Path::new("listener")).unwrap();
        assert_eq!(server.address(), &SocketName::Unix("listener".to_owned()));
        std::env::set_current_dir("/").unwrap();
        assert!(folder.path("listener").exists());
        drop(server);
        assert!(!folder.path("listener").exists());
    });
}

#[test]
fn a_socket_file_in_use_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path("listener");
    let owner = folder.listen("listener");
    let error = bind_at(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    assert!(error.to_string().contains(" listens there"), "{error}");
    let _client = folder.connect("listener");
    accept(&owner);
}

/// A connect to a listener whose backlog is full waits. A bind must not.
#[test]
fn a_socket_file_of_a_busy_owner_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path("listener");
    let owner = folder.listen("listener");
    SockRef::from(&owner).listen(0).unwrap();
    let to = SockAddr::unix(&path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        match client.connect(&to) {
            Ok(()) => waiting.push(client),
            Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(waiting.len() < 20, "the backlog does not fill");
    }
    let (tell, told) = mpsc::sync_channel(1);
    let _binding = spawn(move || tell.send(bind_at(&path).map(drop)));
    let error = told.recv_timeout(DEADLINE).expect("the bind does not wait").unwrap_err();
    assert!(error.to_string().contains(" listens there"), "{error}");
    assert!(folder.path("listener").exists());
}

#[test]
fn another_file_is_never_removed() {
    let folder = Folder::new();
    let path = folder.path("notes");
    fs::write(&path, "mine").unwrap();
    let error = bind_at(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let error = bind_at(&folder.path("no/such/folder")).unwrap_err();
    assert!(error.to_string().contains("the folder does not exist"), "{error}");
}

/// The next program may have taken the name meanwhile: its file is not ours to remove.
#[test]
fn a_successors_socket_file_stays() {
    let folder = Folder::new();
    let path = folder.path("listener");
    let server = bind_at(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let successor = folder.listen("listener");
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(DEADLINE)));
    drop(server);
    let _client = folder.connect("listener");
    accept(&successor);
}
