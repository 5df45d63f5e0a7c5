//! Listening sockets that cannot be had, and what is said then.

use std::{net::SocketAddr, time::Duration};

use interpose::{
    server::Server,
    settings::{config::Config, forward::Forward},
    words::error::{Error, ErrorKind},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    connect::assert_echoes,
    support::{
        folder::Folder,
        own_process::alone,
        peers::Peer,
        running::{IoThreads, Running, forward, loopback, to},
        upstreams::{Echo, Unserved, Upstream, is_refused},
    },
};

fn bind(listen: &str, target: SocketAddr) -> Result<Server, Error> {
    Server::bind(Config::new(listen.parse().unwrap(), Forward::to(target)))
}

/// AC-12: The error of a port in use names the port and, where it can be read, the owner.
#[test]
fn a_port_in_use_is_told_with_its_owner() {
    let owner = Upstream::new();
    let address = owner.address().to_string();
    let error = bind(&address, Unserved::new().address()).unwrap_err();
    assert_eq!((error.kind(), error.os_error()), (ErrorKind::Bind, Some(libc::EADDRINUSE)));
    let message = error.to_string();
    let own_pid = std::process::id().to_string();
    assert!(message.starts_with(&format!("cannot listen on {address}: address already in use; ")), "{message}");
    assert!(message.contains("choose another port") && message.contains(&own_pid), "{message}");
}

/// AC-14: The error of an address of another machine says that this one does not have it.
#[test]
fn an_address_of_another_machine_is_told() {
    let error = bind("203.0.113.7:0", Unserved::new().address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    assert!(error.to_string().contains("this machine has no such address"), "{error}");
}

/// Another address would not help who has no descriptor left.
#[test]
fn a_lack_of_descriptors_is_told_as_such() {
    alone(concat!(module_path!(), "::a_lack_of_descriptors_is_told_as_such"), || {
        let folder = Folder::new();
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).unwrap();
        let refused = [loopback(), folder.address("listener")].map(|listen| {
            let error = Server::bind(Config::new(listen, None)).unwrap_err();
            (error.kind(), error.os_error(), error.to_string())
        });
        setrlimit(Resource::Nofile, limit).unwrap();
        for (kind, os_error, message) in refused {
            assert_eq!((kind, os_error), (ErrorKind::Bind, Some(libc::EMFILE)));
            assert!(message.ends_with("; raise the limit of open files (ulimit -n)"), "{message}");
        }
    });
}

#[test]
fn a_listener_may_have_a_name() {
    let echo = Echo::start();
    let mut config = to(echo.address());
    config.listen = "localhost:0".parse().unwrap();
    let running = Running::start(config);
    assert!(running.address().ip().is_loopback());
    assert_echoes(running.address());
    let error = bind("name.invalid:0", echo.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resolve);
    assert!(error.to_string().starts_with("cannot listen on name.invalid:0: "), "{error}");
}

/// AC-15: With port 0 the real port is known, and open, before the start.
#[test]
fn port_0_is_known_and_open_at_once() {
    let server = bind("127.0.0.1:0", Unserved::new().address()).unwrap();
    let address = server.address().inet().unwrap();
    assert_ne!(address.port(), 0);
    Peer::connect(address);
    drop(server);
    assert!(is_refused(address));
}

/// AC-16, of an IPv6 address that is not `[::]`: it serves itself only.
#[test]
fn an_ipv6_listener_does_not_serve_ipv4() {
    let server = bind("[::1]:0", Unserved::new().address()).unwrap();
    let port = server.address().inet().unwrap().port();
    // IPv4's same port is still to be had.
    drop(bind(&format!("127.0.0.1:{port}"), Unserved::new().address()).unwrap());
}

#[test]
fn a_port_is_shared_only_when_both_ask_for_it() {
    let echo = Echo::start();
    let mut config = to(echo.address());
    config.listening.reuse_port = true;
    let first = Running::start(config.clone());
    config.listen = first.address().into();
    let second = Running::start(config.clone());
    assert_eq!(first.address(), second.address());
    // Between them they serve everybody.
    for _ in 0..20 {
        assert_echoes(first.address());
    }
    assert_eq!(first.server.stats().accepted + second.server.stats().accepted, 20);
    config.listening.reuse_port = false;
    assert_eq!(Server::bind(config).unwrap_err().kind(), ErrorKind::Bind);
}

#[test]
fn settings_that_cannot_work_are_refused_before_a_socket_is_made() {
    let good = to(Unserved::new().address());
    let refused = |change: fn(&mut Config), word: &str| {
        let mut config = good.clone();
        change(&mut config);
        let error = Server::bind(config).expect_err(word);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with(word), "{error}");
    };
    refused(|config| config.listening.backlog = 0, "backlog: ");
    refused(|config| config.limits.max_connections = Some(0), "max_connections: ");
    refused(|config| config.timeouts.half_close = Some(Duration::ZERO), "half_close: ");
    refused(|config| config.timeouts.idle = Some(Duration::ZERO), "idle: ");
    refused(|config| config.timeouts.unacknowledged = Some(Duration::ZERO), "unacknowledged: ");
    refused(|config| forward(config).connect_timeout = Duration::ZERO, "connect_timeout: ");
    refused(|config| forward(config).address = "host:0".parse().unwrap(), "forward_to: ");
}

/// The kernel's queue is as long as was asked for: 40 clients wait for a server that has not started.
#[test]
fn clients_queue_up_to_the_backlog() {
    let echo = Echo::start();
    let mut config = to(echo.address());
    config.listening.backlog = 40;
    let server = Server::bind(config).unwrap();
    let mut clients: Vec<_> = (0..40).map(|_| Peer::connect(server.address().inet().unwrap())).collect();
    let io = IoThreads::start(1);
    server.start(&io.workers).unwrap();
    for client in &mut clients {
        client.send(b"x");
        assert_eq!(client.receive_exactly(1), b"x");
    }
    server.stop(Duration::ZERO);
    assert!(server.wait(Some(crate::support::peers::DEADLINE)));
}
