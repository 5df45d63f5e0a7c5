//! Connections that would go round in circles: CN-17 and CN-18.

use std::{net::SocketAddr, time::Duration};

use interpose::{
    server::Server,
    settings::{config::Config, forward::Forward},
    words::{error::ErrorKind, outcome::CloseReason},
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::{
    connect::failed_connection,
    support::{
        folder::Folder,
        own_process::{alone_under, is_possible},
        peers::{Peer, until},
        running::{IoThreads, Running},
        upstreams::{Unserved, is_refused},
    },
};

/// A port that is ours to listen on, on every address.
struct Port(Socket);

impl Port {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SockAddr::from("[::]:0".parse::<SocketAddr>().unwrap())).unwrap();
        Self(socket)
    }

    fn number(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }
}

fn bind(listen: &str, target: &str) -> Result<Server, interpose::words::error::Error> {
    Server::bind(Config::new(listen.parse().unwrap(), Forward::to(target.parse::<interpose::words::addr::Address>().unwrap())))
}

/// CN-18: Servers that forward to themselves, or round in a ring, are refused at the start or cut soon.
#[test]
fn the_own_listener_is_refused_as_target_where_that_is_certain() {
    let spellings = [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.9.9.9"),
        ("0.0.0.0", "0.0.0.0"),
        ("[::]", "[::1]"),
        ("[::]", "[::]"),
        ("[::]", "127.0.0.1"),
        ("localhost", "localhost"),
    ];
    for (listen, target) in spellings {
        let port = Port::new();
        let (listen, target) = (format!("{listen}:{}", port.number()), format!("{target}:{}", port.number()));
        let error = bind(&listen, &target).expect_err(&format!("{listen} -> {target}"));
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("the listener's own address"), "{error}");
    }
}

/// A listener on every IPv4 address says nothing about IPv6: offering a service of the other family is legitimate.
#[test]
fn another_family_is_another_target() {
    let upstream = std::net::TcpListener::bind("[::1]:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    let server = bind(&format!("0.0.0.0:{port}"), &format!("[::1]:{port}")).unwrap();
    let io = IoThreads::start(1);
    server.start(&io.workers).unwrap();
    let mut client = Peer::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    let mut side = Peer::new(upstream.accept().unwrap().0);
    client.send(b"over");
    assert_eq!(side.receive_exactly(4), b"over");
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(crate::support::peers::DEADLINE)));
}

/// Where only the connection shows it, the connection is ended, once.
#[test]
fn the_own_listener_is_found_out_by_the_first_connection() {
    let spellings = [
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "[::ffff:127.0.0.1]"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "localhost"),
        ("[::]", "[::ffff:127.0.0.1]"),
        ("[::]", "0.0.0.0"),
    ];
    for (listen, target) in spellings {
        let port = Port::new();
        let (listen, target) = (format!("{listen}:{}", port.number()), format!("{target}:{}", port.number()));
        let server = match bind(&listen, &target) {
            Ok(server) => server,
            Err(error) => {
                // Found out even earlier: better still.
                assert_eq!(error.kind(), ErrorKind::Config, "{error}");
                continue;
            }
        };
        let io = IoThreads::start(1);
        server.start(&io.workers).unwrap();
        Peer::connect_and_be_reset(SocketAddr::from(([127, 0, 0, 1], port.number())));
        let stats = || server.stats();
        until(&format!("{listen} -> {target} has ended"), || stats().active == 0);
        assert!(stats().closed_for(CloseReason::LoopDetected) >= 1, "{listen} -> {target}: {:?}", stats());
        assert!(stats().accepted <= 16, "{listen} -> {target}: {:?}", stats());
        server.stop(Duration::ZERO);
        assert!(server.wait(Some(crate::support::peers::DEADLINE)));
    }
}

#[test]
fn a_loop_through_two_listeners_is_cut() {
    let (first, second) = (Port::new(), Port::new());
    let local = |port: &Port| format!("127.0.0.1:{}", port.number());
    let io = IoThreads::start(1);
    let servers = [bind(&local(&first), &local(&second)).unwrap(), bind(&local(&second), &local(&first)).unwrap()];
    for server in &servers {
        server.start(&io.workers).unwrap();
    }
    Peer::connect_and_be_reset(local(&first).parse().unwrap());
    let accepted = || servers.iter().map(|server| server.stats().accepted).sum::<u64>();
    until("every connection of the loop has ended", || servers.iter().all(|server| server.stats().active == 0));
    let cut: u64 = servers.iter().map(|server| server.stats().closed_for(CloseReason::LoopDetected)).sum();
    assert_eq!(cut, 1);
    assert!((3..=16).contains(&accepted()), "{} connections", accepted());
    for server in &servers {
        server.stop(Duration::ZERO);
        assert!(server.wait(Some(crate::support::peers::DEADLINE)));
    }
}

/// Servers that forward to each other in a ring, and how many connections one client of the first became.
fn connections_of_one(configs: Vec<Config>, enter: impl FnOnce()) -> u64 {
    let io = IoThreads::start(2);
    let servers: Vec<Server> = configs.into_iter().map(|config| Server::bind(config).unwrap()).collect();
    servers.iter().for_each(|server| server.start(&io.workers).unwrap());
    enter();
    until("every connection of the loop has ended", || servers.iter().all(|server| server.stats().active == 0));
    let cut: u64 = servers.iter().map(|server| server.stats().closed_for(CloseReason::LoopDetected)).sum();
    assert!(cut >= 1);
    for server in &servers {
        server.stop(Duration::ZERO);
        assert!(server.wait(Some(crate::support::peers::DEADLINE)));
    }
    servers.iter().map(|server| server.stats().accepted).sum()
}

