//! Where and how to connect.

use std::{net::IpAddr, time::Duration};

use crate::addr::Address;

/// A target with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Where the upstream listens. A name is looked up for each connection (answers are kept for one second).
    pub address: Address,
    /// How long name lookup and connecting may take together.
    pub connect_timeout: Duration,
    /// The local IP address to connect from; the kernel chooses if there is none.
    pub source: Option<IpAddr>,
}

impl Forward {
    /// A target with the default settings: 10 seconds to connect, from any address.
    pub fn to(address: impl Into<Address>) -> Self {
        Self { address: address.into(), connect_timeout: Duration::from_secs(10), source: None }
    }
}
