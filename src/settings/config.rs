//! A server's settings and their defaults.

use std::{sync::Arc, time::Duration};

use crate::{
    inspect::{faults::set::Faults, filters::Filters},
    settings::{by_name::ByName, forward::Forward},
    tls::{intercept::Intercept, terminate::Tls},
    words::{
        addr::Address,
        error::{Error, ErrorKind},
        time_limit,
    },
};

/// Maximum bytes of one read, and so of a chunk.
pub(crate) const MOST_CHUNK: usize = 256 * 1024;

/// Maximum bytes that are read of a side before its bytes are relayed.
pub const MOST_READ: usize = 16 * 1024 * 1024;

/// How long a connection may stay without progress. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// How long the other direction may make no progress after one has ended. Default 120 s.
    pub half_close: Option<Duration>,
    /// How long both directions may make no progress. Default none: a relay cannot know the meaning of silence.
    pub idle: Option<Duration>,
    /// How long sent bytes may stay unacknowledged, or wait for a closed window (TCP_USER_TIMEOUT, RFC 5482). Default none: a
    /// limit would also end a living peer that merely does not read. On Linux a peer that acknowledges nothing at all for 120
    /// s is given up in that case.
    pub unacknowledged: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { half_close: Some(Duration::from_secs(120)), idle: None, unacknowledged: None }
    }
}

/// Quantity limits of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Maximum number of connections at once; further clients wait in the listener's backlog. Default: half of the
    /// descriptors the process may open, less a reserve, and at most 10,000.
    pub max_connections: Option<usize>,
}

/// When bytes are moved from socket to socket without copying them (splice(2), Linux).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::manual_non_exhaustive, reason = "the hidden one is for tests, not for more to come")]
pub enum Splice {
    /// Never.
    Never,
    /// While a direction streams: below that, a copy costs less.
    #[default]
    Streaming,
    /// From the first byte on. Costs more for small messages; for tests.
    #[doc(hidden)]
    Always,
}

/// When a direction waits a little for more bytes than have come (SO_RCVLOWAT, Linux).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coalesce {
    /// Never: every byte goes on as soon as it comes.
    Never,
    /// While a direction streams fast, once it has for a while; for 4 ms at most.
    #[default]
    Streaming,
    /// After every byte. For tests.
    #[doc(hidden)]
    Always,
}

/// The bounds of `on_preread`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preread {
    /// Maximum bytes that are read for it, 1 to 16 MiB. Default 16 KiB.
    pub limit: usize,
    /// How long the decision may take, from the first call to read on. Default 5 s: a client of a protocol in which the
    /// server speaks first sends nothing, and is connected after this time if `undecided` lets it.
    pub timeout: Option<Duration>,
    /// The fate of a client about which nothing was decided within these bounds.
    pub undecided: Undecided,
}

/// The fate of a client about which `on_preread` has not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undecided {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes to the server's own forward.
    Default,
}

impl Default for Preread {
    fn default() -> Self {
        Self { limit: 16 * 1024, timeout: Some(Duration::from_secs(5)), undecided: Undecided::default() }
    }
}

/// How a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Clients the kernel may queue before they are accepted. Default 1,024.
    pub backlog: u32,
    /// Let several listeners share the port (SO_REUSEPORT). Default off.
    pub reuse_port: bool,
    /// Log one line for each ended connection, at level info of the target [`ACCESS`](crate::words::log_target::ACCESS). Default
    /// off.
    pub log_connections: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self { backlog: 1024, reuse_port: false, log_connections: false }
    }
}

/// How bytes are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Maximum bytes of one chunk that a hook sees, 1 to 256 KiB, which is the default: fewer system calls and calls of
    /// hooks for large transfers, and no difference to small ones.
    pub chunk: usize,
    /// The number of bytes of each direction that `on_recv` is shown, from 1: after the chunk in which it is reached the
    /// direction is native, as after [`pass_through`](crate::live::handle::Connection::pass_through). Default: no limit.
    pub inspect_limit: Option<usize>,
    /// When native directions are spliced. Default: while they stream.
    pub splice: Splice,
    /// When directions wait for more bytes before they are woken. Default: while they stream.
    pub coalesce: Coalesce,
}

