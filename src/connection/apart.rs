//! Upstreams' sockets that are carried alone: connections with nobody in the client's place.
//!
//! Hooks that have each socket carried alone send what comes from one to whichever others they like. So an upstream is as
//! much a connection as a client is, with a life and an end of its own; only figures of connections do not count it.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use socket2::Socket;

use crate::{
    connection::{circle, context::ConnectionContext, entry::Entry},
    io::{
        connector::Way,
        given::{self, Given},
        hops::Hop,
        stream::Unregistered,
    },
    live::{handle::Connection, shared::SideNames},
    threads::workers::Workers,
    words::error::{Error, ErrorKind},
};

/// An upstream's socket, entered in its server. It is aborted if dropped before it is carried.
pub(crate) struct Apart {
    pub(super) entry: Entry,
    pub(super) workers: Workers,
    pub(super) socket: Unregistered,
    pub(super) hop: Option<Hop>,
}

impl Apart {
    pub(crate) fn new(
        context: Arc<ConnectionContext>,
        workers: &Workers,
        (socket, names): (Unregistered, SideNames),
        hop: Option<Hop>,
        passed: u8,
    ) -> Self {
        let entry = Entry::adopted(context, names);
        entry.shared.passed.store(passed, Relaxed);
        Self { entry, workers: workers.clone(), socket, hop }
    }

    /// Takes over a socket that a script has connected, on behalf of `client` if that is known. Fails for a client that has
    /// come round in circles.
    pub(crate) fn of_socket(
        context: Arc<ConnectionContext>,
        workers: &Workers,
        socket: Socket,
        client: Option<&Connection>,
    ) -> Result<Self, Error> {
        let commons = workers.commons();
        let origin = client.map(Connection::origin).unwrap_or_default();
        let came = origin.came(&commons.hops);
        let way = Way { resolver: &commons.resolver, hops: &commons.hops, options: &context.options, came, inside: None };
        let Given { socket, peer, local, hop } = given::adopt(socket, way).map_err(|outcome| {
            let message = outcome.error.unwrap_or_else(|| outcome.reason.word().to_owned());
            Error::new(ErrorKind::Connect, message)
        })?;
        if let Some(client) = client
            && let Err(circle) = circle::refuse_long_way(&context.server, &commons.hops, came.passed)
        {
            client.fail(circle);
        }
        Ok(Self::new(context, workers, (socket, SideNames { peer, local }), hop, came.passed))
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::from(Arc::clone(&self.entry.shared))
    }
}
