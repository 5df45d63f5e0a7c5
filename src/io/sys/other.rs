//! Stand-ins for calls that only Linux has: an option is left off, a figure is unknown, and bytes are copied.

use std::{io, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

use super::owner::Owner;
use crate::words::addr::Address;

/// The flags of a send.
pub(crate) const NO_SIGNAL: i32 = 0;

/// Accepted sockets do not have the options of their listener everywhere, so these are set again.
pub(crate) const ACCEPTED_HAVE_OPTIONS: bool = false;

/// Relays are not asked to check their peers, so keepalive is set when a socket is opened.
pub(crate) const PEERS_ARE_CHECKED: bool = false;

/// Opens a stream socket that does not block.
pub(crate) fn open(domain: Domain, protocol: Option<Protocol>) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns 0: the system does not name the other end of a Unix socket.
pub(crate) fn inode(_: &Socket) -> u32 {
    0
}

/// Returns `None`: the system does not name the other end of a Unix socket.
pub(crate) fn inode_of_client(_: &Socket) -> Option<u32> {
    None
}

#[cfg(unix)]
pub(crate) use super::unix::name_unix_socket_by_file as name_unix_socket;

#[cfg(unix)]
pub(crate) use self::of_unix::{WATCHED, accept, is_listening, may_have_urgent_byte};

#[cfg(unix)]
mod of_unix {
    use std::io;

    use socket2::{SockAddr, Socket};
    use tokio::io::{Interest, unix::AsyncFd};

    /// The kinds of readiness that a connected socket is registered for.
    pub(crate) const WATCHED: Interest = Interest::READABLE.add(Interest::WRITABLE);

    /// Accepts one waiting client, whose socket does not block; `WouldBlock` if there is none.
    pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
        let (socket, peer) = listener.accept()?;
        socket.set_nonblocking(true)?;
        Ok((socket, peer))
    }

    /// Returns true: the system does not say, so a listener that fails is tried for ever, with pauses.
    pub(crate) fn is_listening(_: &Socket) -> bool {
        true
    }

    /// Returns true: the runtime does not report urgent bytes.
    pub(crate) fn may_have_urgent_byte(_: &AsyncFd<Socket>) -> bool {
        true
    }
}

/// Returns `None`: the system does not say.
pub(crate) fn most_backlog() -> Option<u32> {
    None
}

/// Returns false: a reset waits for the last close.
pub(crate) fn disconnect(_: &Socket) -> bool {
    false
}

/// Returns false: the system is not asked.
pub(crate) fn has_unread(_: &Socket) -> bool {
    false
}

/// Does nothing.
pub(crate) fn set_unacknowledged_limit(_: &Socket, _: Duration) {}

/// Returns 0: the system does not say.
pub(crate) fn unacknowledged(_: &Socket) -> usize {
    0
}

/// Returns `None`: the system does not say.
pub(crate) fn last_acknowledgement(_: &Socket) -> Option<Duration> {
    None
}

/// Returns `None`: the system does not say.
pub(crate) fn last_data(_: &Socket) -> Option<(Duration, Duration)> {
    None
}

/// Returns false: every byte is reported.
pub(crate) fn set_low_water(_: &Socket, _: usize) -> bool {
    false
}

/// Does nothing.
pub(crate) fn bind_address_no_port(_: &Socket) {}

/// Does nothing: the system has no such option.
pub(crate) fn deafen(_: &Socket, _: bool) {}

/// Does nothing: the allocator does that by itself, or not at all.
pub(crate) fn give_back_memory() {}

/// Returns `None`: the system does not say.
pub(crate) fn owner_of(_: &Address) -> Option<Owner> {
    None
}

/// A slow clock that never ticks: the work of its users is not needed on this system.
#[derive(Debug)]
pub struct Ticks;

impl Ticks {
    /// Returns a clock that never ticks.
    pub fn every(_: Duration) -> io::Result<Self> {
        Ok(Self)
    }

    /// Never completes.
    pub async fn next(&self) -> io::Result<()> {
        std::future::pending().await
    }
}

/// Fails: bytes are looked at in a socket only where they can be spliced from there.
pub(crate) fn peek(_: &Socket, _: &mut [u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails, as [`peek`] does.
pub(crate) fn consume(_: &Socket, _: &mut [u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// No pipes: bytes are copied on this system.
pub(crate) mod splice_pipe {
    use std::io;

    use bytes::Bytes;
    use socket2::Socket;

    /// No value has this type.
    #[derive(Debug)]
    pub(crate) enum Pipe {}

    impl Pipe {
        pub(crate) fn take() -> Option<Self> {
            None
        }

        pub(crate) fn give_back(self) {
            match self {}
        }

        pub(crate) fn fill(&self, _: &Socket, _: usize) -> io::Result<usize> {
            match *self {}
        }

        pub(crate) fn empty(&self, _: &Socket, _: usize) -> io::Result<usize> {
            match *self {}
        }

        pub(crate) fn take_out(&self, _: usize) -> io::Result<Bytes> {
            match *self {}
        }
    }

    /// Does nothing: nothing is spliced.
    pub(crate) fn refused(_: &io::Error) {}
}
