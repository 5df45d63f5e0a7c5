//! The sessions of upstreams that later connections continue.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use rustls::{
    NamedGroup,
    client::{ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};

use crate::words::lock::EvenPoisoned;

/// Maximum number of tickets of all upstreams of one setting. Each serves one connection, and rustls itself keeps eight for
/// an upstream: too few where more connections than that begin together.
const MOST: usize = 256;

/// The tickets of upstreams, each for one connection; the newest are used first, and the oldest dropped.
#[derive(Debug)]
pub(super) struct Tickets {
    tickets: Mutex<VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>>,
    /// Sessions of TLS 1.2, which serve any number of connections.
    sessions: ClientSessionMemoryCache,
}

impl Tickets {
    /// Returns a store that is empty.
    pub(super) fn store() -> Resumption {
        let tickets = Mutex::new(VecDeque::new());
        Resumption::store(Arc::new(Self { tickets, sessions: ClientSessionMemoryCache::new(MOST) }))
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.tickets.lock().even_poisoned();
        if tickets.len() == MOST {
            tickets.pop_front();
        }
        tickets.push_back((server_name, value));
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut tickets = self.tickets.lock().even_poisoned();
        let newest = tickets.iter().rposition(|(name, _)| name == server_name)?;
        tickets.remove(newest).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use rustls::{
        ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
        pki_types::PrivateKeyDer,
    };

    use super::*;
    use crate::tls::provider;

    /// Moves bytes between both ends until neither has any for the other.
    fn settle(ends: &mut [Connection; 2]) {
        loop {
            let mut is_quiet = true;
            for (from, to) in [(0, 1), (1, 0)] {
                let mut bytes = Vec::new();
                while ends[from].wants_write() {
                    ends[from].write_tls(&mut bytes).unwrap();
                }
                is_quiet &= bytes.is_empty();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    ends[to].read_tls(&mut rest).unwrap();
                    ends[to].process_new_packets().unwrap();
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    #[test]
    fn connections_that_begin_together_have_a_ticket_each() {
        const TOGETHER: usize = 20;
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned(), "b.example".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        server.send_tls13_tickets = TOGETHER;
        let client = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let mut client = client.with_root_certificates(roots).with_no_client_auth();
        client.resumption = Tickets::store();
        let (server, client) = (Arc::new(server), Arc::new(client));
        let begin = |name: &'static str| -> [Connection; 2] {
            let name = ServerName::try_from(name).unwrap();
            let client = ClientConnection::new(Arc::clone(&client), name).unwrap();
            [client.into(), ServerConnection::new(Arc::clone(&server)).unwrap().into()]
        };
        let kinds = |mut all: Vec<[Connection; 2]>| -> Vec<_> {
            all.iter_mut().for_each(settle);
            all.iter().map(|[client, _]| client.handshake_kind().unwrap()).collect()
        };
        assert_eq!(kinds(vec![begin("a.example")]), [HandshakeKind::Full]);
        let together = (0..TOGETHER).map(|_| begin("a.example")).collect();
        assert_eq!(kinds(together), [HandshakeKind::Resumed; TOGETHER]);
        assert_eq!(kinds(vec![begin("b.example")]), [HandshakeKind::Full], "tickets are one upstream's");
        assert_eq!(kinds(vec![begin("a.example")]), [HandshakeKind::Resumed], "and those of others stay");
    }
}
