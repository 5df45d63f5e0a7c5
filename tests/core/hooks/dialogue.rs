//! Dialogues: a hook that answers later reads and sends before the bytes of a side are relayed.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Reply, Ticket, Verdict},
    inspect::framing::{Cut, FramingPair, Lines, Postgres},
    live::{
        handle::Connection,
        inbox::Patience,
        read_requests::{Unread, Wanted, Wish},
    },
    words::{
        chunk::Chunk,
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::is_silent;
use crate::support::{
    peers::{DEADLINE, End, Peer, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

/// Hooks whose questions about a client, and about a connected upstream, are answered by the test.
#[derive(Debug, Default)]
struct Asking {
    accept: Mutex<Vec<(Connection, Reply<Decision>)>>,
    connect: Mutex<Vec<(Connection, Reply<()>)>>,
}

impl Hooks for Asking {
    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        let (ticket, reply) = Ticket::new(connection);
        self.accept.lock().unwrap().push((connection.clone(), reply));
        Ok(Answer::Later(ticket))
    }

    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed> {
        let (ticket, reply) = Ticket::new(connection);
        self.connect.lock().unwrap().push((connection.clone(), reply));
        Ok(Answer::Later(ticket))
    }

    fn on_recv(&self, _: &Connection, _: Direction, _: &Chunk) -> Result<Answer<Verdict>, Failed> {
        Ok(Verdict::Pass.into())
    }

    fn on_eof(&self, _: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(EndVerdict::Pass(Vec::new()).into())
    }

    fn on_close(&self, _: &Connection, _: bool) {}
}

/// A server that asks, its upstream, and one client of it.
struct Site {
    hooks: Arc<Asking>,
    upstream: Upstream,
    _running: Running,
    client: Peer,
}

impl Site {
    fn start(interest: Interest) -> Self {
        let (hooks, upstream) = (Arc::<Asking>::default(), Upstream::new());
        let running = Running::start_hooked(to(upstream.address()), hooks.clone(), interest);
        let client = Peer::connect(running.address());
        Self { hooks, upstream, _running: running, client }
    }

    fn accepting() -> Self {
        Self::start(Interest::ACCEPT.on_any_thread())
    }

    fn asked(&self) -> (Connection, Reply<Decision>) {
        until("a client was asked about", || !self.hooks.accept.lock().unwrap().is_empty());
        self.hooks.accept.lock().unwrap().remove(0)
    }

    fn asked_to_connect(&self) -> (Connection, Reply<()>) {
        until("an upstream was asked about", || !self.hooks.connect.lock().unwrap().is_empty());
        self.hooks.connect.lock().unwrap().remove(0)
    }
}

/// Requests a read, and returns the number of it and the receiver of its result.
fn begin(
    connection: &Connection,
    direction: Direction,
    wanted: Wanted,
    peeks: bool,
) -> Result<(u64, mpsc::Receiver<Result<Bytes, Unread>>), Unread> {
    let (answer, answered) = mpsc::sync_channel(1);
    let wish = Wish { wanted, peeks, holds: false, deadline: None };
    let number = connection.read(direction, wish, Box::new(move |result| drop(answer.send(result))))?;
    Ok((number, answered))
}

fn read(connection: &Connection, direction: Direction, wanted: Wanted) -> Result<Bytes, Unread> {
    begin(connection, direction, wanted, false)?.1.recv_timeout(DEADLINE).expect("every read is answered")
}

fn line() -> Wanted {
    Wanted::Until { delimiter: Bytes::from_static(b"\r\n"), limit: 64 }
}

#[test]
fn what_is_not_consumed_is_relayed_and_what_is_consumed_is_counted() {
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    site.client.send(b"HELLO x");
    let (_, answered) = begin(&connection, ToUpstream, line(), false).unwrap();
    // The delimiter comes in two reads.
    site.client.send(b"y\r");
    site.client.send(b"\nrest");
    assert_eq!(answered.recv_timeout(DEADLINE).unwrap().unwrap(), "HELLO xy\r\n");
    let (_, answered) = begin(&connection, ToUpstream, Wanted::Exactly(4), true).unwrap();
    assert_eq!(answered.recv_timeout(DEADLINE).unwrap().unwrap(), "rest");
    assert_eq!(read(&connection, ToUpstream, Wanted::AtMost(1)).unwrap(), "r", "peeked bytes are read again");
    assert!(reply.complete(Ok(Decision::Default)));
    let mut upstream = site.upstream.accept();
    assert_eq!(upstream.receive_exactly(3), b"est");
    site.client.send(b" and more");
    assert_eq!(upstream.receive_exactly(9), b" and more");
    site.client.half_close();
    upstream.expect(End::Eof);
    upstream.half_close();
    site.client.expect(End::Eof);
    assert_eq!(wait_end(&connection), CloseReason::Finished);
    let ledger = connection.ledger(ToUpstream);
    assert_eq!((ledger.read, ledger.dropped, ledger.delivered), (23, 11, 12));
}

#[test]
fn words_are_sent_at_once_while_the_hook_is_asked() {
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    connection.inject(ToClient, Bytes::from_static(b"220 who?\r\n"), Patience::Wait(None)).unwrap();
    assert_eq!(site.client.receive_exactly(10), b"220 who?\r\n");
    site.client.send(b"me\r\n");
    assert_eq!(read(&connection, ToUpstream, line()).unwrap(), "me\r\n");
    connection.inject(ToClient, Bytes::from_static(b"250 go\r\n"), Patience::Wait(None)).unwrap();
    assert_eq!(site.client.receive_exactly(8), b"250 go\r\n");
    assert!(reply.complete(Ok(Decision::Default)));
    let mut upstream = site.upstream.accept();
    upstream.send(b"now");
    assert_eq!(site.client.receive_exactly(3), b"now");
    assert_eq!(connection.ledger(ToClient).added, 18);
}

#[test]
fn one_who_is_refused_after_words_has_them_and_an_orderly_end() {
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    site.client.send(b"me\r\nand bytes that nobody reads");
    assert_eq!(read(&connection, ToUpstream, line()).unwrap(), "me\r\n");
    connection.inject(ToClient, Bytes::from_static(b"550 no\r\n"), Patience::Wait(None)).unwrap();
    site.client.wait_readable();
    assert!(reply.complete(Ok(Decision::Refuse)));
    assert_eq!(site.client.receive_exactly(8), b"550 no\r\n");
    site.client.expect(End::Eof);
    site.client.half_close();
    assert_eq!(wait_end(&connection), CloseReason::Rejected);
}

#[test]
fn both_sides_are_spoken_to_once_the_upstream_is_connected() {
    for direction in [ToUpstream, ToClient] {
        let mut site = Site::start(Interest::CONNECT.on_any_thread());
        let (connection, reply) = site.asked_to_connect();
        let mut upstream = site.upstream.accept();
        let (source, destination) = match direction {
            ToUpstream => (&mut site.client, &mut upstream),
            ToClient => (&mut upstream, &mut site.client),
        };
        source.send(b"login\r\nand the rest");
        assert_eq!(read(&connection, direction, line()).unwrap(), "login\r\n");
        connection.inject(direction, Bytes::from_static(b"hello"), Patience::Wait(None)).unwrap();
        assert_eq!(destination.receive_exactly(5), b"hello");
        assert!(is_silent(destination), "nothing is relayed yet");
        assert!(reply.complete(Ok(())));
        assert_eq!(destination.receive_exactly(12), b"and the rest");
    }
}

#[test]
fn a_read_fails_with_its_reason_and_loses_no_byte() {
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    assert_eq!(begin(&connection, ToClient, line(), false).unwrap_err(), Unread::Closed, "the upstream is not there");
    assert_eq!(
        begin(&connection, ToUpstream, Wanted::Exactly(usize::MAX), false).unwrap_err(),
        Unread::TooMuch(16 * 1024 * 1024)
    );
    let (number, waiting) = begin(&connection, ToUpstream, line(), false).unwrap();
    assert_eq!(begin(&connection, ToUpstream, line(), false).unwrap_err(), Unread::Busy);
    assert!(connection.cancel_read(ToUpstream, number) && !connection.cancel_read(ToUpstream, number));
    assert!(waiting.recv_timeout(DEADLINE).is_err(), "its answer was dropped with it");
    site.client.send(&[b'x'; 100]);
    assert_eq!(read(&connection, ToUpstream, line()).unwrap_err(), Unread::TooMuch(64));
    let seen = read(&connection, ToUpstream, Wanted::AtMost(10)).unwrap();
    connection.put_back(ToUpstream, &seen, false);
    let (answer, answered) = mpsc::sync_channel(1);
    let deadline = Some(Instant::now() + Duration::from_millis(20));
    let wish = Wish { wanted: Wanted::Exactly(200), peeks: false, holds: false, deadline };
    connection.read(ToUpstream, wish, Box::new(move |result| drop(answer.send(result)))).unwrap();
    assert_eq!(answered.recv_timeout(DEADLINE).unwrap().unwrap_err(), Unread::Late);
    site.client.half_close();
    assert_eq!(read(&connection, ToUpstream, Wanted::Exactly(200)).unwrap_err(), Unread::End(100));
    assert!(reply.complete(Ok(Decision::Default)));
    let mut upstream = site.upstream.accept();
    assert_eq!(upstream.receive_exactly(100), [b'x'; 100]);
    upstream.expect(End::Eof);
    assert_eq!(begin(&connection, ToUpstream, line(), false).unwrap_err(), Unread::Closed, "it is relayed");
    assert_eq!(connection.ledger(ToUpstream).dropped, 0);
}

#[test]
fn bytes_that_may_be_put_back_hold_the_reads_that_would_take_those_behind_them() {
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    site.client.send(b"abcdef");
    let holding = |peeks| {
        let (answer, answered) = mpsc::sync_channel(1);
        let wish = Wish { wanted: Wanted::Exactly(2), peeks, holds: true, deadline: None };
        connection.read(ToUpstream, wish, Box::new(move |result| drop(answer.send(result)))).unwrap();
        answered.recv_timeout(DEADLINE).unwrap().unwrap()
    };
    assert_eq!(holding(true), "ab");
    let first = holding(false);
    assert_eq!(begin(&connection, ToUpstream, Wanted::AtMost(1), false).unwrap_err(), Unread::Busy);
    connection.put_back(ToUpstream, &first, false);
    assert_eq!(holding(false), "ab");
    connection.note_seen(ToUpstream);
    assert_eq!(read(&connection, ToUpstream, Wanted::Exactly(2)).unwrap(), "cd");
    assert!(reply.complete(Ok(Decision::Default)));
    assert_eq!(site.upstream.accept().receive_exactly(2), b"ef");
}

#[test]
fn whole_messages_are_read_and_the_rest_is_relayed() {
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    site.client.send(b"one\ntwo\nthree");
    let message = || Wanted::Message { framing: FramingPair::both(Arc::new(Lines)), limit: 1024 };
    assert_eq!(read(&connection, ToUpstream, message()).unwrap(), "one\n");
    assert_eq!(read(&connection, ToUpstream, message()).unwrap(), "two\n");
    assert!(reply.complete(Ok(Decision::Default)));
    assert_eq!(site.upstream.accept().receive_exactly(5), b"three");
    assert!(connection.take_framers().is_some_and(|framers| framers.to_upstream.is_some()));
}

#[test]
fn a_message_that_is_put_back_is_the_next_one_for_reads_and_for_the_relay() {
    // The framer has passed the start-up, which has no type: asked for it once more, it would refuse it.
    let start_up = b"\0\0\0\x10\0\x03\0\0user\0x\0\0";
    let query = b"Q\0\0\0\x061\0";
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    site.client.send(&[start_up.as_slice(), query].concat());
    let message = || Wanted::Message { framing: FramingPair::both(Arc::new(Postgres)), limit: 1024 };
    for _ in 0..2 {
        let unseen = read(&connection, ToUpstream, message()).unwrap();
        assert_eq!(unseen, start_up.as_slice());
        connection.put_back(ToUpstream, &unseen, true);
    }
    assert_eq!(read(&connection, ToUpstream, Wanted::Exactly(4)).unwrap(), start_up[..4]);
    assert!(reply.complete(Ok(Decision::Default)));
    let relayed = site.upstream.accept().receive_exactly(12 + query.len());
    assert_eq!(relayed, [&start_up[4..], query].concat());
    let mut framer = connection.take_framers().and_then(|framers| framers.to_upstream).unwrap();
    assert_eq!(framer.cut(&relayed[..5], 0), Ok(Cut::More { least: Some(12) }));
    assert_eq!(framer.cut(&relayed, 5), Ok(Cut::Message(12)));
    assert_eq!(framer.cut(&relayed[12..], 0), Ok(Cut::Message(query.len())));
}

#[test]
fn a_client_that_leaves_in_a_dialogue_ends_it() {
    for reads in [true, false] {
        let site = Site::accepting();
        let (connection, reply) = site.asked();
        let answered = reads.then(|| begin(&connection, ToUpstream, line(), false).unwrap().1);
        site.client.reset();
        until("the answer is cancelled", || reply.is_cancelled());
        assert_eq!(wait_end(&connection), CloseReason::ClientGone);
        if let Some(answered) = answered {
            assert_eq!(answered.recv_timeout(DEADLINE).unwrap().unwrap_err(), Unread::Closed);
        }
    }
}

#[test]
fn a_read_that_waits_when_the_hook_answers_is_refused() {
    let mut site = Site::accepting();
    let (connection, reply) = site.asked();
    site.client.send(b"no end of line");
    let (_, answered) = begin(&connection, ToUpstream, line(), false).unwrap();
    assert!(reply.complete(Ok(Decision::Default)));
    assert_eq!(answered.recv_timeout(DEADLINE).unwrap().unwrap_err(), Unread::Closed);
    assert_eq!(site.upstream.accept().receive_exactly(14), b"no end of line");
}
