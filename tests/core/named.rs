//! Listeners that look at TLS hellos: clients are routed by the name they ask for, or by a hook, and nothing is decrypted.

use std::{sync::Arc, time::Duration};

use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, HelloDecision, Hooks, Verdict},
    live::handle::Connection,
    settings::{
        by_name::ByName,
        config::{Config, Preread},
        forward::Forward,
    },
    wire::hello::ClientHello,
    words::{
        chunk::Chunk,
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use crate::support::{
    pattern::Pattern,
    peers::{End, Peer, spawn, until},
    running::{Running, loopback, to, wait_end},
    sessions::made,
    upstreams::Upstream,
};

/// A hello for `a.example`, and one without a name.
const HELLO: &[u8] = include_bytes!("hellos/samples/openssl");
const UNNAMED: &[u8] = include_bytes!("hellos/samples/openssl_unnamed");

const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 1, 0, 2, 2, 112];
const DECODE_ERROR: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];
const ACCESS_DENIED: [u8; 7] = [21, 3, 1, 0, 2, 2, 49];

fn named(names: &[(&str, &Upstream)], default: Option<&Upstream>) -> Config {
    let targets = names.iter().map(|(name, upstream)| ((*name).to_owned(), Forward::to(upstream.address())));
    let by_name = ByName::new(targets, default.map(|upstream| Forward::to(upstream.address()))).unwrap();
    Config { by_name: Some(Arc::new(by_name)), ..Config::new(loopback(), None) }
}

/// Sends `said`, and expects these bytes and an end in order, or nothing and a reset. Returns the connection's error.
fn refused(running: &Running, said: &[u8], alert: Option<[u8; 7]>, reason: CloseReason) -> String {
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    client.send(said);
    match alert {
        Some(alert) => {
            assert_eq!(client.receive_exactly(7), alert);
            client.expect(End::Eof);
        }
        None => client.expect(End::Reset),
    }
    drop(client);
    assert_eq!(wait_end(&connection), reason);
    connection.error().unwrap()
}

#[test]
fn a_client_goes_where_its_name_does_and_no_byte_changes() {
    let (a, b, other) = (Upstream::new(), Upstream::new(), Upstream::new());
    let running = Running::start(named(&[("b.example", &b), ("*.example", &a)], Some(&other)));
    for (hello, goes_to) in [(HELLO, &a), (UNNAMED, &other)] {
        for size in [hello.len(), 100, 1] {
            let mut client = Peer::connect(running.address());
            let connection = running.connection_of(client.name());
            hello.chunks(size).for_each(|piece| client.send(piece));
            let mut upstream = goes_to.accept();
            assert_eq!(upstream.receive_exactly(hello.len()), hello);
            upstream.send(b"\x16\x03\x03 answer");
            assert_eq!(client.receive_exactly(10), b"\x16\x03\x03 answer");
            client.half_close();
            upstream.expect(End::Eof);
            upstream.half_close();
            assert_eq!(wait_end(&connection), CloseReason::Finished);
            let ledger = connection.ledger(ToUpstream);
            assert_eq!((ledger.read, ledger.delivered, ledger.dropped), (hello.len() as u64, hello.len() as u64, 0));
        }
    }
    assert!(b.is_idle());
}

#[test]
fn bytes_behind_the_hello_come_at_once_or_in_a_stream() {
    let a = Upstream::new();
    let running = Running::start(named(&[("a.example", &a)], None));
    let mut client = Peer::connect(running.address());
    let mut early = Pattern::new(1);
    let length = 8 << 20;
    let sending = spawn(move || {
        let behind: Vec<u8> = [HELLO, b"behind it"].concat();
        client.send(&behind);
        client.send_pattern(&mut early, length, || 70_000);
        client.half_close();
        client
    });
    let mut upstream = a.accept();
    assert_eq!(upstream.receive_exactly(HELLO.len() + 9), [HELLO, b"behind it"].concat());
    assert_eq!(upstream.receive_to_end(&mut Pattern::new(1)), (length, End::Eof));
    drop(sending.join().unwrap());
}