impl Default for Relay {
    fn default() -> Self {
        Self { chunk: MOST_CHUNK, inspect_limit: None, splice: Splice::default(), coalesce: Coalesce::default() }
    }
}

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: Address,
    /// Where to connect. Without it, the hook `on_accept` has to decide.
    pub forward: Option<Forward>,
    /// A second target, which gets a copy of what each client sends. Its answers are dropped, and it holds up nothing.
    pub mirror: Option<Forward>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Quantity limits.
    pub limits: Limits,
    /// How it listens.
    pub listening: Listen,
    /// How bytes are moved.
    pub relay: Relay,
    /// The bounds of `on_preread`.
    pub preread: Preread,
    /// The TLS that is spoken with the clients; none if `None`.
    pub tls: Option<Arc<Tls>>,
    /// Looks inside the clients' TLS, in place of `tls`.
    pub intercept: Option<Arc<Intercept>>,
    /// The targets of clients by the name they ask for in TLS; `None` sends all to `forward`, which is also for those without
    /// a target of their own.
    pub by_name: Option<Arc<ByName>>,
    /// True if clients that speak no TLS are relayed as they are, where TLS is spoken with the others, or looked at.
    pub takes_plain: bool,
    /// Time limit of a client's hello where `tls` sets none. Default 10 s.
    pub hello_timeout: Duration,
    /// Native stages that watch or change what passes, in their order.
    pub filters: Filters,
    /// Faults, the last stages, in their order.
    pub faults: Faults,
    /// The seed of what faults draw. None draws one.
    pub seed: Option<u64>,
    /// The time between two checks of all connections, for keepalive, lost peers and memory after a burst. A setting only for
    /// tests, which would otherwise have to wait for it. Default 5 s.
    #[doc(hidden)]
    pub upkeep: Duration,
}

/// The settings that may change while a server runs.
#[derive(Debug)]
pub struct LiveSettings<'a> {
    /// As in [`Config`].
    pub forward: &'a mut Option<Forward>,
    /// As in [`Config`].
    pub mirror: &'a mut Option<Forward>,
    /// As in [`Config`].
    pub timeouts: &'a mut Timeouts,
    /// As in [`Config`].
    pub limits: &'a mut Limits,
    /// As in [`Config`].
    pub filters: &'a mut Filters,
}

impl Config {
    /// Returns the default settings for one listener and one target.
    pub fn new(listen: Address, forward: impl Into<Option<Forward>>) -> Self {
        Self {
            listen,
            forward: forward.into(),
            mirror: None,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            listening: Listen::default(),
            relay: Relay::default(),
            preread: Preread::default(),
            tls: None,
            intercept: None,
            by_name: None,
            takes_plain: false,
            hello_timeout: Duration::from_secs(10),
            filters: Filters::default(),
            faults: Faults::default(),
            seed: None,
            upkeep: Duration::from_secs(5),
        }
    }

    /// Returns the settings that may change while a server runs.
    pub(crate) fn live(&mut self) -> LiveSettings<'_> {
        let Self { forward, mirror, timeouts, limits, filters, .. } = self;
        LiveSettings { forward, mirror, timeouts, limits, filters }
    }

    /// Checks the settings before a socket is opened.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        self.forward.as_ref().map_or(Ok(()), |forward| forward.check("forward_to"))?;
        self.mirror.as_ref().map_or(Ok(()), |mirror| mirror.check("mirror_to"))?;
        for (forward, message) in [
            (&self.forward, "forward_to: it is the listener's own address; forward to the upstream's"),
            (&self.mirror, "mirror_to: it is the listener's own address; give the one of another server"),
        ] {
            if forward.iter().flat_map(Forward::targets).any(|target| target.address == self.listen) {
                return wrong(message);
            }
        }
        if self.limits.max_connections == Some(0) {
            return wrong("max_connections: 0 would accept nobody; give at least 1, or None for the default");
        }
        if self.listening.backlog == 0 {
            return wrong("backlog: 0 would queue nobody; give at least 1");
        }
        let timeouts = [
            ("half_close", self.timeouts.half_close),
            ("idle", self.timeouts.idle),
            ("unacknowledged", self.timeouts.unacknowledged),
            ("preread_timeout", self.preread.timeout),
            ("hello_timeout", Some(self.hello_timeout)),
        ];
        if !(1..=MOST_READ).contains(&self.preread.limit) {
            return wrong("preread_limit: it is not between 1 byte and 16 MiB; give 16,384 unless there is a reason");
        }
        if self.relay.inspect_limit == Some(0) {
            return wrong("inspect_limit: 0 would show nothing; give at least 1, or None for no limit");
        }
        timeouts.iter().try_for_each(|(name, value)| value.map_or(Ok(()), |value| time_limit::check(name, value)))?;
        if !(1..=MOST_CHUNK).contains(&self.relay.chunk) {
            return wrong("buffer_size: it is not between 1 and 262,144 bytes; give 262,144 unless there is a reason");
        }
        Ok(())
    }
}
