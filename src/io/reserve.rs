//! Descriptors reserved for a client before it is accepted: a client for which none is left cannot be served.

use std::io;

/// Reserved for one client: one descriptor for the upstream's socket, and one for the lookup of the upstream's name.
#[derive(Debug)]
pub(crate) struct Reserve {
    socket: Descriptor,
    _lookup: Option<Descriptor>,
}

impl Reserve {
    pub(crate) fn new(looks_up: bool) -> io::Result<Self> {
        let socket = Descriptor::new()?;
        let lookup = looks_up.then(Descriptor::new).transpose()?;
        Ok(Self { socket, _lookup: lookup })
    }

    /// Releases the descriptor reserved for the lookup. Returns the one reserved for the socket; dropping it releases that
    /// one.
    pub(super) fn into_socket(self) -> Descriptor {
        self.socket
    }
}

/// An open descriptor that keeps its place free for a later use.
#[derive(Debug)]
pub(super) struct Descriptor {
    #[cfg(unix)]
    _file: std::fs::File,
}

impl Descriptor {
    #[cfg(unix)]
    pub(super) fn new() -> io::Result<Self> {
        std::fs::File::open("/dev/null").map(|file| Self { _file: file })
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {})
    }
}
