//! The properties that each side of a connection that is looked into has of the other.

use crate::wire::certificate::Certificate;

/// The wishes of a client's hello that its upstream is to be asked with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// The name that is asked for (SNI).
    pub server_name: Option<String>,
    /// The protocols that are offered (ALPN), in the client's order.
    pub alpn: Vec<Vec<u8>>,
}

/// The properties that the client is shown as the upstream's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub certificate: Option<Certificate>,
    /// The protocol that was agreed on.
    pub alpn: Option<Vec<u8>>,
}
