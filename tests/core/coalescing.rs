//! Directions that wait for many bytes: for how long at most, and what ends the wait.
//!
//! `conformance` shows that the bytes and the ends are the same; this is about when they come.

use std::time::{Duration, Instant};

use bytes::Bytes;
use interpose::{
    live::{handle::Connection, inbox::Patience},
    settings::config::Coalesce,
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        outcome::CloseReason,
    },
};

use crate::support::{
    peers::{End, Peer, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

const DIRECTIONS: [Direction; 2] = [ToUpstream, ToClient];

/// A connection whose directions wait after every byte.
struct Waiting {
    _running: Running,
    connection: Connection,
    client: Peer,
    upstream: Peer,
}

impl Waiting {
    fn start() -> Self {
        let upstream = Upstream::new();
        let mut config = to(upstream.address());
        config.relay.coalesce = Coalesce::Always;
        let running = Running::start(config);
        let client = Peer::connect(running.address());
        let connection = running.connection_of(client.name());
        let upstream = upstream.accept();
        Self { _running: running, connection, client, upstream }
    }

    /// Who sends in a direction, and who receives.
    fn ends(&mut self, direction: Direction) -> (&mut Peer, &mut Peer) {
        match direction {
            ToUpstream => (&mut self.client, &mut self.upstream),
            ToClient => (&mut self.upstream, &mut self.client),
        }
    }
}

/// Each message is the answer to the one before, so none is waited with: neither its own direction nor the other has more
/// to come. The median: on a busy machine single ones may take longer.
#[test]
fn a_dialogue_does_not_wait() {
    for first in DIRECTIONS {
        let mut pair = Waiting::start();
        let mut times = Vec::new();
        for _ in 0..101 {
            let (asking, answering) = pair.ends(first);
            let began = Instant::now();
            asking.send(b"question");
            assert_eq!(answering.receive_exactly(8), b"question");
            answering.send(b"answer");
            assert_eq!(asking.receive_exactly(6), b"answer");
            times.push(began.elapsed());
        }
        times.sort();
        assert!(times[50] < Duration::from_millis(3), "{first:?}: {:?}", times[50]);
    }
}

/// What is put into the direction from outside does not make the source's own bytes wait for longer.
#[test]
fn injections_do_not_prolong_the_wait() {
    for direction in DIRECTIONS {
        let mut pair = Waiting::start();
        let connection = pair.connection.clone();
        let (source, destination) = pair.ends(direction);
        source.send(b"1");
        assert_eq!(destination.receive_exactly(1), b"1");
        // The mark is set now, and this is below it.
        source.send(b"2");
        let mut between = 0;
        loop {
            connection.inject(direction, Bytes::from_static(b"."), Patience::Wait(None)).unwrap();
            match &destination.receive_exactly(1)[..] {
                b"2" => break,
                _ => between += 1,
            }
            std::thread::yield_now();
            assert!(between < 20_000, "{direction:?}: the byte waits for as long as others are put in");
        }
    }
}

#[test]
fn what_waits_is_read_before_its_direction_is_ended() {
    for direction in DIRECTIONS {
        for whole in [true, false] {
            let mut pair = Waiting::start();
            let connection = pair.connection.clone();
            let (source, destination) = pair.ends(direction);
            source.send(b"1");
            assert_eq!(destination.receive_exactly(1), b"1");
            source.send(&[2; 1000]);
            source.wait_acknowledged();
            if whole {
                connection.close();
            } else {
                connection.half_close(direction);
            }
            assert_eq!(destination.receive_exactly(1000), [2; 1000], "{direction:?}");
            destination.expect(End::Eof);
            if !whole {
                destination.half_close();
            }
            let reason = wait_end(&connection);
            assert_eq!(reason, if whole { CloseReason::Closed } else { CloseReason::Finished });
            until("all is counted", || connection.ledger(direction).delivered == 1001);
        }
    }
}
