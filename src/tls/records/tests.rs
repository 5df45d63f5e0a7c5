use std::{collections::VecDeque, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};

use super::*;
use crate::tls::provider;

/// A wire of which a read takes a few bytes at most.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    most: usize,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = buf.len().min(self.most);
        self.bytes.read(&mut buf[..most])
    }
}

/// Our end, the peer's, and the wires to each.
struct Ends {
    ours: Records,
    peer: rustls::Connection,
    to_us: Pipe,
    to_peer: Vec<u8>,
}

impl Ends {
    fn new(version: &'static SupportedProtocolVersion, we_serve: bool, most: usize) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let (server, client, name) = (Arc::new(server), Arc::new(client), ServerName::try_from("localhost").unwrap());
        let (ours, peer) = if we_serve {
            (UnbufferedServerConnection::new(server).unwrap().into(), ClientConnection::new(client, name).unwrap().into())
        } else {
            (UnbufferedClientConnection::new(client, name).unwrap().into(), ServerConnection::new(server).unwrap().into())
        };
        let to_us = Pipe { most, ..Pipe::default() };
        let mut ends = Self { ours: Records::new(ours).unwrap(), peer, to_us, to_peer: Vec::new() };
        ends.carry(1);
        assert!(!ends.peer.is_handshaking() && !ends.ours.connection().is_handshaking());
        ends
    }

    /// Carries bytes both ways until none are under way, and returns those that we read, with `room` for each read.
    fn carry(&mut self, room: usize) -> Vec<u8> {
        let mut read = Vec::new();
        loop {
            self.peer.write_tls(&mut self.to_us.bytes).unwrap();
            while self.ours.wants_write() {
                self.ours.send(&mut self.to_peer).unwrap();
            }
            let mut rest = &self.to_peer[..];
            while !rest.is_empty() {
                self.peer.read_tls(&mut rest).unwrap();
                self.peer.process_new_packets().unwrap();
            }
            self.to_peer.clear();
            let mut plain = Plain::new(&mut read, room);
            if self.ours.has_plain() {
                self.ours.take(&mut plain).unwrap();
            } else {
                match self.ours.receive(&mut self.to_us, |_| (), &mut plain) {
                    Err(_) if !self.ours.wants_write() && !self.peer.wants_write() => return read,
                    received => received.map_or((), |received| assert_ne!(received.unwrap(), 0)),
                }
            }
            let rest = mem::take(&mut plain.rest);
            read.extend_from_slice(&rest);
        }
    }

    fn holds_nothing(&self) -> bool {
        self.ours.kept.capacity() + self.ours.outgoing.buffer.capacity() == 0
    }
}

fn every_kind() -> impl Iterator<Item = (&'static SupportedProtocolVersion, bool)> {
    [&TLS12, &TLS13].into_iter().flat_map(|version| [(version, false), (version, true)])
}

#[test]
fn bytes_arrive_however_the_wire_is_cut_and_whatever_room_there_is_and_then_nothing_is_held() {
    for (version, we_serve) in every_kind() {
        for (most, room) in [(1, 1), (7, 40_000), (5000, 100), (READ, 17), (READ, usize::MAX)] {
            let mut ends = Ends::new(version, we_serve, most);
            let sent: Vec<u8> = (0..=255).cycle().take(40_000).collect();
            ends.peer.writer().write_all(&sent).unwrap();
            assert!(ends.carry(room) == sent, "{version:?} {we_serve} {most} {room}");
            assert!(ends.holds_nothing(), "{version:?} {we_serve} {most} {room}");

            assert_eq!(ends.ours.encrypt(&sent[..RECORD]).unwrap(), (RECORD, Bytes::new()));
            ends.carry(room);
            let mut arrived = vec![0; RECORD];
            ends.peer.reader().read_exact(&mut arrived).unwrap();
            assert!(arrived == sent[..RECORD] && ends.holds_nothing(), "{version:?} {we_serve} {most} {room}");
        }
    }
}

const RECORD: usize = 16 * 1024;

#[test]
fn a_write_behind_bytes_that_lack_room_returns_those() {
    for (version, we_serve) in every_kind() {
        let mut ends = Ends::new(version, we_serve, READ);
        for bytes in ["one", "two"] {
            ends.peer.writer().write_all(bytes.as_bytes()).unwrap();
            ends.peer.write_tls(&mut ends.to_us.bytes).unwrap();
        }
        let mut none = Vec::new();
        ends.ours.receive(&mut ends.to_us, |_| (), &mut Plain::new(&mut none, 0)).unwrap().unwrap();
        assert!(ends.ours.has_plain());
        assert_eq!(ends.ours.encrypt(b"three").unwrap(), (5, Bytes::from("onetwo")));
        assert!(!ends.ours.has_plain() && ends.ours.wants_write());
        assert_eq!(ends.ours.end().unwrap(), Bytes::new());
        ends.carry(9);
        let mut arrived = String::new();
        ends.peer.reader().read_to_string(&mut arrived).unwrap();
        assert_eq!(arrived, "three");
    }
}

#[test]
fn a_broken_record_fails_behind_the_bytes_before_it_and_the_peer_has_the_alert() {
    for (version, we_serve) in every_kind() {
        for room in [0, 9] {
            let mut ends = Ends::new(version, we_serve, READ);
            for bytes in ["good", "broken"] {
                ends.peer.writer().write_all(bytes.as_bytes()).unwrap();
                ends.peer.write_tls(&mut ends.to_us.bytes).unwrap();
            }
            *ends.to_us.bytes.back_mut().unwrap() ^= 1;
            let mut read = Vec::new();
            let mut plain = Plain::new(&mut read, room);
            let received = ends.ours.receive(&mut ends.to_us, |_| (), &mut plain).unwrap();
            let failed = if room == 0 {
                received.unwrap();
                ends.ours.take(&mut Plain::new(&mut read, 9))
            } else {
                received.map(drop)
            };
            assert_eq!((failed, &read[..]), (Err(Error::DecryptError), &b"good"[..]));
            assert_eq!(ends.ours.encrypt(b"nowhere").unwrap().0, 7);
            assert!(ends.ours.wants_write(), "the alert");
            ends.ours.send(&mut ends.to_peer).unwrap();
            ends.peer.read_tls(&mut &ends.to_peer[..]).unwrap();
            assert!(matches!(ends.peer.process_new_packets(), Err(Error::AlertReceived(_))));
        }
    }
}

#[test]
fn bytes_behind_the_peer_s_notice_are_nothing() {
    for (version, we_serve) in every_kind() {
        let mut ends = Ends::new(version, we_serve, READ);
        ends.peer.writer().write_all(b"last").unwrap();
        ends.peer.send_close_notify();
        ends.peer.write_tls(&mut ends.to_us.bytes).unwrap();
        ends.to_us.bytes.extend(b"behind it");
        assert_eq!(ends.carry(9), b"last");
        assert!(ends.ours.has_ended() && ends.holds_nothing());
        assert_eq!(ends.ours.encrypt(b"ours").unwrap().0, 4);
        ends.carry(9);
        let mut arrived = [0; 4];
        ends.peer.reader().read_exact(&mut arrived).unwrap();
        assert_eq!(&arrived, b"ours", "the other direction lives on");
    }
}
