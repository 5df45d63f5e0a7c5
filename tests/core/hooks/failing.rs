//! A hook that fails ends its connection, and no other.

use bytes::Bytes;
use interpose::{
    hooks::EndVerdict,
    live::{
        handle::Connection,
        inbox::{Patience, Refused},
    },
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, DIRECTIONS, Gate, Pair, Script, Site, fails, figures};
use crate::support::{
    peers::{End, Peer, until},
    running::wait_end,
};

const ALL: Interest = BOTH.with(Interest::EOF).with(Interest::CONNECT).with(Interest::CLOSE);

/// Whether it is the second connection, whose hooks fail.
fn is_second(connection: &Connection) -> bool {
    connection.id() == 2
}

/// The first connection lives on beside the second, whose hook `end` makes fail.
fn fails_alone(script: Script, end: impl FnOnce(&Site) -> (Peer, Peer, Connection)) {
    let site = Site::start(script, ALL);
    let mut first = site.pair();
    let (mut client, mut upstream, connection) = end(&site);
    client.expect(End::Reset);
    upstream.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::CallbackError);
    assert_eq!(connection.error().as_deref(), Some("the hook broke"));
    until("on_close was called", || site.script.closes() == 1);
    let injected = connection.inject(ToClient, Bytes::from_static(b"x"), Patience::OnLane);
    assert_eq!(injected, Err(Refused::Ended));
    first.pass(ToUpstream, b"there", b"there");
    first.pass(ToClient, b"back", b"back");
    let mut third = site.pair();
    third.pass(ToUpstream, b"there", b"there");
    assert_eq!(site.script.closes(), 1);
}

#[test]
fn on_connect_may_fail() {
    // Not before the client's connect has returned, or that would tell of the reset.
    let gate = Gate::default();
    let before = gate.clone();
    let script = Script::new().connect(move |connection| {
        if !is_second(connection) {
            return Ok(());
        }
        before.pass();
        fails()
    });
    fails_alone(script, |site| {
        let _opened = gate.opened_at_the_end();
        let client = Peer::connect(site.running.address());
        // It may be over before anybody looks for it among the living.
        until("it was asked", || site.script.known(2).is_some());
        (client, site.upstream.accept(), site.script.known(2).unwrap())
    });
}

#[test]
fn on_recv_may_fail() {
    for direction in DIRECTIONS {
        let fail_on_x = |connection: &Connection, _: Direction, chunk: &[u8]| {
            if is_second(connection) && chunk.contains(&b'x') { fails() } else { Ok(interpose::hooks::Verdict::Pass) }
        };
        fails_alone(Script::new().recv(fail_on_x), |site| {
            let mut pair = site.pair();
            pair.pass(direction, b"fine", b"fine");
            pair.ends(direction).0.send(b"x");
            let Pair { client, upstream, connection } = pair;
            until("it ended", || connection.reason().is_some());
            assert_eq!(figures(&connection, direction), [5, 0, 4, 0, 1]);
            (client, upstream, connection)
        });
    }
}

#[test]
fn on_eof_may_fail() {
    for direction in DIRECTIONS {
        let fail = |connection: &Connection, _| if is_second(connection) { fails() } else { Ok(EndVerdict::Pass(Vec::new())) };
        fails_alone(Script::new().eof(fail), |site| {
            let mut pair = site.pair();
            let (source, destination) = pair.ends(direction);
            source.send(b"text");
            assert_eq!(destination.receive_exactly(4), b"text");
            source.half_close();
            let Pair { client, upstream, connection } = pair;
            (client, upstream, connection)
        });
    }
}

/// What a failure's reason says is the connection's: a hook may have ended the whole server.
#[test]
fn a_failure_may_have_another_reason() {
    let script = Script::new()
        .recv(|_, _, _| Err(interpose::hooks::Failed { reason: CloseReason::Stopped, error: "told to exit".to_owned() }));
    let site = Site::start(script, BOTH);
    let mut pair = site.pair();
    pair.client.send(b"x");
    pair.client.expect(End::Reset);
    pair.upstream.expect(End::Reset);
    assert_eq!(wait_end(&pair.connection), CloseReason::Stopped);
    assert_eq!(pair.connection.error().as_deref(), Some("told to exit"));
}
