//! The names that connections and listeners are known by.

use std::net::SocketAddr;

use crate::words::addr::SocketName;

/// The ends of a connection, from where it was made to the listener that it has come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends<'a> {
    pub from: &'a SocketName,
    pub to: &'a SocketName,
    /// The inode of a Unix socket that connects and has no name, where this process has it. 0 if there is none.
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

/// How far a connection has come that is to be continued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came<'a> {
    /// Listeners of this process that its client has passed before.
    pub passed: u8,
    /// The ends of its client's connection, where a client is known.
    pub client: Option<Ends<'a>>,
}

/// A connection, by its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Line {
    Inet {
        from: SocketAddr,
        to: SocketAddr,
    },
    /// The name of the socket that connects, which no other socket has.
    Unix(String),
    /// The inode of the socket that connects, which has no name.
    Nameless(u32),
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
    /// Returns the name of a connection. `None` for a Unix socket of another process that has no name.
    pub(super) fn new(ends: Ends<'_>) -> Option<Self> {
        match (ends.from, ends.to, ends.inode) {
            (SocketName::Inet(from), SocketName::Inet(to), _) => Some(Self::Inet { from: plain(*from), to: plain(*to) }),
            (SocketName::Unix(name), ..) if !name.is_empty() => Some(Self::Unix(name.clone())),
            (SocketName::Unix(_), _, 1..) => Some(Self::Nameless(ends.inode)),
            _ => None,
        }
    }
}

/// One spelling for each: IPv4 addresses that IPv6 maps are IPv4 addresses, and a scope is no part of a name here.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