#[test]
fn a_name_without_a_target_is_refused_with_an_alert_or_goes_where_the_server_sends_all() {
    let (a, all) = (Upstream::new(), Upstream::new());
    let config = named(&[("b.example", &a)], None);
    let by_name = config.by_name.clone();
    let running = Running::start(config);
    let error = refused(&running, HELLO, Some(UNRECOGNIZED_NAME), CloseReason::UnknownName);
    assert!(error.contains("a.example"), "{error}");
    let error = refused(&running, UNNAMED, Some(UNRECOGNIZED_NAME), CloseReason::UnknownName);
    assert!(error.contains("no name"), "{error}");
    assert!(a.is_idle());
    let running = Running::start(Config { by_name: by_name.clone(), ..to(all.address()) });
    let mut client = Peer::connect(running.address());
    client.send(HELLO);
    assert_eq!(all.accept().receive_exactly(HELLO.len()), HELLO);
    let strict = by_name.map(|by_name| Arc::new(ByName::clone(&by_name).refusing_others()));
    let running = Running::start(Config { by_name: strict, ..to(all.address()) });
    refused(&running, HELLO, Some(UNRECOGNIZED_NAME), CloseReason::UnknownName);
    assert!(all.is_idle());
}

#[test]
fn what_is_no_hello_ends_at_once_with_its_reason() {
    let a = Upstream::new();
    let running = Running::start(named(&[("a.example", &a)], None));
    for (said, hint) in [("GET / HTTP/1.1\r\n\r\n", "HTTP without TLS"), ("SSH-2.0-x\r\n", "SSH"), ("\0\0\0\u{8}", "00 00")] {
        let error = refused(&running, said.as_bytes(), None, CloseReason::ClientTlsFailed);
        assert!(error.contains(hint), "{error}");
    }
    let mut lying = HELLO.to_vec();
    // The length of the number of its session.
    lying[43] = 0xff;
    let error = refused(&running, &lying, Some(DECODE_ERROR), CloseReason::ClientTlsFailed);
    assert!(error.contains("broken TLS hello"), "{error}");
    let mut client = Peer::connect(running.address());
    let connection = running.connection_of(client.name());
    client.send(&HELLO[..100]);
    client.half_close();
    client.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::ClientTlsFailed);
    assert!(a.is_idle());
}

#[test]
fn a_client_that_does_not_finish_its_hello_has_a_limit() {
    let a = Upstream::new();
    let config = Config { hello_timeout: Duration::from_millis(80), ..named(&[("a.example", &a)], None) };
    let running = Running::start(config);
    for said in [&b""[..], &HELLO[..100]] {
        let error = refused(&running, said, None, CloseReason::HandshakeTimeout);
        assert!(error.contains("80ms"), "{error}");
    }
}

#[test]
fn where_plain_clients_are_taken_they_go_on_as_they_are() {
    let (a, all) = (Upstream::new(), Upstream::new());
    let preread = Preread { timeout: Some(Duration::from_millis(50)), ..Preread::default() };
    let by_name = named(&[("a.example", &a)], None).by_name;
    let running = Running::start(Config { by_name, takes_plain: true, preread, ..to(all.address()) });
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16x"] {
        let mut client = Peer::connect(running.address());
        client.send(said);
        assert_eq!(all.accept().receive_exactly(said.len()), said);
    }
    // A client that waits for the server to speak first, and one that says nothing at all.
    let (mut client, mut upstream) = (Peer::connect(running.address()), all.accept());
    upstream.send(b"220 hello\r\n");
    assert_eq!(client.receive_exactly(11), b"220 hello\r\n");
    let client = Peer::connect(running.address());
    client.half_close();
    all.accept().expect(End::Eof);
    let mut client = Peer::connect(running.address());
    client.send(HELLO);
    assert_eq!(a.accept().receive_exactly(HELLO.len()), HELLO);
}

