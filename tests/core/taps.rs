//! Taps: the events of a connection, and that nothing of them holds it up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use interpose::{
    inspect::filters::look::Look,
    settings::config::Config,
    taps::{
        event::{Event, EventKind, Place},
        queue::Queue,
        transcript::Transcript,
    },
    words::{
        direction::{Both, Direction},
        outcome::CloseReason,
    },
};

use crate::support::{
    pattern::Pattern,
    peers::{DEADLINE, End, Peer, spawn},
    running::{Running, to},
    tapped::tap_filters,
    upstreams::{Unserved, Upstream},
};

/// Takes events up to the end of one connection.
fn until_closed(queue: &Queue) -> Vec<Event> {
    let (mut events, deadline) = (Vec::new(), Instant::now() + DEADLINE);
    while !matches!(events.last(), Some(Event { kind: EventKind::Closed { .. }, .. })) {
        let taken = queue.take(Some(deadline)).expect("it is open");
        assert!(!taken.is_empty(), "no end among {events:?}");
        taken.iter().for_each(|event| queue.done(event));
        events.extend(taken);
    }
    events
}

/// Returns the events in one line each, without names.
fn lines(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match &event.kind {
        EventKind::Opened { .. } => "opened".to_owned(),
        EventKind::Connected { .. } => "connected".to_owned(),
        EventKind::Data { direction, offset, bytes, .. } => {
            format!("{} {offset} {}", direction.word(), String::from_utf8_lossy(bytes))
        }
        EventKind::End { direction, .. } => format!("{} end", direction.word()),
        EventKind::Struck { direction, fault } => format!("{} {fault}", direction.word()),
        EventKind::Closed { reason, .. } => format!("closed {reason}"),
        EventKind::Missed { .. } => "missed".to_owned(),
    };
    events.iter().map(line).collect()
}

#[test]
fn a_tap_sees_a_connection_from_its_beginning_to_its_end() {
    let (upstream, queue) = (Upstream::new(), Arc::<Queue>::default());
    let running = Running::start(Config { filters: tap_filters(&queue, &[Place::In]), ..to(upstream.address()) });
    let mut client = Peer::connect(running.address());
    let mut served = upstream.accept();
    client.send(b"question");
    assert_eq!(served.receive_exactly(8), b"question");
    client.send(b"?");
    assert_eq!(served.receive_exactly(1), b"?");
    served.send(b"answer");
    assert_eq!(client.receive_exactly(6), b"answer");
    client.half_close();
    served.expect(End::Eof);
    served.close();
    client.expect(End::Eof);
    let events = until_closed(&queue);
    let (up, down) = (Direction::ToUpstream.word(), Direction::ToClient.word());
    let expected = [
        "opened".to_owned(),
        "connected".to_owned(),
        format!("{up} 0 question"),
        format!("{up} 8 ?"),
        format!("{down} 0 answer"),
        format!("{up} end"),
        format!("{down} end"),
        "closed finished".to_owned(),
    ];
    assert_eq!(lines(&events), expected);
    let EventKind::Opened { client: name, .. } = &events[0].kind else { panic!("{events:?}") };
    assert_eq!(*name, client.name().into());
    let EventKind::Closed { ledgers, .. } = &events[7].kind else { panic!("{events:?}") };
    assert_eq!((ledgers.to_upstream.delivered, ledgers.to_client.delivered), (9, 6));
}

#[test]
fn a_client_whose_upstream_refuses_is_seen_as_well() {
    let (unserved, queue) = (Unserved::new(), Arc::<Queue>::default());
    let running = Running::start(Config { filters: tap_filters(&queue, &[Place::In]), ..to(unserved.address()) });
    Peer::connect_and_be_reset(running.address());
    assert_eq!(lines(&until_closed(&queue)), ["opened".to_owned(), format!("closed {}", CloseReason::Refused)]);
}

#[test]
fn a_queue_that_nobody_empties_holds_up_nothing_and_counts_what_it_misses() {
    const BYTES: usize = 4 * 1024 * 1024;
    let (upstream, queue) = (Upstream::new(), Arc::new(Queue::new(64 * 1024)));
    let running = Running::start(Config { filters: tap_filters(&queue, &[Place::In]), ..to(upstream.address()) });
    let mut client = Peer::connect(running.address());
    let mut served = upstream.accept();
    let sending = spawn(move || {
        client.send(&Pattern::new(1).take(BYTES));
        client
    });
    assert!(served.receive_exactly(BYTES) == Pattern::new(1).take(BYTES));
    sending.join().expect("everything was sent");
    let missed = queue.missed();
    assert!(missed.bytes as usize >= BYTES - 64 * 1024, "{missed:?}");
}

#[test]
fn filters_are_changed_for_the_connections_that_come() {
    let (upstream, queue) = (Upstream::new(), Arc::<Queue>::default());
    let running = Running::start(to(upstream.address()));
    let _before = (Peer::connect(running.address()), upstream.accept());
    running.server.change(|settings| *settings.filters = tap_filters(&queue, &[Place::In])).expect("filters may change");
    let mut client = Peer::connect(running.address());
    let mut served = upstream.accept();
    client.send(b"x");
    assert_eq!(served.receive_exactly(1), b"x");
    let events = queue.take(Some(Instant::now() + Duration::from_secs(20))).expect("it is open");
    assert!(events.iter().all(|event| event.connection.number == 2), "{events:?}");
}

/// Whoever has seen the event of an end finds the connection ended: its reason and its figures are there.
#[test]
fn a_connection_has_ended_before_its_end_is_seen() {
    for _ in 0..50 {
        let (upstream, record) = (Upstream::new(), Arc::new(Transcript::new(usize::MAX)));
        let witness = Arc::clone(&record);
        let look = Look {
            witness,
            directions: Both { to_upstream: true, to_client: true },
            places: vec![Place::In],
            out_if_changed: false,
            messages: false,
        };
        let running = Running::start(Config { filters: Arc::new([Arc::new(look)]), ..to(upstream.address()) });
        running.server.keep_ended(1);
        let mut client = Peer::connect(running.address());
        let mut served = upstream.accept();
        let connection = running.server.connections().pop().expect("it lives");
        client.send(b"here");
        assert_eq!(served.receive_exactly(4), b"here");
        client.reset();
        let (deadline, mut count) = (Instant::now() + DEADLINE, 0);
        while !record.events(0).1.iter().any(|event| matches!(event.kind, EventKind::Closed { .. })) {
            count = record.wait(count, deadline.saturating_duration_since(Instant::now()));
            assert!(Instant::now() < deadline, "no end among {:?}", record.events(0));
        }
        assert_eq!(connection.reason(), Some(CloseReason::ClientReset));
        let kept: Vec<u64> = running.server.ended().iter().map(|ended| ended.id()).collect();
        assert_eq!((running.server.connections().len(), kept), (0, vec![1]));
        drop(served);
    }
}
