//! The second target, which gets a copy of what clients send, and holds up nothing.

use std::{sync::Arc, time::Duration};

use interpose::{
    hooks::Hooks,
    server::Server,
    settings::{config::Config, forward::Forward},
    words::{interest::Interest, outcome::CloseReason, stats::Stats},
};

use crate::{
    conformance::watching::Watching,
    support::{
        pattern::Pattern,
        peers::{End, Peer, spawn, until},
        running::{Running, to, wait_end},
        upstreams::{Echo, Silent, Unserved, Upstream},
    },
};

/// A server that forwards to one upstream, and copies to another.
fn mirrored(first: &Upstream, second: &Upstream) -> Config {
    Config { mirror: Some(Forward::to(second.address())), ..to(first.address()) }
}

fn counts(server: &Server) -> (u64, u64) {
    let Stats { mirror_bytes, mirror_missed_bytes, .. } = server.stats();
    (mirror_bytes, mirror_missed_bytes)
}

fn each_path(config: impl Fn() -> Config, act: impl Fn(&Running)) {
    act(&Running::start(config()));
    let watching: Arc<dyn Hooks> = Arc::new(Watching::default());
    let everything = Interest::recv(interpose::words::direction::Direction::ToUpstream).with(Interest::EOF);
    act(&Running::start_hooked(config(), watching, everything));
}

#[test]
fn the_second_target_gets_each_byte_and_the_end_and_its_answers_go_nowhere() {
    let (first, second) = (Upstream::new(), Upstream::new());
    each_path(
        || mirrored(&first, &second),
        |running| {
            let mut client = Peer::connect(running.address());
            let connection = running.connection_of(client.name());
            let (mut upstream, mut shadow) = (first.accept(), second.accept());
            client.send(b"question");
            assert_eq!(upstream.receive_exactly(8), b"question");
            assert_eq!(shadow.receive_exactly(8), b"question");
            shadow.send(b"a wrong answer");
            upstream.send(b"answer");
            assert_eq!(client.receive_exactly(6), b"answer");
            client.half_close();
            upstream.expect(End::Eof);
            shadow.expect(End::Eof);
            shadow.close();
            upstream.send(b"more");
            upstream.close();
            assert_eq!(client.receive_exactly(4), b"more");
            client.expect(End::Eof);
            assert_eq!(wait_end(&connection), CloseReason::Finished);
            until("the copy is counted", || counts(&running.server) == (8, 0));
        },
    );
}

#[test]
fn a_stream_is_copied_whole() {
    const LENGTH: u64 = 24 << 20;
    let (first, second) = (Upstream::new(), Upstream::new());
    let running = Running::start(mirrored(&first, &second));
    let mut client = Peer::connect(running.address());
    let (mut upstream, mut shadow) = (first.accept(), second.accept());
    let shadowed = spawn(move || shadow.receive_to_end(&mut Pattern::new(1)));
    let received = spawn(move || upstream.receive_to_end(&mut Pattern::new(1)));
    // Piece by piece as the first takes them, so that the second has time to keep up.
    let mut pattern = Pattern::new(1);
    while pattern.position() < LENGTH {
        client.send_pattern(&mut pattern, 1 << 18, || 1 << 16);
        until("the second keeps up", || pattern.position() - counts(&running.server).0 < 1 << 20);
    }
    client.close();
    assert_eq!(received.join().unwrap(), (LENGTH, End::Eof));
    assert_eq!(shadowed.join().unwrap(), (LENGTH, End::Eof));
    assert_eq!(counts(&running.server), (LENGTH, 0));
}

#[test]
fn a_second_target_that_takes_nothing_misses_the_rest_and_slows_nobody() {
    const LENGTH: u64 = 32 << 20;
    let (first, second) = (Upstream::new(), Upstream::at("127.0.0.1:0".parse().unwrap(), Some(64 * 1024)));
    each_path(
        || mirrored(&first, &second),
        |running| {
            let mut client = Peer::connect(running.address());
            let connection = running.connection_of(client.name());
            let (mut upstream, mut shadow) = (first.accept(), second.accept());
            let received = spawn(move || upstream.receive_to_end(&mut Pattern::new(2)));
            client.send_pattern(&mut Pattern::new(2), LENGTH, || 1 << 18);
            client.half_close();
            assert_eq!(received.join().unwrap(), (LENGTH, End::Eof));
            client.expect(End::Eof);
            assert_eq!(wait_end(&connection), CloseReason::Finished);
            until("all is counted", || counts(&running.server).0 + counts(&running.server).1 == LENGTH);
            // What it has got is a beginning, and no orderly end.
            assert_eq!(shadow.receive_to_end(&mut Pattern::new(2)).1, End::Reset);
        },
    );
}

