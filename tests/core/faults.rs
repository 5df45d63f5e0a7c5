//! Faults on real connections: exactly the bytes before a cut arrive, both ways and on both kinds of thread, and faults come and
//! go while connections live.

use std::{
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use interpose::{
    hooks::Hooks,
    inspect::faults::{
        budget::SHARE,
        condition::Condition,
        cut::How,
        effect::Effect,
        latency::{Distribution, Latency},
        set::{Fault, Faults},
    },
    settings::config::Config,
    words::{
        direction::{Both, Direction},
        interest::Interest,
        outcome::CloseReason,
    },
};

use crate::{
    conformance::watching::Watching,
    support::{
        pattern::Pattern,
        peers::{End, Peer, spawn},
        property::rounds,
        running::{Running, to, wait_end},
        upstreams::{Echo, Upstream},
    },
};

const BOTH: Both<bool> = Both { to_upstream: true, to_client: true };

fn after(after_bytes: u64) -> Condition {
    Condition { after_bytes, ..Condition::default() }
}

fn list(faults: impl IntoIterator<Item = Arc<Fault>>) -> Faults {
    faults.into_iter().collect()
}

fn fault(effect: Effect, condition: Condition, directions: Both<bool>) -> Arc<Fault> {
    Arc::new(Fault::new("Test()", effect, condition, directions))
}

fn with_hooks(config: Config) -> Running {
    let watching: Arc<dyn Hooks> = Arc::new(Watching::default());
    let recv = Interest::recv(Direction::ToUpstream).with(Interest::recv(Direction::ToClient));
    Running::start_hooked(config, watching, recv)
}

/// Sends more than a cut lets through, and counts what arrives.
fn assert_exact(start: fn(Config) -> Running, direction: Direction, how: How, bytes: u64) {
    let upstream = Upstream::new();
    let mut directions = Both { to_upstream: false, to_client: false };
    directions[direction] = true;
    let running = start(Config { faults: list([fault(Effect::Cut(how), after(bytes), directions)]), ..to(upstream.address()) });
    let client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    let far = upstream.accept();
    let (mut source, mut sink) = if direction == Direction::ToUpstream { (client, far) } else { (far, client) };
    let sending = spawn(move || {
        let (mut sent, chunk) = (Pattern::new(5), 20_000);
        for _ in 0..bytes / chunk as u64 + 40 {
            if source.try_send(&sent.take(chunk)).is_err() {
                break;
            }
        }
        source
    });
    let mut expected = Pattern::new(5);
    if how == How::Stall {
        sink.receive_pattern(&mut expected, bytes);
        assert_eq!(sink.try_receive(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(connection.reason().is_none());
        connection.abort();
        drop(sending.join().unwrap());
        return;
    }
    let end = if how == How::Fin { End::Eof } else { End::Reset };
    assert_eq!(sink.receive_to_end(&mut expected), (bytes, end), "{how:?} after {bytes} bytes {direction:?}");
    drop(sending.join().unwrap());
    assert_eq!(wait_end(&connection), CloseReason::Fault);
    assert_eq!(connection.error().as_deref(), Some("fault Test()"));
}

#[test]
fn exactly_the_bytes_before_a_cut_arrive() {
    for _ in 0..rounds() {
        exact_cuts();
    }
}

/// Plays a cut of each length and kind, in each direction.
fn exact_cuts() {
    for start in [Running::start as fn(Config) -> Running, with_hooks] {
        for direction in Direction::ALL {
            for how in [How::Fin, How::Reset, How::Stall] {
                for bytes in [1, 1000, 65_537, 300_001] {
                    assert_exact(start, direction, how, bytes);
                }
            }
            assert_exact(start, direction, How::Fin, 10_000_000);
            assert_exact(start, direction, How::Reset, 10_000_000);
        }
    }
}

/// The receiver reads nothing until the cut has been made: what its system has room for is not lost.
#[test]
fn a_receiver_that_is_late_gets_the_bytes_before_a_reset() {
    const BYTES: u64 = 40_001;
    let upstream = Upstream::new();
    let faults = list([fault(Effect::Cut(How::Reset), after(BYTES), BOTH)]);
    let running = Running::start(Config { faults, ..to(upstream.address()) });
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    let mut far = upstream.accept();
    client.send_pattern(&mut Pattern::new(1), BYTES + 9, || 10_000);
    assert_eq!(wait_end(&connection), CloseReason::Fault);
    assert_eq!(far.receive_to_end(&mut Pattern::new(1)), (BYTES, End::Reset));
    client.expect(End::Reset);
}

#[test]
fn faults_come_and_go_on_live_connections() {
    let echo = Echo::start();
    for start in [Running::start as fn(Config) -> Running, with_hooks] {
        let running = start(to(echo.address()));
        let mut client = Peer::connect(running.address());
        let echoed = |client: &mut Peer, bytes: &[u8]| {
            client.send(bytes);
            assert_eq!(client.receive_exactly(bytes.len()), bytes);
        };
        echoed(&mut client, b"before");
        let delay = Latency {
            delay: Duration::from_millis(30),
            jitter: Duration::ZERO,
            distribution: Distribution::Uniform,
            most: SHARE,
        };
        let one_way = Both { to_upstream: true, to_client: false };
        let late = fault(Effect::Latency(delay), Condition::default(), one_way);
        let stall = fault(Effect::Stall, Condition::default(), one_way);
        running.server.set_faults(list([Arc::clone(&late)])).unwrap();
        let begun = Instant::now();
        echoed(&mut client, b"late");
        assert!(begun.elapsed() >= Duration::from_millis(30), "{:?}", begun.elapsed());
        running.server.set_faults(list([late, stall])).unwrap();
        client.send(b"stalled");
        assert!(client.try_receive(Duration::from_millis(60)).is_err());
        running.server.set_faults(Faults::default()).unwrap();
        assert_eq!(client.receive_exactly(7), b"stalled");
        echoed(&mut client, b"after");
        let connection = running.connection_of(client.name());
        let own = list([fault(Effect::Cut(How::Fin), after(0), BOTH)]);
        connection.set_faults(Direction::ToClient, own).unwrap();
        client.expect(End::Eof);
        assert_eq!(wait_end(&connection), CloseReason::Fault);
    }
}

#[test]
fn a_stalled_connection_ends_when_it_is_closed() {
    let upstream = Upstream::new();
    let faults = list([fault(Effect::Stall, Condition::default(), BOTH)]);
    let running = Running::start(Config { faults, ..to(upstream.address()) });
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    let mut far = upstream.accept();
    client.send(b"nobody gets this");
    assert!(far.try_receive(Duration::from_millis(20)).is_err());
    connection.close();
    client.expect(End::Eof);
    far.expect(End::Eof);
    drop((client, far));
    assert_eq!(wait_end(&connection), CloseReason::Closed);
}
