//! The server state that connections need: the part that all of them share, and the settings in force when each was accepted.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use crate::{
    connection::steps::Steps,
    hooks::ServerHooks,
    inspect::{faults::set::FaultSet, filters::Filters},
    io::{hops::LastCircle, options::SocketOptions, ready::Accepted},
    live::{registry::Registry, shared::Shared},
    settings::{
        by_name::ByName,
        config::{Coalesce, Config, Preread, Splice, Timeouts},
        forward::Forward,
    },
    threads::lane::Lanes,
    tls::{intercept::Intercept, terminate::Tls},
    words::{
        addr::{Address, SocketName},
        error::{Error, ErrorKind},
        log_target,
        outcome::{CloseReason, Outcome},
        stats::MirrorMeter,
        throttle::Throttle,
    },
};

/// State that all connections of one server share, for the server's whole life.
#[derive(Debug)]
pub(crate) struct ServerShared {
    /// The name of the listener's socket.
    pub address: SocketName,
    /// The name of the second socket, of a listener that has two.
    pub other_address: Option<SocketName>,
    pub registry: Registry,
    /// The hooks, once some are registered.
    pub hooked: OnceLock<Arc<ServerHooks>>,
    /// The lanes on which the hooks run.
    pub lanes: Arc<Lanes>,
    /// Set for good once the process has run out of descriptors, or nearly: then a client's descriptors are reserved first.
    pub short_of_descriptors: AtomicBool,
    pub faults: FaultSet,
    /// Limits the log lines about connections that failed.
    pub connect_log: Throttle,
    pub last_circle: LastCircle,
    /// The counts of the copies that go to the second target.
    pub mirror: Arc<MirrorMeter>,
    /// Limits the log lines about second targets that miss bytes.
    pub mirror_log: Throttle,
}

/// The settings that a connection keeps for its life: a snapshot of its server's when it was accepted, shared by all
/// connections that were accepted under them.
#[derive(Debug)]
pub(crate) struct ConnectionContext {
    pub server: Arc<ServerShared>,
    pub forward: Option<Forward>,
    /// The second target, which gets a copy of the client's bytes.
    pub mirror: Option<Forward>,
    pub timeouts: Timeouts,
    pub options: SocketOptions,
    /// The unacknowledged bound of a client's socket, where that has another from the listener; zero is none.
    pub unlike_listener: Option<Duration>,
    pub splice: Splice,
    pub coalesce: Coalesce,
    pub preread: Preread,
    /// True if the connection's end is logged in one line.
    pub log_connections: bool,
    pub filters: Filters,
    /// The TLS that is spoken with the client.
    pub tls: Option<Arc<Tls>>,
    /// Looks inside the client's TLS, in place of `tls`.
    pub intercept: Option<Arc<Intercept>>,
    /// The targets of clients by the name they ask for.
    pub by_name: Option<Arc<ByName>>,
    /// True if clients that speak no TLS are relayed as they are.
    pub takes_plain: bool,
    /// Time limit of a client's hello where `tls` sets none.
    pub hello_timeout: Duration,
    /// The steps of a client before `on_accept`.
    pub arrival: Option<Arc<Steps>>,
    /// The steps of an upstream once it is connected.
    pub outbound: Option<Arc<Steps>>,
}

impl ServerShared {
    pub(crate) fn new(address: SocketName, other_address: Option<SocketName>, faults: FaultSet) -> Self {
        Self {
            address,
            other_address,
            registry: Registry::new(Arc::clone(&faults.draws)),
            hooked: OnceLock::new(),
            lanes: Arc::default(),
            short_of_descriptors: AtomicBool::new(false),
            faults,
            connect_log: Throttle::default(),
            last_circle: LastCircle::default(),
            mirror: Arc::default(),
            mirror_log: Throttle::default(),
        }
    }

    /// Refuses a forward with a target that can only be this server's own listener. `name` is the setting it is given as.
    pub(crate) fn refuse_itself(&self, name: &str, forward: Option<&Forward>) -> Result<(), Error> {
        forward.into_iter().flat_map(Forward::targets).try_for_each(|target| self.refuse_own(name, &target.address))
    }

