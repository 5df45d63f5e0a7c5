//! One connected socket, TCP or Unix, and the ways to end it.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    task::{Context, Poll, ready},
};

use socket2::{SockRef, Socket};
use tokio::io::ReadBuf;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::pipe::Pipe;
pub(crate) use super::unregistered::Unregistered;
use super::{last_close, names::socket_name, options, registered::Registered, unregistered::Bare};
use crate::words::addr::SocketName;

/// A connected socket registered with the runtime of the thread that made it.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Connected,
    /// The last write found no room, and the runtime has not told of any since.
    blocked: bool,
    /// The runtime tells of bytes only once there are many.
    low_water: bool,
    /// There may be bytes that the runtime has not told of: the next read asks the kernel itself.
    untold: bool,
    /// The close is to be an abort, and nothing is ended in order before it.
    aborted: bool,
}

#[derive(Debug)]
enum Connected {
    Socket(Registered),
    /// No socket: takes everything, and ends when it is told the end. It has nothing to wake anybody for.
    Nowhere {
        ended: bool,
    },
    /// No socket either: takes everything, and never ends. What a side that is carried alone has in its peer's place.
    Nobody,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.aborted
            && let Some(socket) = self.socket()
        {
            last_close::leave(&socket);
        }
    }
}

/// A write to a closed connection is an error here, never a SIGPIPE to the embedding program.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const NO_SIGNAL: i32 = 0;

impl From<Registered> for Stream {
    fn from(registered: Registered) -> Self {
        Self::new(Connected::Socket(registered))
    }
}

impl Stream {
    fn new(socket: Connected) -> Self {
        Self { socket, blocked: false, low_water: false, untold: false, aborted: false }
    }

    /// No socket at all: what a connection without an upstream has in its place.
    pub(crate) fn nowhere() -> Self {
        Self::ended_nowhere(false)
    }

    /// Returns such a stream, which was half-closed before if `ended`.
    pub(super) fn ended_nowhere(ended: bool) -> Self {
        Self::new(Connected::Nowhere { ended })
    }

    /// No socket, and no end: the other side of one that is carried alone.
    pub(crate) fn nobody() -> Self {
        Self::new(Connected::Nobody)
    }

    /// A connected socket of either family that does not block, registered with the runtime of the calling thread.
    pub(crate) fn of_socket(socket: Socket, is_tcp: bool) -> io::Result<Self> {
        Registered::new(socket, is_tcp).map(Self::from)
    }

    /// Takes it from its runtime, for another thread's.
    pub(crate) fn unregister(mut self) -> io::Result<Unregistered> {
        self.clear_low_water();
        let bare = match std::mem::replace(&mut self.socket, Connected::Nowhere { ended: false }) {
            Connected::Socket(registered) => {
                let is_tcp = registered.is_tcp();
                Bare::Socket { socket: registered.into_socket()?, is_tcp }
            }
            Connected::Nowhere { ended } => Bare::Nowhere { ended },
            Connected::Nobody => Bare::Nobody,
        };
        Ok(Unregistered(Some(bare)))
    }

    /// The socket alone, for whoever connects by hand.
    pub(crate) fn into_socket(self) -> io::Result<Socket> {
        match self.unregister()?.0.take() {
            Some(Bare::Socket { socket, .. }) => Ok(socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(&self.socket, Connected::Socket(registered) if registered.is_tcp())
    }

    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self.socket, Connected::Nowhere { .. } | Connected::Nobody)
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let told = !std::mem::take(&mut self.untold);
        let done = match &mut self.socket {
            Connected::Socket(registered) => registered.poll_read(cx, told, buf),
            Connected::Nowhere { ended: true } => Poll::Ready(Ok(0)),
            Connected::Nowhere { ended: false } | Connected::Nobody => Poll::Pending,
        };
        self.unless_passing(done, cx)
    }

