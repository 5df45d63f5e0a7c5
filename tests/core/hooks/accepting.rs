//! Where a client goes, and what is asked before the first byte.

use bytes::Bytes;
use interpose::{
    hooks::{Decision, Verdict},
    live::{
        handle::State,
        inbox::{Patience, Refused},
    },
    settings::forward::Forward,
    words::{
        direction::Direction::{ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, Call, Gate, Script, Site, fails, figures, inject_on_lane, is_silent};
use crate::support::{
    peers::{End, Peer, until},
    running::wait_end,
    upstreams::{Echo, Unserved},
};

/// The same for a connection that is on its lane from the start and for one that only asks there.
pub(super) const PLACES: [Interest; 2] = [Interest::ACCEPT, Interest::ACCEPT.with(BOTH)];

pub(super) fn deciding(decide: impl Fn() -> Decision + Send + Sync + 'static) -> Script {
    Script::new().accept(move |_| Ok(decide()))
}

pub(super) fn is_refused_by(script: impl Fn() -> Script, reason: CloseReason) {
    for interest in PLACES {
        let site = Site::start(script(), interest);
        Peer::connect_and_be_reset(site.running.address());
        site.running.wait_closed_for(reason, 1);
        until("on_close was called", || site.script.closes() == 1);
        assert!(site.upstream.is_idle());
    }
}

#[test]
fn by_default_it_goes_to_the_servers_forward() {
    for interest in PLACES {
        let site = Site::start(Script::new(), interest);
        let mut pair = site.pair();
        pair.pass(ToUpstream, b"there", b"there");
        pair.pass(ToClient, b"back", b"back");
        assert_eq!(site.script.calls(&pair.connection)[0], Call::Accept);
    }
}

#[test]
fn without_a_forward_the_default_fails() {
    for interest in PLACES {
        let site = Site::with(Script::new(), interest, 1, |config| config.forward = None);
        Peer::connect_and_be_reset(site.running.address());
        site.running.wait_closed_for(CloseReason::ConnectFailed, 1);
    }
}

#[test]
fn it_goes_where_the_hook_says() {
    for interest in PLACES {
        let echo = Echo::start();
        let target = echo.address();
        let site =
            Site::with(deciding(move || Decision::Forward(Forward::to(target))), interest, 1, |config| config.forward = None);
        let (mut client, connection) = site.client();
        client.send(b"hello");
        assert_eq!(client.receive_exactly(5), b"hello");
        assert_eq!(connection.upstream().unwrap().peer.inet(), Some(target));
        client.half_close();
        client.expect(End::Eof);
        assert_eq!(wait_end(&connection), CloseReason::Finished);
        assert!(site.upstream.is_idle());
    }
}

#[test]
fn a_forward_that_cannot_work_fails_its_connection_only() {
    let unserved = Unserved::new();
    let target = unserved.address();
    is_refused_by(move || deciding(move || Decision::Forward(Forward::to(target))), CloseReason::Refused);
    let nowhere = "127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap();
    is_refused_by(move || deciding(move || Decision::Forward(Forward::to(nowhere))), CloseReason::ConnectFailed);
}

#[test]
fn without_an_upstream_the_hooks_answer() {
    let answer = |connection: &interpose::live::handle::Connection, _, chunk: &[u8]| {
        inject_on_lane(connection, ToClient, [b"you said ", chunk].concat());
        Ok(Verdict::Pass)
    };
    let script = deciding(|| Decision::Nowhere).recv(answer);
    let site = Site::start(script, PLACES[1].with(Interest::EOF).with(Interest::CONNECT));
    let (mut client, connection) = site.client();
    for _ in 0..3 {
        client.send(b"hello");
        assert_eq!(client.receive_exactly(14), b"you said hello");
    }
    assert_eq!((connection.state(), connection.upstream()), (State::Open, None));
    client.half_close();
    client.expect(End::Eof);
    assert_eq!(wait_end(&connection), CloseReason::Finished);
    assert_eq!(figures(&connection, ToUpstream), [15, 0, 0, 15, 0]);
    assert_eq!(figures(&connection, ToClient), [0, 42, 42, 0, 0]);
    assert!(site.upstream.is_idle());
    assert_eq!(site.script.count(|call| *call == Call::Connect), 0, "nothing was connected");
}

/// Without an upstream and with nobody who looks: what the client sends is dropped, until it ends.
#[test]
fn without_an_upstream_and_unseen_a_client_is_drained() {
    let site = Site::start(deciding(|| Decision::Nowhere), Interest::ACCEPT);
    let (mut client, connection) = site.client();
    client.send(&vec![7; 1 << 20]);
    until("it was read", || figures(&connection, ToUpstream) == [1 << 20, 0, 0, 1 << 20, 0]);
    super::inject(&connection, ToClient, "answer");
    assert_eq!(client.receive_exactly(6), b"answer");
    client.half_close();
    client.expect(End::Eof);
    assert_eq!(wait_end(&connection), CloseReason::Finished);
}

#[test]
fn one_who_is_refused_is_reset() {
    is_refused_by(|| deciding(|| Decision::Refuse), CloseReason::Rejected);
}

#[test]
fn one_who_is_refused_with_words_gets_them() {
    for interest in PLACES {
        let script = Script::new().accept(|connection| {
            inject_on_lane(connection, ToClient, "421 go ");
            inject_on_lane(connection, ToClient, "away\r\n");
            inject_on_lane(connection, ToUpstream, "never sent");
            Ok(Decision::Refuse)
        });
        let site = Site::start(script, interest);
        let (mut client, connection) = site.client();
        assert_eq!(client.receive_exactly(13), b"421 go away\r\n");
        client.expect(End::Eof);
        client.close();
        assert_eq!(wait_end(&connection), CloseReason::Rejected);
        assert_eq!(figures(&connection, ToClient), [0, 13, 13, 0, 0]);
        assert_eq!(figures(&connection, ToUpstream), [0, 10, 0, 0, 10]);
    }
}

#[test]
fn one_whose_hook_fails_is_reset() {
    is_refused_by(|| Script::new().accept(|_| fails()), CloseReason::CallbackError);
}

#[test]
fn connecting_is_told_once_and_before_any_chunk() {
    for interest in [Interest::CONNECT, Interest::CONNECT.with(BOTH)] {
        let script = Script::new().connect(|connection| {
            assert_eq!(connection.state(), State::Open);
            assert!(connection.upstream().is_some());
            inject_on_lane(connection, ToUpstream, "PROXY ");
            inject_on_lane(connection, ToClient, "220 ");
            Ok(())
        });
        let site = Site::start(script, interest);
        // Sent before anything is connected.
        let mut client = Peer::connect(site.running.address());
        client.send(b"EHLO");
        let mut upstream = site.upstream.accept();
        upstream.send(b"hello");
        assert_eq!(upstream.receive_exactly(10), b"PROXY EHLO");
        assert_eq!(client.receive_exactly(9), b"220 hello");
        let connection = site.running.connection_of(client.name());
        let calls = site.script.calls(&connection);
        assert_eq!(calls[0], Call::Connect);
        assert_eq!(calls.iter().filter(|call| **call == Call::Connect).count(), 1);
        assert_eq!(calls.len() > 1, interest.has(BOTH), "{calls:?}");
    }
}

/// What was taken for a client that has left since is in the ledger, all of it.
#[test]
fn words_for_one_who_left_are_accounted_for() {
    let gate = Gate::default();
    let before = gate.clone();
    let script = Script::new().accept(move |connection| {
        (0..3).for_each(|_| inject_on_lane(connection, ToClient, "words"));
        before.pass();
        Ok(Decision::Refuse)
    });
    let site = Site::start(script, Interest::ACCEPT);
    let _opened = gate.opened_at_the_end();
    let (client, connection) = site.client();
    gate.wait_for_somebody();
    client.reset();
    assert_eq!(wait_end(&connection), CloseReason::ClientGone);
    let [read, added, delivered, dropped, undeliverable] = figures(&connection, ToClient);
    assert_eq!((read, added, dropped, delivered + undeliverable), (0, 15, 0, 15));
}

#[test]
fn without_an_upstream_the_other_ends_are_true_too() {
    for interest in PLACES {
        let site = Site::start(deciding(|| Decision::Nowhere), interest);
        let (client, connection) = site.client();
        until("it is open", || connection.state() == State::Open);
        client.reset();
        assert_eq!(wait_end(&connection), CloseReason::ClientReset);
        let (mut client, connection) = site.client();
        until("it is open", || connection.state() == State::Open);
        connection.half_close(ToClient);
        client.expect(End::Eof);
        client.half_close();
        assert_eq!(wait_end(&connection), CloseReason::Finished);
        let (mut client, connection) = site.client();
        until("it is open", || connection.state() == State::Open);
        super::inject(&connection, ToClient, "bye");
        connection.close();
        assert_eq!(client.receive_exactly(3), b"bye");
        client.expect(End::Eof);
        client.close();
        assert_eq!(wait_end(&connection), CloseReason::Closed);
    }
}

/// A stop does not wait for a hook's answer.
#[test]
fn one_whose_hook_is_asked_is_stopped() {
    let gate = Gate::default();
    let before = gate.clone();
    let script = Script::new().accept(move |_| {
        before.pass();
        Ok(Decision::Default)
    });
    let site = Site::start(script, Interest::ACCEPT);
    let _opened = gate.opened_at_the_end();
    let (mut client, connection) = site.client();
    gate.wait_for_somebody();
    site.running.server.stop(std::time::Duration::ZERO);
    client.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::Stopped);
}

/// Nothing is read from either side while the hooks are asked.
#[test]
fn nothing_flows_until_the_hooks_have_answered() {
    for interest in [Interest::CONNECT, Interest::CONNECT.with(BOTH)] {
        let gate = Gate::default();
        let before = gate.clone();
        let site = Site::start(
            Script::new().connect(move |_| {
                before.pass();
                Ok(())
            }),
            interest,
        );
        let _opened = gate.opened_at_the_end();
        let (mut client, connection) = site.client();
        let mut upstream = site.upstream.accept();
        client.send(b"there");
        upstream.send(b"back");
        gate.wait_for_somebody();
        client.wait_acknowledged();
        assert!(is_silent(&client) && is_silent(&upstream));
        assert_eq!((figures(&connection, ToUpstream), figures(&connection, ToClient)), ([0; 5], [0; 5]));
        gate.open();
        assert_eq!(upstream.receive_exactly(5), b"there");
        assert_eq!(client.receive_exactly(4), b"back");
    }
}

/// A client that leaves while its hook is asked is gone at once; the hook's late answer changes nothing.
#[test]
fn one_who_leaves_while_the_hook_is_asked() {
    let gate = Gate::default();
    let before = gate.clone();
    let script = Script::new().accept(move |connection| {
        before.pass();
        let late = connection.inject(ToClient, Bytes::from_static(b"x"), Patience::OnLane);
        assert_eq!(late, Err(Refused::Ended));
        Ok(Decision::Default)
    });
    let site = Site::start(script, Interest::ACCEPT);
    let _opened = gate.opened_at_the_end();
    let (client, connection) = site.client();
    gate.wait_for_somebody();
    client.reset();
    assert_eq!(wait_end(&connection), CloseReason::ClientGone);
    assert_eq!(site.script.closes(), 0, "the hooks are told on their lane, after the question");
    gate.open();
    until("on_close was called", || site.script.closes() == 1);
    assert_eq!(site.script.calls(&connection), [Call::Accept, Call::Close { wanted: false }]);
    assert!(site.upstream.is_idle());
}