    fn refuse_own(&self, name: &str, address: &Address) -> Result<(), Error> {
        let target = address.socket_addr();
        let own = match (address, &self.address) {
            (Address::Unix(target), SocketName::Unix(own)) => target == own,
            _ => target.is_some_and(|target| {
                let reaches_wildcard = target.ip().is_loopback() || target.ip().is_unspecified();
                self.address.inet() == Some(target) || (self.is_own_wildcard(target) && reaches_wildcard)
            }),
        };
        if !own {
            return Ok(());
        }
        let message = format!("{name} {address}: it is the listener's own address; forward to the upstream's");
        Err(Error::new(ErrorKind::Config, message))
    }

    /// Returns true if the listener serves `target` beside its first address: as its second one, or because it has the port
    /// and serves every address of the family, or of both.
    pub(crate) fn is_own_wildcard(&self, target: SocketAddr) -> bool {
        if self.other_address.as_ref().and_then(SocketName::inet) == Some(target) {
            return true;
        }
        let serves = |own: SocketAddr| own.ip().is_unspecified() && (own.is_ipv6() || target.ip().to_canonical().is_ipv4());
        self.address.inet().is_some_and(|own| serves(own) && own.port() == target.port())
    }

    /// Returns our end of an accepted connection. Asks the kernel only where the listener's name does not determine it.
    pub(crate) fn client_local(&self, accepted: &Accepted) -> SocketName {
        match self.address.inet() {
            Some(own) if own.ip().is_unspecified() => accepted.local().unwrap_or_else(|_| self.address.clone()),
            _ => match &self.other_address {
                Some(other) if accepted.peer().inet().is_some_and(|peer| peer.is_ipv6()) => other.clone(),
                _ => self.address.clone(),
            },
        }
    }

    /// Keeps the line about targets that could not be connected before the one that was, and logs it at most once a second.
    pub(crate) fn note_passed_over(&self, shared: &Shared, line: Box<str>) {
        if let Some(more) = self.connect_log.pass() {
            log::warn!(target: log_target::CONNECTION, "{}: {line}{more}", shared.id);
        }
        shared.keep_passed_over(line);
    }

    /// Logs, at most once a second, that a client found no upstream, or that a connection was ended by this process or its
    /// system.
    pub(crate) fn report_failure(&self, shared: &Shared, outcome: &Outcome) {
        use CloseReason as Reason;
        // Requested by the user, or logged already by the code that ran the hook.
        let is_known = matches!(
            outcome.reason,
            Reason::Closed
                | Reason::Aborted
                | Reason::Stopped
                | Reason::ClientGone
                | Reason::Rejected
                | Reason::CallbackError
                | Reason::Fault
        );
        if is_known {
            return;
        }
        if let Some(more) = self.connect_log.pass() {
            let why = outcome.error.as_deref().unwrap_or_default();
            let side = if shared.is_adopted { "upstream" } else { "client" };
            log::warn!(target: log_target::CONNECTION, "{}: {side} {} closed ({}): {why}{more}", shared.id, shared.client_names().peer, outcome.reason);
        }
    }
}

impl ConnectionContext {
    /// Returns true if clients begin in plain, and TLS may follow.
    pub(crate) fn begins_plain(&self) -> bool {
        self.intercept.as_ref().is_some_and(|by| by.settings().starttls)
    }

    /// Returns the context of connections that are accepted under `config`.
    pub(crate) fn new(server: Arc<ServerShared>, config: &Config) -> Self {
        Self {
            server,
            forward: config.forward.clone(),
            mirror: config.mirror.clone(),
            timeouts: config.timeouts.clone(),
            options: SocketOptions { unacknowledged: config.timeouts.unacknowledged },
            unlike_listener: None,
            splice: config.relay.splice,
            coalesce: config.relay.coalesce,
            preread: config.preread.clone(),
            log_connections: config.listening.log_connections,
            filters: config.filters.clone(),
            tls: config.tls.clone(),
            intercept: config.intercept.clone(),
            by_name: config.by_name.clone(),
            takes_plain: config.takes_plain,
            hello_timeout: config.hello_timeout,
            arrival: None,
            outbound: None,
        }
    }
}
