//! The names that connections and listeners are known by.

use std::net::SocketAddr;

use crate::words::addr::SocketName;

/// A connection, by its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Line {
    Inet {
        from: SocketAddr,
        to: SocketAddr,
    },
    /// The name of the socket that connects, which no other socket has.
    Unix(String),
}

/// Where a connect comes to a listener of ours, by whatever address it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Port(u16),
    /// An abstract name.
    Name(String),
    /// A socket's file: device and inode, for a path has many spellings.
    File(u64, u64),
}

impl Place {
    pub(super) fn of(name: &SocketName) -> Option<Self> {
        match name {
            SocketName::Inet(address) => Some(Self::Port(address.port())),
            SocketName::Unix(path) if path.starts_with('@') => Some(Self::Name(path.clone())),
            #[cfg(unix)]
            SocketName::Unix(path) => {
                use std::os::unix::fs::MetadataExt;
                std::fs::metadata(path).ok().map(|file| Self::File(file.dev(), file.ino()))
            }
            #[cfg(not(unix))]
            SocketName::Unix(_) => None,
        }
    }
}

impl Line {
    /// The connection from one address to another. `None` for a Unix socket without a name, as most clients' are.
    pub(super) fn new(from: &SocketName, to: &SocketName) -> Option<Self> {
        match (from, to) {
            (SocketName::Inet(from), SocketName::Inet(to)) => Some(Self::Inet { from: plain(*from), to: plain(*to) }),
            (SocketName::Unix(name), _) if !name.is_empty() => Some(Self::Unix(name.clone())),
            _ => None,
        }
    }
}

/// One spelling for each: IPv4 addresses that IPv6 maps are IPv4 addresses, and a scope is no part of a name here.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
