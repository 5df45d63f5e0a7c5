//! A connected socket on no runtime: on its way from one thread to another.

use std::io;

use socket2::Socket;

use super::{last_close, stream::Stream};

/// A connected socket between two runtimes. Dropped in between, it is aborted.
#[derive(Debug)]
pub(crate) struct Unregistered(pub(super) Option<Bare>);

#[derive(Debug)]
pub(super) enum Bare {
    Socket { socket: Socket, is_tcp: bool },
    Nowhere { ended: bool },
    Nobody,
}

impl Unregistered {
    /// A connected socket of either family that does not block.
    pub(crate) fn of_socket(socket: Socket, is_tcp: bool) -> Self {
        Self(Some(Bare::Socket { socket, is_tcp }))
    }

    /// The stream, registered with the runtime of the calling thread.
    pub(crate) fn register(mut self) -> io::Result<Stream> {
        match self.0.take() {
            Some(Bare::Socket { socket, is_tcp }) => Stream::of_socket(socket, is_tcp),
            Some(Bare::Nowhere { ended }) => Ok(Stream::ended_nowhere(ended)),
            Some(Bare::Nobody) => Ok(Stream::nobody()),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Unregistered {
    fn drop(&mut self) {
        if let Some(Bare::Socket { socket, is_tcp }) = &self.0 {
            last_close::reset(socket, *is_tcp);
        }
    }
}
