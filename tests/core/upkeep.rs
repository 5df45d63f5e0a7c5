//! What a server does every few seconds: here, many times a second.
#![cfg(target_os = "linux")]

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{
    kernel::{private_memory, sockets_with_keepalive},
    own_process::alone,
    peers::{Peer, until},
    running::{IoThreads, Running, to},
    upstreams::Upstream,
};

const OFTEN: Duration = Duration::from_millis(20);

/// BP-13, for silent connections: the kernel is asked to probe both peers, the upstream from the first check on.
#[test]
fn both_peers_are_probed_while_they_are_silent() {
    let upstream = Upstream::new();
    let mut config = to(upstream.address());
    config.upkeep = OFTEN;
    let running = Running::start(config);
    let client = Peer::connect(running.address());
    let far = upstream.accept();
    until("the client's side has keepalive", || sockets_with_keepalive(running.address()) == 1);
    until("the upstream's side has it too", || sockets_with_keepalive(far.remote()) == 1);
    drop((client, far));
}

/// The allocator would keep it for ever.
#[test]
fn the_memory_of_a_burst_is_given_back() {
    alone(concat!(module_path!(), "::the_memory_of_a_burst_is_given_back"), || {
        const COUNT: usize = 1200;
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
        let upstream = Upstream::new();
        let mut config = to(upstream.address());
        config.upkeep = OFTEN;
        // Of one thread: it keeps a buffer from the first read on, which would else look like memory of the burst.
        let running = Running::start_on(&IoThreads::start(1), config);
        let open = |count| -> Vec<_> { (0..count).map(|_| (Peer::connect(running.address()), upstream.accept())).collect() };
        let over = || running.server.stats().active == 0;
        drop(open(10));
        until("the first are over", over);
        let before = private_memory();
        let pairs = open(COUNT);
        let grown = private_memory() - before;
        assert!(grown > COUNT as u64 * 1024, "{COUNT} connections take {grown} bytes");
        drop(pairs);
        until("all are over", over);
        // The allocator keeps some freed pieces of each size for the thread, and with them their pages: up to a quarter of this
        // burst's.
        until("their memory is given back", || private_memory() < before + grown / 2);
    });
}
