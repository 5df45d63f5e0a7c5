//! A stream on no runtime: on its way from one thread to another.

use std::io;

use bytes::Bytes;
use socket2::Socket;

use super::{nowhere::Nowhere, tls, watched};
use crate::io::last_close;

/// A stream between two runtimes. Dropped in between, it is aborted.
#[derive(Debug)]
pub(crate) struct Unregistered(Option<Bare>);

/// A stream without its registration.
#[derive(Debug)]
pub(super) enum Bare {
    Connected { socket: Socket, is_tcp: bool, rest: Rest },
    Nowhere(Nowhere),
}

/// The state of a stream beside its socket.
#[derive(Debug)]
pub(super) enum Rest {
    Nothing,
    Prefix(Box<Bytes>),
    Tls(Box<tls::Inner>),
    Watch(Box<watched::Inner>),
}

impl From<Bare> for Unregistered {
    fn from(bare: Bare) -> Self {
        Self(Some(bare))
    }
}

impl Unregistered {
    /// Takes a connected TCP socket that does not block.
    pub(crate) fn of_tcp(socket: Socket) -> Self {
        Bare::Connected { socket, is_tcp: true, rest: Rest::Nothing }.into()
    }

    /// Takes a connected Unix socket that does not block.
    pub(crate) fn of_unix(socket: Socket) -> Self {
        Bare::Connected { socket, is_tcp: false, rest: Rest::Nothing }.into()
    }

    /// Takes the parts out; they are not aborted on drop any more.
    pub(super) fn take(&mut self) -> io::Result<Bare> {
        self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Returns the socket, for a caller that uses it directly from here on.
    pub(super) fn into_socket(mut self) -> io::Result<Socket> {
        match self.take()? {
            Bare::Connected { socket, rest: Rest::Nothing, .. } => Ok(socket),
            // The bytes that were read from the socket would be missing, and the session of one with TLS.
            bare @ Bare::Connected { .. } => {
                self.0 = Some(bare);
                Err(io::ErrorKind::Unsupported.into())
            }
            Bare::Nowhere(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Unregistered {
    fn drop(&mut self) {
        if let Some(Bare::Connected { socket, is_tcp, .. }) = &self.0 {
            last_close::reset(socket, *is_tcp);
        }
    }
}
