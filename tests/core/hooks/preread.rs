//! `on_preread`: the decision by what the client says first.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Verdict},
    live::handle::Connection,
    settings::{
        config::{Config, Preread, Undecided},
        forward::Forward,
    },
    words::{
        chunk::Chunk,
        direction::Direction::{self, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use crate::support::{
    peers::{End, Peer, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

/// Hooks that decide by the first line.
#[derive(Debug)]
struct ByLine {
    other: Forward,
    /// The bytes shown to each call.
    shown: Mutex<Vec<Bytes>>,
}

impl Hooks for ByLine {
    fn on_accept(&self, _: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(Decision::Default.into())
    }

    fn on_preread(&self, _: &Connection, data: &Bytes) -> Result<Answer<Option<Decision>>, Failed> {
        self.shown.lock().unwrap().push(data.clone());
        let decision = match data.split(|byte| *byte == b'\n').next() {
            Some(line) if line.len() == data.len() => None,
            Some(b"other") => Some(Decision::Forward(self.other.clone())),
            Some(b"refuse") => Some(Decision::Refuse),
            Some(b"fail") => {
                return Err(Failed { reason: CloseReason::CallbackError, error: "it failed".to_owned() });
            }
            _ => Some(Decision::Default),
        };
        Ok(decision.into())
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

struct Site {
    hooks: Arc<ByLine>,
    upstream: Upstream,
    other: Upstream,
    running: Running,
}

impl Site {
    fn start(preread: Preread, interest: Interest) -> Self {
        let (upstream, other) = (Upstream::new(), Upstream::new());
        let hooks = Arc::new(ByLine { other: Forward::to(other.address()), shown: Mutex::default() });
        let config = Config { preread, ..to(upstream.address()) };
        let running = Running::start_hooked(config, hooks.clone(), interest);
        Self { hooks, upstream, other, running }
    }
}

fn places() -> [Interest; 2] {
    [Interest::PREREAD, Interest::PREREAD.with(Interest::ACCEPT).on_any_thread()]
}

#[test]
fn the_first_line_decides_and_every_byte_is_relayed() {
    for interest in places() {
        let site = Site::start(Preread::default(), interest);
        for (said, goes_to) in [(&b"some\nthing"[..], &site.upstream), (b"other\nthing", &site.other)] {
            let mut client = Peer::connect(site.running.address());
            let connection = site.running.connection_of(client.name());
            client.send(said);
            let mut upstream = goes_to.accept();
            assert_eq!(upstream.receive_exactly(said.len()), said);
            client.send(b" more");
            assert_eq!(upstream.receive_exactly(5), b" more");
            client.half_close();
            upstream.half_close();
            assert_eq!(wait_end(&connection), CloseReason::Finished);
            let ledger = connection.ledger(ToUpstream);
            assert_eq!((ledger.read, ledger.delivered), (said.len() as u64 + 5, said.len() as u64 + 5));
        }
    }
}

#[test]
fn the_hook_is_called_again_with_all_bytes_when_more_have_come() {
    let site = Site::start(Preread::default(), Interest::PREREAD);
    let mut client = Peer::connect(site.running.address());
    client.send(b"ot");
    until("the hook was called", || !site.hooks.shown.lock().unwrap().is_empty());
    client.send(b"her\n");
    assert_eq!(site.other.accept().receive_exactly(6), b"other\n");
    let shown = site.hooks.shown.lock().unwrap().clone();
    assert_eq!((&shown[0][..], &shown[shown.len() - 1][..]), (&b"ot"[..], &b"other\n"[..]));
}

#[test]
fn a_client_is_refused_and_a_failing_hook_ends_its_connection_alone() {
    for interest in places() {
        let site = Site::start(Preread::default(), interest);
        for (said, reason) in [(&b"refuse\n"[..], CloseReason::Rejected), (b"fail\n", CloseReason::CallbackError)] {
            let mut client = Peer::connect(site.running.address());
            client.send(said);
            client.expect(End::Reset);
            site.running.wait_closed_for(reason, 1);
        }
        let mut client = Peer::connect(site.running.address());
        client.send(b"fine\n");
        assert_eq!(site.upstream.accept().receive_exactly(5), b"fine\n");
    }
}

#[test]
fn without_a_decision_within_the_bounds_the_setting_decides() {
    type Undecides = fn(&mut Peer);
    let ways: [Undecides; 3] = [
        // Nothing comes in time.
        |_| {},
        // More than the limit comes.
        |client| client.send(b"a line without end"),
        |client| {
            client.send(b"x");
            client.half_close();
        },
    ];
    for way in ways {
        for undecided in [Undecided::Refuse, Undecided::Default] {
            let preread = Preread { limit: 8, timeout: Some(Duration::from_millis(50)), undecided };
            let site = Site::start(preread, Interest::PREREAD);
            let mut client = Peer::connect(site.running.address());
            way(&mut client);
            match undecided {
                Undecided::Refuse => {
                    site.running.wait_closed_for(CloseReason::Undecided, 1);
                    client.expect(End::Reset);
                }
                Undecided::Default => {
                    let mut upstream = site.upstream.accept();
                    upstream.send(b"the server speaks");
                    assert_eq!(client.receive_exactly(17), b"the server speaks");
                }
            }
        }
    }
}