#[test]
fn a_second_target_that_is_not_there_is_no_error_of_the_connection() {
    let (echo, nobody, silent) = (Echo::start(), Unserved::new(), Silent::new());
    for address in [nobody.address(), silent.address()] {
        let config = Config { mirror: Some(Forward::to(address)), ..to(echo.address()) };
        let running = Running::start(config);
        let mut client = Peer::connect(running.address());
        let connection = running.connection_of(client.name());
        client.send(b"ping");
        assert_eq!(client.receive_exactly(4), b"ping");
        client.half_close();
        client.expect(End::Eof);
        assert_eq!((wait_end(&connection), connection.error()), (CloseReason::Finished, None));
        if address == nobody.address() {
            until("the bytes are counted", || counts(&running.server) == (0, 4));
        }
    }
}

#[test]
fn a_second_target_that_comes_up_in_time_gets_everything() {
    let (first, nobody) = (Upstream::new(), Unserved::new());
    let second = Forward { retry: Some(Duration::from_secs(600)), ..Forward::to(nobody.address()) };
    let running = Running::start(Config { mirror: Some(second), ..to(first.address()) });
    let mut client = Peer::connect(running.address());
    let mut upstream = first.accept();
    client.send(b"early");
    assert_eq!(upstream.receive_exactly(5), b"early");
    let mut shadow = Upstream::at(nobody.address(), None).accept();
    assert_eq!(shadow.receive_exactly(5), b"early");
}

#[test]
fn a_client_that_resets_resets_the_second_target_too() {
    let (first, second) = (Upstream::new(), Upstream::new());
    let running = Running::start(mirrored(&first, &second));
    let mut client = Peer::connect(running.address());
    let (mut upstream, mut shadow) = (first.accept(), second.accept());
    client.send(b"word");
    assert_eq!((upstream.receive_exactly(4), shadow.receive_exactly(4)), (b"word".to_vec(), b"word".to_vec()));
    client.reset();
    upstream.expect(End::Reset);
    shadow.expect(End::Reset);
}

#[test]
fn a_second_target_that_fails_harms_no_connection() {
    let (first, second) = (Upstream::new(), Upstream::new());
    let running = Running::start(mirrored(&first, &second));
    let mut client = Peer::connect(running.address());
    let mut upstream = first.accept();
    second.accept().reset();
    for _ in 0..50 {
        client.send(b"x");
        assert_eq!(upstream.receive_exactly(1), b"x");
        upstream.send(b"y");
        assert_eq!(client.receive_exactly(1), b"y");
    }
    until("all is counted", || counts(&running.server).0 + counts(&running.server).1 == 50);
    assert!(counts(&running.server).1 > 0);
}

#[test]
fn a_second_target_may_be_set_and_unset_while_the_server_runs() {
    let (first, second) = (Upstream::new(), Upstream::new());
    let running = Running::start(to(first.address()));
    let plain = Peer::connect(running.address());
    first.accept();
    running.server.change(|settings| *settings.mirror = Some(Forward::to(second.address()))).unwrap();
    let mut copied = Peer::connect(running.address());
    first.accept();
    copied.send(b"copied");
    assert_eq!(second.accept().receive_exactly(6), b"copied");
    running.server.change(|settings| *settings.mirror = None).unwrap();
    let other = Peer::connect(running.address());
    first.accept();
    assert!(second.is_idle());
    drop((plain, other));
}

#[test]
fn a_second_target_that_leads_back_here_is_refused_or_cut() {
    let (first, second) = (Upstream::new(), Upstream::new());
    let running = Running::start(mirrored(&first, &second));
    let own = Forward::to(running.address());
    let error = running.server.change(|settings| *settings.mirror = Some(own)).unwrap_err().to_string();
    assert!(error.contains("mirror_to") && error.contains("own address"), "{error}");
    // Another server that forwards to this one, as this one's second target: each copy would be copied again.
    let circle = Running::start_on(&running.io, to(running.address()));
    running.server.change(|settings| *settings.mirror = Some(Forward::to(circle.address()))).unwrap();
    let mut client = Peer::connect(running.address());
    client.send(b"round");
    assert_eq!(first.accept().receive_exactly(5), b"round");
    until("the circle was found", || {
        [&running, &circle].iter().any(|one| one.server.stats().closed_for(CloseReason::LoopDetected) > 0)
    });
}
