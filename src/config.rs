//! A server's settings and their defaults.

use std::time::Duration;

use crate::{
    addr::Address,
    error::{Error, ErrorKind},
    forward::Forward,
};

/// The longest limit that every clock can add to its now.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long a connection may stay without progress. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// After one direction has ended: how long the other may stand still. Default 120 s.
    pub half_close: Option<Duration>,
    /// How long both directions may stand still. Default none: a relay cannot know what silence means.
    pub idle: Option<Duration>,
    /// How long sent bytes may stay unacknowledged, or wait for a closed window (TCP_USER_TIMEOUT, RFC 5482).
    /// Default none: it would also end a peer that is alive and merely does not read.
    pub unacknowledged: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { half_close: Some(Duration::from_secs(120)), idle: None, unacknowledged: None }
    }
}

/// How much a server may take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Connections at once; more wait in the listener's backlog.
    /// Default: half of the descriptors the process may open, less a reserve, and at most 10,000.
    pub max_connections: Option<usize>,
}

/// What a server is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: Address,
    /// Where to connect.
    pub forward: Forward,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Quantity limits.
    pub limits: Limits,
    /// Clients the kernel may queue before they are accepted. Default 1,024.
    pub backlog: u32,
    /// Let several listeners share the port (SO_REUSEPORT). Default off.
    pub reuse_port: bool,
}

impl Config {
    /// The default settings for one listener and one target.
    pub fn new(listen: Address, forward: Forward) -> Self {
        Self { listen, forward, timeouts: Timeouts::default(), limits: Limits::default(), backlog: 1024, reuse_port: false }
    }

    /// Refuses what cannot work, before a socket is made.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if matches!(self.forward.address, Address::Inet { port: 0, .. }) {
            return wrong("forward_to: port 0 is not a port to connect to; give the port the upstream listens on");
        }
        if self.listen == self.forward.address {
            return wrong("forward_to: it is the listener's own address; forward to the upstream's");
        }
        if self.limits.max_connections == Some(0) {
            return wrong("max_connections: 0 would accept nobody; give at least 1, or None for the default");
        }
        if self.backlog == 0 {
            return wrong("backlog: 0 would queue nobody; give at least 1");
        }
        let timeouts = [
            ("half_close", self.timeouts.half_close),
            ("idle", self.timeouts.idle),
            ("unacknowledged", self.timeouts.unacknowledged),
            ("connect_timeout", Some(self.forward.connect_timeout)),
        ];
        if let Some((name, _)) = timeouts.iter().find(|(_, value)| value.is_some_and(|value| value > LONGEST)) {
            return wrong(&format!("{name}: more than 100 years cannot be counted; give less, or None for no limit"));
        }
        match timeouts.iter().find(|(_, value)| *value == Some(Duration::ZERO)) {
            Some((name, _)) => wrong(&format!("{name}: 0 seconds would end every connection; give more, or None for no limit")),
            None => Ok(()),
        }
    }
}
