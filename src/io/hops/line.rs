//! The keys by which connections and listeners are remembered.

use std::net::SocketAddr;

use crate::words::addr::SocketName;

/// The two ends of a connection: the socket that connected, and the listener that it has come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends<'a> {
    pub from: &'a SocketName,
    pub to: &'a SocketName,
    /// The inode of an unnamed Unix socket that connects, if this process knows it; otherwise 0.
    pub inode: u32,
}

impl Ends<'_> {
    /// Returns true for a Unix socket that is known to be of this process.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.inode != 0 || matches!(self.from, SocketName::Unix(name) if !name.is_empty())
    }
}

impl<'a> From<(&'a SocketName, &'a SocketName)> for Ends<'a> {
    fn from((from, to): (&'a SocketName, &'a SocketName)) -> Self {
        Self { from, to, inode: 0 }
    }
}

/// The history of a client whose connection is to be continued to an upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came<'a> {
    /// Listeners of this process that its client has passed before.
    pub passed: u8,
    /// The ends of its client's connection, where a client is known.
    pub client: Option<Ends<'a>>,
}

/// The key of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Line {
    Inet {
        from: SocketAddr,
        to: SocketAddr,
    },
    /// The name of the socket that connects; no other socket has this name.
    Unix(String),
    /// The inode of the socket that connects; that socket has no name.
    Nameless(u32),
}

/// The place of a listener of ours: equal for all addresses by which a connect reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Port(u16),
    /// An abstract name.
    Name(String),
    /// A socket's file, by device and inode, because a path has many spellings.
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
    /// Returns the key of a connection. `None` for an unnamed Unix socket of another process.
    pub(super) fn new(ends: Ends<'_>) -> Option<Self> {
        match (ends.from, ends.to, ends.inode) {
            (SocketName::Inet(from), SocketName::Inet(to), _) => Some(Self::Inet { from: plain(*from), to: plain(*to) }),
            (SocketName::Unix(name), ..) if !name.is_empty() => Some(Self::Unix(name.clone())),
            (SocketName::Unix(_), _, 1..) => Some(Self::Nameless(ends.inode)),
            _ => None,
        }
    }
}

/// Returns the one spelling of an address: an IPv4-mapped IPv6 address becomes the IPv4 address, and the scope is removed.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
