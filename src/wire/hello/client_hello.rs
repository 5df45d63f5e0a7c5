//! The first message of a client, read.

use std::fmt;

use super::server_name::ServerName;

/// The kind of the extension that has the server's name.
pub(super) const SERVER_NAME: u16 = 0;
/// The kind of the extension that has the protocols (ALPN).
pub(super) const PROTOCOLS: u16 = 16;

/// The first message of a client. Values that clients send only to keep servers tolerant (GREASE, RFC 8701) are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The name that is asked for (SNI).
    pub server_name: Option<ServerName>,
    /// The versions that are offered, in the client's order.
    pub versions: Vec<Version>,
    /// The numbers of the cipher suites that are offered, in the client's order.
    pub cipher_suites: Vec<u16>,
    /// The protocols that are offered, as on the wire: each behind its length. Not a list of lists: the client chooses the
    /// number of them.
    pub(super) protocols: Vec<u8>,
    /// The kinds of all extensions.
    pub(super) extensions: Vec<u16>,
    /// The numbers of the signatures that are offered.
    pub(super) signatures: Vec<u16>,
}

impl ClientHello {
    /// Returns the names of the protocols that are offered (ALPN), in the client's order.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.protocols[..];
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first()?;
            let (name, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            Some(name)
        })
    }
}

/// A version of TLS, as its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0300 => f.write_str("SSLv3"),
            0x0301 => f.write_str("TLSv1"),
            minor @ 0x0302..=0x0304 => write!(f, "TLSv1.{}", minor - 0x0301),
            other => write!(f, "{other:#06x}"),
        }
    }
}