    /// The same, into memory that need not have been written before.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let told = !std::mem::take(&mut self.untold);
        let done = match &mut self.socket {
            Connected::Socket(registered) => registered.poll_receive(cx, told, buf),
            Connected::Nowhere { ended: true } => Poll::Ready(Ok(())),
            Connected::Nowhere { ended: false } | Connected::Nobody => Poll::Pending,
        };
        self.unless_passing(done, cx)
    }

    /// Returns the outcome of a call, or Pending if the system lacked memory for it: then the task is woken to try again.
    fn unless_passing<T>(&mut self, done: Poll<io::Result<T>>, cx: &Context<'_>) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(Err(error)) if super::later::again(&error, cx) => {
                self.untold = true;
                Poll::Pending
            }
            done => done,
        }
    }

    /// Writes what the kernel takes. Tried whatever readiness the runtime believes in, unless the last try found
    /// no room: [`poll_failure`](Self::poll_failure) clears that readiness.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let done = self.poll_put(cx, data.len(), true, |socket| socket.send_with_flags(data, NO_SIGNAL));
        self.unless_passing(done, cx)
    }

    /// Writes pieces in one call, as [`poll_write`](Self::poll_write) writes one.
    pub(crate) fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        let done = self.poll_put(cx, bytes, true, |socket| socket.send_vectored_with_flags(pieces, NO_SIGNAL));
        self.unless_passing(done, cx)
    }

    /// Has `put` give `bytes` to the kernel, as many of them as that takes. `tells`: fewer are no failure, only no room.
    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
        tells: bool,
        mut put: impl FnMut(&SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.blocked {
                ready!(self.poll_writable(cx))?;
                self.blocked = false;
            }
            match self.socket().map_or(Ok(bytes), |socket| put(&socket)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.clear_writable();
                    self.blocked = true;
                }
                Ok(taken) => {
                    if tells && taken < bytes {
                        // No room for the rest; the kernel will tell, so the next call need not ask it.
                        self.clear_writable();
                        self.blocked = true;
                    }
                    return Poll::Ready(Ok(taken));
                }
                error => return Poll::Ready(error),
            }
        }
    }

    /// Whether its bytes can be moved without copying them. Not past an urgent byte: splice(2) stops before it for good.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn is_spliceable(&self) -> bool {
        matches!(&self.socket, Connected::Socket(registered) if !registered.may_stop_short())
    }

    /// Moves what came into an empty pipe, without copying it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<io::Result<usize>> {
        let told = !std::mem::take(&mut self.untold);
        match &self.socket {
            Connected::Socket(registered) => registered.poll_take(cx, told, |socket| pipe.fill(socket)),
            Connected::Nowhere { .. } | Connected::Nobody => Poll::Pending,
        }
    }

    /// Moves up to `bytes` from a pipe to the peer, without copying them. What was moved just before a failure is not told of.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn poll_empty(&mut self, cx: &mut Context<'_>, pipe: &Pipe, bytes: usize) -> Poll<io::Result<usize>> {
        use std::os::fd::AsFd;
        let mut taken = 0;
        loop {
            let left = bytes - taken;
            match self.poll_put(cx, left, false, |socket| pipe.empty(socket.as_fd(), left)) {
                // A splice that met a failure behind what it moved has taken the error from the socket and not told of
                // it; a read would find an orderly end then. So it goes on until it has no room, or has failed again.
                Poll::Ready(Ok(more)) if more > 0 && more < left => taken += more,
                // What the first failure was nobody knows. "Closed" alone would say that an end came before it; where one did,
                // unread, it is given as a reset.
                Poll::Ready(Err(error)) if taken > 0 && error.kind() == io::ErrorKind::BrokenPipe => {
                    return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
                }
                // The call alone has failed. The next one tells of that; what was moved counts.
                Poll::Ready(Err(error)) if taken > 0 && self.survives(&error) => return Poll::Ready(Ok(taken)),
                Poll::Ready(Ok(more)) => return Poll::Ready(Ok(taken + more)),
                Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                other => return other,
            }
        }
    }

    /// Has the runtime tell of bytes once there are so many, of the end and of a failure as ever, and of fewer bytes if the
    /// peer can send no more. Gives whether the system does that.
    pub(crate) fn set_low_water(&mut self, bytes: usize) -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.is_tcp()
            && let Some(socket) = self.socket()
        {
            use std::os::fd::AsFd;
            self.low_water = super::kernel::set_low_water(socket.as_fd(), bytes).is_ok();
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = bytes;
        self.low_water
    }

    /// Has the runtime tell of every byte again. Gives whether it did not; what came meanwhile is to be read then.
    pub(crate) fn clear_low_water(&mut self) -> bool {
        let was_set = std::mem::take(&mut self.low_water);
        if was_set {
            self.set_low_water(1);
            self.low_water = false;
            // The kernel tells of them now, but not before Linux 4.18.
            self.untold = true;
        }
        was_set
    }

    /// Makes the next read and the next write ask the kernel, even without a readiness event of the runtime's.
    pub(crate) fn look_again(&mut self) {
        self.clear_low_water();
        (self.untold, self.blocked) = (true, false);
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Connected::Socket(registered) => registered.poll_writable(cx),
            Connected::Nowhere { .. } | Connected::Nobody => Poll::Pending,
        }
    }

    /// Sends FIN. The kernel sends it after everything that was written.
    pub(crate) fn half_close(&mut self) -> io::Result<()> {
        if let Connected::Nowhere { ended } = &mut self.socket {
            *ended = true;
        }
        if self.aborted && self.is_tcp() {
            // As the kernel says it where it could disconnect the socket. Where it could not, FIN would come before RST.
            return Err(io::ErrorKind::NotConnected.into());
        }
        let Some(socket) = self.socket() else { return Ok(()) };
        match socket.shutdown(Shutdown::Write) {
            // The connection has failed before, and SO_ERROR has still to tell how.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(socket.take_error().ok().flatten().unwrap_or(error)),
            done => done,
        }
    }

    /// Ready when the connection has failed, for a socket that is not being read, so that no read would tell:
    /// its FIN was seen, or the other side does not take what was read from it.
    ///
    /// A reset raises the same readiness as room to write. So that readiness is cleared first: what then
    /// comes is a reset, or news of another kind that is cleared again.
    pub(crate) fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(socket) = self.socket() else { return Poll::Pending };
        if self.blocked {
            // The write that waits for room will be woken, and will find the failure itself.
            return Poll::Pending;
        }
        loop {
            self.clear_writable();
            if let Err(error) = ready!(self.poll_writable(cx)) {
                return Poll::Ready(error);
            }
            if !self.closed_for_writing() {
                continue;
            }
            // The runtime keeps "closed" for good, so there is nothing to wait for any more. Without an error it is
            // no failure: both directions have ended, and what the peer sent may still be there to be read.
            return match socket.take_error() {
                Ok(Some(error)) | Err(error) => Poll::Ready(error),
                Ok(None) => Poll::Pending,
            };
        }
    }

    fn clear_writable(&self) {
        if let Connected::Socket(registered) = &self.socket {
            registered.clear_writable();
        }
    }

    /// Whether the readiness cannot be cleared.
    fn closed_for_writing(&self) -> bool {
        let mut nothing = Context::from_waker(std::task::Waker::noop());
        self.clear_writable();
        self.poll_writable(&mut nothing).is_ready()
    }

    /// Makes the coming close an abort: RST, and what the kernel still holds is dropped.
    /// A Unix socket has no RST; there the close is the end.
    pub(crate) fn abort_on_close(&mut self) {
        self.aborted = true;
        if let Some(socket) = self.socket() {
            last_close::reset(&socket, self.is_tcp());
        }
    }

    /// Has the kernel look after the peer while nothing is sent.
    pub(crate) fn keep_alive(&self) {
        if self.is_tcp()
            && let Some(socket) = self.socket()
        {
            options::keep_alive(&socket);
        }
    }

    /// The socket, where there is one.
    pub(crate) fn socket(&self) -> Option<SockRef<'_>> {
        match &self.socket {
            Connected::Socket(registered) => Some(registered.socket()),
            Connected::Nowhere { .. } | Connected::Nobody => None,
        }
    }

    pub(crate) fn peer_name(&self) -> io::Result<SocketName> {
        let socket = self.socket().ok_or(io::ErrorKind::NotConnected)?;
        socket.peer_addr().map(|address| socket_name(&address))
    }
}
