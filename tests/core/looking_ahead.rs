//! Bytes that filters see while they lie in the socket: what passes is spliced, and what does not is changed in its place.

use std::{sync::Arc, thread};

use bytes::Bytes;
use interpose::{
    inspect::filters::{Filter, look::Look, replace::Replace, rewrite::Rewrite},
    settings::config::{Config, Splice},
    taps::{
        event::{EventKind, Place},
        queue::Queue,
    },
    words::direction::{Both, Direction},
};

use crate::support::{
    pattern::{Pattern, Prng},
    peers::{End, Peer},
    running::{Running, to},
    upstreams::Upstream,
};

const OLD: &[u8] = b"sixteen bytes...";
const NEW: &[u8] = b"others";
const BOTH: Both<bool> = Both { to_upstream: true, to_client: true };

/// Returns a stream in which some parts have something to replace, and what becomes of it.
fn streams(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let (mut pattern, mut prng) = (Pattern::new(seed), Prng::new(seed));
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    while sent.len() < 6_000_000 {
        let between = pattern.take(prng.size(700_000));
        sent.extend_from_slice(&between);
        expected.extend_from_slice(&between);
        for _ in 0..prng.between(1, 3) {
            sent.extend_from_slice(OLD);
            expected.extend_from_slice(NEW);
        }
    }
    (sent, expected)
}

fn filters(queue: &Arc<Queue>) -> Vec<Arc<dyn Filter>> {
    let pairs = vec![(Bytes::from_static(OLD), Bytes::from_static(NEW))];
    let rewrite = Arc::new(Rewrite::literals(pairs).expect("they can be looked for"));
    let look = Look {
        witness: queue.clone(),
        directions: BOTH,
        places: vec![Place::In, Place::Out],
        out_if_changed: false,
        messages: false,
    };
    vec![Arc::new(look), Arc::new(Replace { rewrite, directions: BOTH })]
}

/// Returns the bytes that a tap has seen of a direction.
fn seen(events: &[(Direction, Place, u64, Bytes)], direction: Direction, place: Place) -> Vec<u8> {
    let mut all = Vec::new();
    for (_, _, offset, bytes) in events.iter().filter(|event| (event.0, event.1) == (direction, place)) {
        assert_eq!(*offset, all.len() as u64);
        all.extend_from_slice(bytes);
    }
    all
}

#[test]
fn what_is_spliced_and_what_is_replaced_stay_in_order_and_are_seen_once() {
    let (upstream, queue) = (Upstream::new(), Arc::new(Queue::new(64 * 1024 * 1024)));
    let mut config = Config { filters: filters(&queue).into(), ..to(upstream.address()) };
    config.relay.splice = Splice::Always;
    let running = Running::start(config);
    let client = Peer::connect(running.address());
    let served = upstream.accept();
    let connection = running.connection_of(client.name());
    thread::scope(|scope| {
        for (seed, mut from, mut towards) in
            [(1, client.try_clone(), served.try_clone()), (2, served.try_clone(), client.try_clone())]
        {
            let (sent, expected) = streams(seed);
            scope.spawn(move || {
                let mut prng = Prng::new(seed);
                let mut rest = &sent[..];
                while !rest.is_empty() {
                    let (piece, others) = rest.split_at(prng.size(600_000).min(rest.len()));
                    from.send(piece);
                    rest = others;
                }
                from.half_close();
            });
            scope.spawn(move || {
                assert!(towards.receive_exactly(expected.len()) == expected);
                towards.expect(End::Eof);
            });
        }
    });
    crate::support::running::wait_end(&connection);
    queue.close();
    let events = queue.take(None).expect("it has some").into_iter().filter_map(|event| match event.kind {
        EventKind::Data { direction, place, offset, bytes } => Some((direction, place, offset, bytes)),
        _ => None,
    });
    let events: Vec<_> = events.collect();
    for (seed, direction) in [(1, Direction::ToUpstream), (2, Direction::ToClient)] {
        let (sent, expected) = streams(seed);
        assert!(seen(&events, direction, Place::In) == sent && seen(&events, direction, Place::Out) == expected);
        let ledger = connection.ledger(direction);
        assert_eq!((ledger.read, ledger.delivered), (sent.len() as u64, expected.len() as u64));
        assert_eq!(ledger.read + ledger.added, ledger.delivered + ledger.dropped);
    }
}
