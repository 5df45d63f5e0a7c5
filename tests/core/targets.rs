//! Targets that take another's place, and targets that come up later.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use interpose::{
    live::handle::State,
    settings::{
        config::Config,
        forward::{Forward, MOST_TARGETS},
    },
    words::outcome::CloseReason,
};

use crate::{
    connect::{assert_echoes, failed_connection},
    support::{
        peers::{DEADLINE, End, Peer, until},
        running::{Running, forward, loopback, to, wait_end},
        upstreams::{Echo, Silent, Unserved, Upstream},
    },
};

/// Longer than any test takes.
const LONG: Option<Duration> = Some(Duration::from_secs(600));

fn towards(first: SocketAddr, others: &[SocketAddr]) -> Config {
    let forward = others.iter().fold(Forward::to(first), |forward, other| forward.or_else(Forward::to(*other)));
    Config::new(loopback(), forward)
}

#[test]
fn the_next_target_takes_a_client_that_the_first_refuses() {
    let (nobody, upstream) = (Unserved::new(), Upstream::new());
    let running = Running::start(towards(nobody.address(), &[upstream.address()]));
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    client.send(b"word");
    client.half_close();
    let mut server = upstream.accept();
    assert_eq!(server.receive_exactly(4), b"word");
    server.expect(End::Eof);
    until("the connection is open", || connection.state() == State::Open);
    assert_eq!(connection.upstream().unwrap().peer.inet(), Some(upstream.address()));
    let line =
        format!("connected to {}; before that cannot connect to {}: connection refused", upstream.address(), nobody.address());
    assert_eq!(connection.error().as_deref(), Some(&*line));
    server.close();
    client.expect(End::Eof);
    assert_eq!(wait_end(&connection), CloseReason::Finished);
    assert_eq!(connection.error(), Some(line));
}

#[test]
fn the_first_target_has_every_client_while_it_can_be_connected() {
    let (echo, other) = (Echo::start(), Upstream::new());
    let running = Running::start(towards(echo.address(), &[other.address()]));
    for _ in 0..5 {
        assert_echoes(running.address());
    }
    assert!(other.is_idle());
}

#[test]
fn a_target_that_does_not_answer_has_its_own_time_and_no_more() {
    let (silent, echo) = (Silent::new(), Echo::start());
    let mut config = towards(silent.address(), &[echo.address()]);
    forward(&mut config).connect_timeout = Duration::from_millis(100);
    let running = Running::start(config);
    assert_echoes(running.address());
}

#[test]
fn a_client_of_targets_that_all_fail_learns_each_reason() {
    let (silent, nobody) = (Silent::new(), Unserved::new());
    let mut config = towards(silent.address(), &[nobody.address()]);
    forward(&mut config).connect_timeout = Duration::from_millis(50);
    let running = Running::start(config);
    let connection = failed_connection(&running);
    assert_eq!(connection.reason(), Some(CloseReason::Refused));
    let line =
        format!("cannot connect to {}: no answer within 0.05 s; {}: connection refused", silent.address(), nobody.address());
    assert_eq!(connection.error(), Some(line));
}

#[test]
fn a_target_that_leads_back_here_is_not_passed_over() {
    let (nobody, other) = (Unserved::new(), Upstream::new());
    let running = Running::start(to(nobody.address()));
    let back = Forward::to(running.address()).or_else(Forward::to(other.address()));
    let own = |settings: interpose::settings::config::LiveSettings<'_>| *settings.forward = Some(back.clone());
    let error = running.server.change(own).unwrap_err().to_string();
    assert!(error.contains("own address"), "{error}");
    // Two servers that forward to each other.
    let second = Running::start_on(&running.io, to(running.address()));
    let circle = Forward::to(second.address()).or_else(Forward::to(other.address()));
    running.server.change(|settings| *settings.forward = Some(circle)).unwrap();
    Peer::connect_and_be_reset(running.address());
    until("the circle was found", || {
        [&running, &second].iter().any(|one| one.server.stats().closed_for(CloseReason::LoopDetected) > 0)
    });
    assert!(other.is_idle());
}

