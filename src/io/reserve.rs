//! Descriptors kept for what a client needs once it is let in: without them it is worth nothing.

use std::io;

/// Kept for one client: one descriptor for the upstream's socket, and one for the lookup of the upstream's name.
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

    /// Gives up what was kept for the lookup. What is kept for the socket goes with what this gives.
    pub(super) fn into_socket(self) -> Descriptor {
        self.socket
    }
}

/// A descriptor that nobody else gets.
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