#[test]
fn a_loop_is_cut_whatever_its_addresses_are_spelled_like() {
    let spellings: [(&str, &str, Option<&str>); 6] = [
        ("0.0.0.0", "127.0.0.2", None),
        ("0.0.0.0", "127.0.0.2", Some("127.0.0.9")),
        ("[::]", "127.0.0.3", None),
        ("[::]", "[::ffff:127.0.0.5]", None),
        ("[::]", "localhost", None),
        ("[::]", "[::]", None),
    ];
    for (listen, target, source) in spellings {
        for servers in [2, 3] {
            let ports: Vec<Port> = (0..servers).map(|_| Port::new()).collect();
            let config = |number: usize| {
                let (own, next) = (ports[number].number(), ports[(number + 1) % servers].number());
                let target = format!("{target}:{next}").parse::<interpose::words::addr::Address>().unwrap();
                let mut config = Config::new(format!("{listen}:{own}").parse().unwrap(), Forward::to(target));
                crate::support::running::forward(&mut config).source = source.map(|source| source.parse().unwrap());
                config
            };
            let first = SocketAddr::from(([127, 0, 0, 1], ports[0].number()));
            let many = connections_of_one((0..servers).map(config).collect(), || Peer::connect_and_be_reset(first));
            assert!(many <= 9, "{listen} -> {target} from {source:?}, {servers} servers: {many} connections");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_loop_through_unix_sockets_is_cut() {
    for servers in [2, 3] {
        let folder = Folder::new();
        let names: Vec<String> = (0..servers).map(|number| format!("s{number}")).collect();
        let configs = (0..servers).map(|number| {
            Config::new(folder.address(&names[number]), Forward::to(folder.address(&names[(number + 1) % servers])))
        });
        let many = connections_of_one(configs.collect(), || {
            let mut client = folder.connect(&names[0]);
            assert!(client.receive(&mut [0]).is_err(), "it ends");
        });
        assert!(many <= 9, "{servers} servers: {many} connections");
    }
}

/// A chain is not a loop: five servers, one behind the other.
#[test]
fn a_chain_of_listeners_works() {
    let echo = crate::support::upstreams::Echo::start();
    let io = IoThreads::start(1);
    let mut chain = vec![Running::start_on(&io, crate::support::running::to(echo.address()))];
    for _ in 0..4 {
        let next = Running::start_on(&io, crate::support::running::to(chain.last().unwrap().address()));
        chain.push(next);
    }
    crate::connect::assert_echoes(chain.last().unwrap().address());
    for running in &chain {
        running.wait_closed_for(CloseReason::Finished, 1);
    }
}

/// Also where each is a path of its own: a client without a name is one hop further than nobody.
#[cfg(unix)]
#[test]
fn a_chain_of_unix_listeners_works() {
    let (echo, folder) = (crate::support::upstreams::Echo::start(), Folder::new());
    let io = IoThreads::start(1);
    let names: Vec<String> = (0..6).map(|number| format!("s{number}")).collect();
    let first = Config::new(folder.address(&names[0]), Forward::to(echo.address()));
    let next = names.windows(2).map(|pair| Config::new(folder.address(&pair[1]), Forward::to(folder.address(&pair[0]))));
    let chain: Vec<Running> = std::iter::once(first).chain(next).map(|config| Running::start_on(&io, config)).collect();
    for _ in 0..3 {
        let mut client = folder.connect(&names[5]);
        client.send(b"hello");
        assert_eq!(client.receive_exactly(5), b"hello");
    }
    for running in &chain {
        running.wait_closed_for(CloseReason::Finished, 3);
    }
}

/// Four local ports, one of them the target's: TCP connects to itself soon.
const FEW_PORTS: &[&str] = &[
    "unshare",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    "ip link set lo up && echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"",
    "sh",
];

/// Ended by a reset: TIME_WAIT would keep the next from connecting to itself.
fn connects_to_itself(target: SocketAddr) -> bool {
    let Ok(stream) = std::net::TcpStream::connect(target) else { return false };
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    stream.local_addr().unwrap() == stream.peer_addr().unwrap()
}

/// Clients come through a Unix socket, because they would take ports too.
fn all_are_refused(target: SocketAddr, clients: u64) {
    let folder = Folder::new();
    let mut config = crate::support::running::to(target);
    config.listen = folder.address("listener");
    let running = Running::start(config);
    for _ in 0..clients {
        let mut client = folder.connect("listener");
        let _ = client.try_send(b"who is there?");
        let mut answer = [0; 64];
        assert!(!matches!(client.receive(&mut answer), Ok(1..)), "the client got its own bytes back");
    }
    running.wait_closed_for(CloseReason::Refused, clients);
}

/// CN-17: A socket that TCP has connected to itself counts as refused.
#[test]
fn a_connection_to_itself_is_refused() {
    if !is_possible(FEW_PORTS) {
        // Then by chance only, so more for the form than for the find.
        return all_are_refused(Unserved::new().address(), 500);
    }
    alone_under(FEW_PORTS, concat!(module_path!(), "::a_connection_to_itself_is_refused"), || {
        // Unspecified targets have ports of their own: what connected to itself before leaves TIME_WAIT behind.
        for target in ["127.0.0.1:40002", "[::1]:40002", "0.0.0.0:40000", "[::]:40000"] {
            let address: SocketAddr = target.parse().unwrap();
            assert!((0..200).any(|_| connects_to_itself(address)), "{target}: the provocation does not provoke");
            all_are_refused(address, 200);
            assert!((0..20).any(|_| is_refused(address)), "{target}");
            assert_eq!(failed_connection_of(address), format!("cannot connect to {target}: connection refused"));
        }
    });
}

fn failed_connection_of(target: SocketAddr) -> String {
    let running = Running::start(crate::support::running::to(target));
    failed_connection(&running).error().unwrap()
}