#[test]
fn a_client_waits_for_a_target_that_comes_up_and_no_byte_is_lost() {
    let nobody = Unserved::new();
    let mut config = to(nobody.address());
    forward(&mut config).retry = LONG;
    let running = Running::start(config);
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    client.send(b"early");
    client.half_close();
    client.wait_acknowledged();
    // A later client of the same I/O thread: when that was refused, so was the first attempt of this one.
    let later = Running::start_on(&running.io, to(nobody.address()));
    Peer::connect_and_be_reset(later.address());
    assert_eq!(connection.state(), State::Connecting);
    let upstream = Upstream::at(nobody.address(), None);
    let mut server = upstream.accept();
    assert_eq!(server.receive_exactly(5), b"early");
    server.expect(End::Eof);
    server.close();
    client.expect(End::Eof);
    assert_eq!(wait_end(&connection), CloseReason::Finished);
    let error = connection.error().unwrap();
    assert!(error.starts_with(&format!("connected to {}, tried ", nobody.address())), "{error}");
}

#[test]
fn a_client_is_reset_when_the_time_to_try_again_is_over() {
    let nobody = Unserved::new();
    let mut config = to(nobody.address());
    forward(&mut config).retry = Some(Duration::from_millis(200));
    let running = Running::start(config);
    let begin = Instant::now();
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    client.expect(End::Reset);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    assert_eq!(wait_end(&connection), CloseReason::Refused);
    let error = connection.error().unwrap();
    assert!(error.contains(": connection refused; tried ") && error.contains(" times in 0."), "{error}");
}

#[test]
fn a_client_that_waits_for_its_upstream_ends_as_asked() {
    let nobody = Unserved::new();
    let mut config = to(nobody.address());
    forward(&mut config).retry = LONG;
    let running = Running::start(config);
    let waiting = || {
        let client = Peer::connect(running.address());
        let connection = running.connection_of(client.name());
        (client, connection)
    };
    let (client, connection) = waiting();
    client.reset();
    assert_eq!(wait_end(&connection), CloseReason::ClientGone);
    let (mut client, connection) = waiting();
    connection.close();
    assert_eq!(wait_end(&connection), CloseReason::Closed);
    assert!(client.receive(&mut [0]).is_err());
    let (mut client, connection) = waiting();
    running.server.stop(Duration::ZERO);
    client.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::Stopped);
    assert!(running.server.wait(Some(DEADLINE)));
}

#[test]
fn fallbacks_of_a_fallback_follow_it() {
    let at = |port: u16| Forward::to(SocketAddr::from(([192, 0, 2, 1], port)));
    let flat = at(1).or_else(at(2)).or_else(at(3)).or_else(at(4));
    assert_eq!(at(1).or_else(at(2).or_else(at(3))).or_else(at(4)), flat);
}

#[test]
fn a_forward_that_makes_no_sense_is_refused_with_a_line_about_it() {
    let at = |port: u16| Forward::to(SocketAddr::from(([192, 0, 2, 1], port)));
    let many = (0..20).fold(at(1), |forward, number| forward.or_else(at(100 + number)));
    let second = Duration::from_secs(1);
    let nested = Forward { fallback: vec![at(2).or_else(at(3))], ..at(1) };
    for (forward, part) in [
        (many, format!("21 targets are more than {MOST_TARGETS}")),
        (at(1).or_else(at(1)), "192.0.2.1:1 is a target already".to_owned()),
        (at(1).or_else(at(0)), "fallback: port 0".to_owned()),
        (at(1).or_else(Forward { retry: Some(second), ..at(2) }), "has one of its own".to_owned()),
        (Forward { retry: Some(Duration::ZERO), ..at(1) }, "retry: 0 seconds".to_owned()),
        (Forward { retry: Some(Duration::MAX), ..at(1) }, "retry: more than 100 years".to_owned()),
        (nested, "list them behind it".to_owned()),
    ] {
        let error = forward.check("forward_to").unwrap_err().to_string();
        assert!(error.contains(&part), "{error}");
    }
}
