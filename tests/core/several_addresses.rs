//! Names with several addresses and ports that run out, in namespaces of their own.

use std::{net::SocketAddr, time::Duration};

use interpose::words::outcome::CloseReason;

use crate::{
    connect::{assert_echoes, failed_connection},
    support::{
        folder::Folder,
        own_process::{alone_under, is_possible},
        peers::{DEADLINE, End, Peer},
        running::{Running, forward, to},
        upstreams::{Echo, Silent, Unserved, Upstream},
    },
};

/// A hosts file of the test's own, and nobody else to ask.
const OWN_HOSTS: &[&str] = &[
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs none /mnt && echo 'hosts: files' > /mnt/nsswitch.conf && \
     printf '::1 localhost six-first\\n127.0.0.1 localhost six-first\\n127.0.0.1 two\\n127.0.0.77 two\\n' > /mnt/hosts && \
     mount --bind /mnt/hosts /etc/hosts && mount --bind /mnt/nsswitch.conf /etc/nsswitch.conf && exec \"$@\"",
    "sh",
];

fn towards(name: &str, port: u16) -> Running {
    let mut config = to(Unserved::new().address());
    forward(&mut config).address = format!("{name}:{port}").parse().unwrap();
    forward(&mut config).connect_timeout = DEADLINE * 2;
    Running::start(config)
}

fn at(host: &str, port: u16) -> SocketAddr {
    format!("{host}:{port}").parse().unwrap()
}

/// Far shorter than any system's own patience with a silent address, far longer than a busy machine takes.
fn echoes_soon(running: &Running) {
    let start = std::time::Instant::now();
    assert_echoes(running.address());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

/// CN-11: The next address of a name is tried when one does not answer.
/// CN-12: A silent IPv6 address before a good IPv4 one costs a fraction of a second.
/// CN-13: `localhost` reaches an upstream that listens on IPv4 only.
#[test]
fn every_address_of_a_name_is_tried() {
    if !is_possible(OWN_HOSTS) {
        return;
    }
    alone_under(OWN_HOSTS, concat!(module_path!(), "::every_address_of_a_name_is_tried"), || {
        // ::1 comes first, and nobody is there.
        let echo = Echo::start();
        echoes_soon(&towards("localhost", echo.address().port()));

        // ::1 comes first, and is silent.
        let silent = Silent::at(at("[::1]", 0));
        let _echo = Echo::at(at("127.0.0.1", silent.address().port()));
        echoes_soon(&towards("six-first", silent.address().port()));

        // The first of two IPv4 addresses is silent.
        let silent = Silent::at(at("127.0.0.1", 0));
        let _echo = Echo::at(at("127.0.0.77", silent.address().port()));
        echoes_soon(&towards("two", silent.address().port()));

        // All are refused: the name is told, and the first address's reason.
        let nobody = towards("two", Unserved::new().address().port());
        let connection = failed_connection(&nobody);
        assert_eq!(connection.reason(), Some(CloseReason::Refused));

        // With an answer that is certain.
        let connection = failed_connection(&towards("three", 80));
        assert_eq!(connection.reason(), Some(CloseReason::NameNotFound));
        assert_eq!(connection.error().unwrap(), "cannot connect to three:80: \"three\" does not resolve: no such name");
    });
}

/// A network of its own, so that the range of local ports can be narrowed for it alone.
const OWN_NETWORK: &[&str] = &["unshare", "--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];

fn leave_ports(range: &str) {
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
}

#[test]
fn local_ports_run_out_and_come_back() {
    if !is_possible(OWN_NETWORK) {
        return;
    }
    alone_under(OWN_NETWORK, concat!(module_path!(), "::local_ports_run_out_and_come_back"), || {
        let (folder, upstream) = (Folder::new(), Upstream::new());
        let mut config = to(upstream.address());
        config.listen = folder.address("listener");
        let running = Running::start(config);
        leave_ports("40000 40009");
        let mut open = Vec::new();
        for _ in 0..10 {
            let client = folder.connect("listener");
            open.push((client, upstream.accept()));
        }
        let mut eleventh = folder.connect("listener");
        assert!(eleventh.receive(&mut [0]).is_err());
        running.wait_one_closed_for(CloseReason::PortExhausted);
        // Those who have a port go on.
        for (client, server) in &mut open {
            client.send(b"x");
            assert_eq!(server.receive_exactly(1), b"x");
        }
        // A reset leaves no TIME_WAIT behind, so the port is free at once.
        let (mut client, server) = open.pop().unwrap();
        server.reset();
        assert!(client.receive(&mut [0]).is_err());
        running.wait_one_closed_for(CloseReason::UpstreamReset);
        let mut client = folder.connect("listener");
        let mut server = upstream.accept();
        client.send(b"back");
        assert_eq!(server.receive_exactly(4), b"back");
    });
}

/// CN-16, between targets: with a source address, a port is used for one connection per target, not for one in all.
#[test]
fn a_source_address_shares_ports_between_targets() {
    if !is_possible(OWN_NETWORK) {
        return;
    }
    alone_under(OWN_NETWORK, concat!(module_path!(), "::a_source_address_shares_ports_between_targets"), || {
        let folder = Folder::new();
        let upstreams: Vec<Upstream> = (0..4).map(|_| Upstream::new()).collect();
        leave_ports("40000 40009");
        let mut open = Vec::new();
        for (number, upstream) in upstreams.iter().enumerate() {
            let name = number.to_string();
            let mut config = to(upstream.address());
            config.listen = folder.address(&name);
            forward(&mut config).source = Some("127.0.0.5".parse().unwrap());
            let running = Running::start(config);
            let pairs: Vec<(Peer, Peer)> = (0..8).map(|_| (folder.connect(&name), upstream.accept())).collect();
            open.push((running, pairs));
        }
        for (client, server) in open.iter_mut().flat_map(|(_, pairs)| pairs) {
            client.half_close();
            server.expect(End::Eof);
        }
    });
}
