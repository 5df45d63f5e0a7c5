//! Where and how to connect.

use std::{net::IpAddr, time::Duration};

use crate::words::{
    addr::Address,
    error::{Error, ErrorKind},
};

/// The longest limit that any clock can add to its current time.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A target with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Where the upstream listens. A name is looked up for each connection (answers are kept for one second).
    pub address: Address,
    /// Time limit for the name lookup and the connect together.
    pub connect_timeout: Duration,
    /// The local IP address to connect from; the kernel chooses if `None`.
    pub source: Option<IpAddr>,
}

impl Forward {
    /// Returns a target with the default settings: 10 seconds to connect, from any address.
    pub fn to(address: impl Into<Address>) -> Self {
        Self { address: address.into(), connect_timeout: Duration::from_secs(10), source: None }
    }

    /// Checks the settings before a connect.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if matches!(self.address, Address::Inet { port: 0, .. }) {
            let message = "forward_to: port 0 is not a port to connect to; give the port the upstream listens on";
            return Err(Error::new(ErrorKind::Config, message));
        }
        check_limit("connect_timeout", self.connect_timeout)
    }
}

/// Refuses a time limit that would end everything at once, or that no clock can represent.
pub(crate) fn check_limit(name: &str, limit: Duration) -> Result<(), Error> {
    let wrong = |why: &str| Err(Error::new(ErrorKind::Config, format!("{name}: {why}, or None for no limit")));
    match limit {
        limit if limit > LONGEST => wrong("more than 100 years cannot be counted; give less"),
        Duration::ZERO => wrong("0 seconds would end every connection; give more"),
        _ => Ok(()),
    }
}