/// Hooks that answer a hello in one way.
#[derive(Debug)]
struct Greeter(fn(&ClientHello) -> Result<HelloDecision, Failed>);

impl Hooks for Greeter {
    fn on_client_hello(&self, _: &Connection, hello: &Arc<ClientHello>) -> Result<Answer<HelloDecision>, Failed> {
        (self.0)(hello).map(Answer::from)
    }

    fn on_accept(&self, _: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(Decision::Default.into())
    }

    fn on_connect(&self, _: &Connection) -> Result<Answer<()>, Failed> {
        Ok(().into())
    }

    fn on_recv(&self, _: &Connection, _: Direction, _: &Chunk) -> Result<Answer<Verdict>, Failed> {
        Ok(Verdict::Pass.into())
    }

    fn on_eof(&self, _: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(EndVerdict::Pass(Vec::new()).into())
    }

    fn on_close(&self, _: &Connection, _: bool) {}
}

fn places() -> [Interest; 2] {
    [Interest::HELLO, Interest::HELLO.with(Interest::ACCEPT).on_any_thread()]
}

#[test]
fn a_hook_is_shown_the_hello_and_refuses_or_fails() {
    let upstream = Upstream::new();
    for interest in places() {
        let hooks = Greeter(|hello| match &hello.server_name {
            Some(name) if name.as_str() == "a.example" && hello.ja4().starts_with("t13d31") => Ok(HelloDecision::Refuse),
            _ => Err(Failed { reason: CloseReason::CallbackError, error: "it failed".to_owned() }),
        });
        let running = Running::start_hooked(to(upstream.address()), Arc::new(hooks), interest);
        refused(&running, HELLO, Some(ACCESS_DENIED), CloseReason::Rejected);
        refused(&running, UNNAMED, None, CloseReason::CallbackError);
        refused(&running, b"GET / HTTP/1.1\r\n\r\n", None, CloseReason::ClientTlsFailed);
    }
    assert!(upstream.is_idle());
}

#[test]
fn a_hook_has_tls_of_the_server_passed_on_undecrypted_or_spoken() {
    let upstream = Upstream::new();
    for interest in places() {
        for (decision, is_decrypted) in
            [((|_: &_| Ok(HelloDecision::Default)) as fn(&ClientHello) -> _, true), (|_| Ok(HelloDecision::Pass), false)]
        {
            let config = Config { tls: Some(Arc::clone(&made().tls)), ..to(upstream.address()) };
            let running = Running::start_hooked(config, Arc::new(Greeter(decision)), interest);
            let client = Peer::connect(running.address());
            let connection = running.connection_of(client.name());
            let handshake = spawn(move || client.with_tls());
            let mut upstream = upstream.accept();
            if !is_decrypted {
                upstream = upstream.serving_tls();
            }
            let mut client = handshake.join().unwrap();
            client.send(b"request");
            assert_eq!(upstream.receive_exactly(7), b"request");
            upstream.send(b"answer");
            assert_eq!(client.receive_exactly(6), b"answer");
            assert_eq!(connection.tls(true).is_some(), is_decrypted);
            // Bytes are counted behind the write that delivers them; undecrypted, the handshake's are among them.
            until("the answer is counted", || connection.ledger(ToClient).delivered >= 6);
            assert_eq!(connection.ledger(ToClient).delivered == 6, is_decrypted);
        }
    }
}

#[test]
fn a_hook_has_tls_spoken_where_the_server_has_none() {
    let upstream = Upstream::new();
    for interest in places() {
        let hooks = Greeter(|_| Ok(HelloDecision::Terminate(Arc::clone(&made().tls))));
        let running = Running::start_hooked(to(upstream.address()), Arc::new(hooks), interest);
        let client = Peer::connect(running.address());
        let handshake = spawn(move || client.with_tls());
        let mut upstream = upstream.accept();
        handshake.join().unwrap().send(b"request");
        assert_eq!(upstream.receive_exactly(7), b"request");
    }
}
