//! Where and how to connect, and what takes the place of a target that cannot be connected.

use std::{iter, mem, net::IpAddr, time::Duration};

use crate::{
    tls::originate::TlsUpstream,
    words::{
        addr::Address,
        error::{Error, ErrorKind},
        time_limit::{self, LONGEST},
    },
};

/// Maximum number of targets of one forward, the first included: a round of attempts has an end.
pub const MOST_TARGETS: usize = 16;

/// A target with its settings, and the targets that take its place when it cannot be connected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Where the upstream listens. A name is looked up for each connection (answers are kept for one second).
    pub address: Address,
    /// Time limit for the name lookup and the connect together.
    pub connect_timeout: Duration,
    /// The local IP address to connect from; the kernel chooses if `None`.
    pub source: Option<IpAddr>,
    /// Targets that are tried in this order when the first cannot be connected, each within its own limits. They have no
    /// fallback and no retry of their own; [`or_else`](Self::or_else) flattens them.
    pub fallback: Vec<Forward>,
    /// The TLS that is spoken with the upstream; none if `None`.
    pub tls: Option<TlsUpstream>,
    /// How long all targets are tried again, with growing pauses, when none can be connected. `None` tries each once.
    pub retry: Option<Duration>,
}

impl Forward {
    /// Returns a target with the default settings: 10 seconds to connect, from any address, tried once.
    pub fn to(address: impl Into<Address>) -> Self {
        let (connect_timeout, fallback) = (Duration::from_secs(10), Vec::new());
        Self { address: address.into(), connect_timeout, source: None, fallback, tls: None, retry: None }
    }

    /// Adds a target that is tried when those before it cannot be connected; its own fallbacks follow it.
    #[must_use]
    pub fn or_else(mut self, mut target: Self) -> Self {
        let own = mem::take(&mut target.fallback);
        self.fallback.push(target);
        self.fallback.extend(own);
        self
    }

    /// Returns the targets in the order in which they are tried.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Self> {
        iter::once(self).chain(&self.fallback)
    }

    /// Returns the addresses of all targets, for a log line.
    pub(crate) fn names(&self) -> String {
        let names: Vec<String> = self.targets().map(|target| target.address.to_string()).collect();
        names.join(", else ")
    }

    /// Checks the settings before a connect. `name` is the setting that the forward is given as.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        if self.fallback.len() >= MOST_TARGETS {
            let count = self.fallback.len() + 1;
            return wrong(format!(
                "fallback: {count} targets are more than {MOST_TARGETS}, the first included; give fewer, or a name with several \
                 addresses"
            ));
        }
        for (at, target) in self.targets().enumerate() {
            let (name, address) = (if at == 0 { name } else { "fallback" }, &target.address);
            if matches!(address, Address::Inet { port: 0, .. }) {
                return wrong(format!("{name}: port 0 is not a port to connect to; give the port the upstream listens on"));
            }
            if let Address::Descriptor(_) = address {
                return wrong(format!("{name} {address}: a descriptor is for listening; give the address of the upstream"));
            }
            time_limit::check("connect_timeout", target.connect_timeout)?;
            if let Some(tls) = &target.tls {
                tls.check(address.host())?;
            }
            if self.targets().take(at).any(|other| (&other.address, other.source) == (address, target.source)) {
                return wrong(format!("fallback: {address} is a target already; each is tried once a round, so leave one out"));
            }
            if at > 0 && target.retry.is_some() {
                return wrong(format!("retry: the fallback {address} has one of its own; give it to the first target, for all"));
            }
            if at > 0 && !target.fallback.is_empty() {
                return wrong(format!("fallback: {address} has fallbacks of its own; list them behind it"));
            }
        }
        match self.retry {
            Some(Duration::ZERO) => wrong("retry: 0 seconds is no time to try again in; give more, or leave it out".to_owned()),
            Some(retry) if retry > LONGEST => {
                wrong("retry: more than 100 years cannot be counted; give less, or leave it out".to_owned())
            }
            _ => Ok(()),
        }
    }
}
