//! A connected socket, TCP or Unix.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    task::{Context, Poll, ready},
};

use bytes::BufMut;
use socket2::SockRef;

use crate::{
    io::{last_close, later, names::socket_name, options, registered::Registered, sys, sys::splice_pipe::Pipe},
    words::addr::SocketName,
};

/// A connected socket, registered with the runtime of the thread that made it.
#[derive(Debug)]
pub(crate) struct Socket {
    registered: Registered,
    /// True if the last write found no room, and the runtime has reported none since.
    blocked: bool,
    /// True while SO_RCVLOWAT is set: the kernel reports bytes only once there are many.
    low_water: bool,
    /// True if readable bytes may exist without a readiness event, so the next read tries the socket first.
    must_poll_kernel: bool,
    /// True if the close is to be an abort, without an orderly end before it.
    aborted: bool,
}

impl From<Registered> for Socket {
    fn from(registered: Registered) -> Self {
        Self { registered, blocked: false, low_water: false, must_poll_kernel: false, aborted: false }
    }
}

impl Socket {
    /// Takes the socket from its runtime. Also returns true for a TCP socket.
    pub(super) fn detach(mut self) -> io::Result<(socket2::Socket, bool)> {
        self.clear_low_water();
        let is_tcp = self.is_tcp();
        Ok((self.registered.into_socket()?, is_tcp))
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.registered.is_tcp()
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        self.registered.socket()
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let must_poll_kernel = std::mem::take(&mut self.must_poll_kernel);
        let done = self.registered.poll_read(cx, must_poll_kernel, buf);
        self.unless_passing(done, cx)
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut dyn BufMut) -> Poll<io::Result<usize>> {
        let must_poll_kernel = std::mem::take(&mut self.must_poll_kernel);
        let done = self.registered.poll_receive(cx, must_poll_kernel, buf);
        self.unless_passing(done, cx)
    }

    /// Returns the outcome of a call, or Pending if the system lacked memory for it: then the task is woken to try again.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "each read and write passes here, and a call would cost as much as it does")]
    fn unless_passing(&mut self, done: Poll<io::Result<usize>>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        match done {
            Poll::Ready(Err(error)) => self.pending_if_passing(error, cx),
            done => done,
        }
    }

    #[cold]
    fn pending_if_passing(&mut self, error: io::Error, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if later::again(&error, cx) {
            self.must_poll_kernel = true;
            return Poll::Pending;
        }
        Poll::Ready(Err(error))
    }

    /// Writes the bytes that the kernel takes. Tried whatever readiness the runtime believes in, unless the last try found
    /// no room: [`poll_failure`](Self::poll_failure) clears that readiness.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let done = self.poll_put(cx, data.len(), true, |socket| socket.send_with_flags(data, sys::NO_SIGNAL));
        self.unless_passing(done, cx)
    }

    pub(super) fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        let done = self.poll_put(cx, bytes, true, |socket| socket.send_vectored_with_flags(pieces, sys::NO_SIGNAL));
        self.unless_passing(done, cx)
    }

    /// Calls `put` to write up to `bytes` bytes. If `short_means_full`, a short write means that the send buffer is full.
    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
        short_means_full: bool,
        mut put: impl FnMut(&SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.blocked {
                ready!(self.registered.poll_writable(cx))?;
                self.blocked = false;
            }
            match put(&self.socket()) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.registered.clear_writable();
                    self.blocked = true;
                }
                Ok(taken) => {
                    if short_means_full && taken < bytes {
                        // No room for the rest. An event will come when there is, so the next call need not ask the kernel.
                        self.registered.clear_writable();
                        self.blocked = true;
                    }
                    return Poll::Ready(Ok(taken));
                }
                error => return Poll::Ready(error),
            }
        }
    }

    /// Returns true if bytes can be moved from this socket without copying them. Not past an urgent byte: splice(2) stops
    /// before it for good.
    pub(crate) fn is_spliceable(&self) -> bool {
        !self.registered.may_stop_short()
    }

    /// Moves up to `most` bytes that have come into an empty pipe, without copying them. 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &Pipe, most: usize) -> Poll<io::Result<usize>> {
        let must_poll_kernel = std::mem::take(&mut self.must_poll_kernel);
        self.registered.poll_take(cx, must_poll_kernel, |socket| pipe.fill(socket, most))
    }

    /// Copies bytes that have come into `buf`, as a read does, and leaves them where they are. 0 is the end.
    pub(crate) fn poll_peek(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let must_poll_kernel = std::mem::take(&mut self.must_poll_kernel);
        let done = self.registered.poll_take(cx, must_poll_kernel, |socket| sys::peek(socket, buf));
        self.unless_passing(done, cx)
    }

    /// Removes bytes that were peeked at, without copying them again. They lie in `peeked`, which is left as it is. Returns
    /// their number.
    pub(crate) fn consume(&self, peeked: &mut [u8]) -> io::Result<usize> {
        sys::consume(&self.socket(), peeked)
    }

    /// Moves up to `bytes` bytes from a pipe to the peer, without copying them. Bytes that were moved just before a failure
    /// are not counted.
    pub(crate) fn poll_empty(&mut self, cx: &mut Context<'_>, pipe: &Pipe, bytes: usize) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        loop {
            let left = bytes - taken;
            match self.poll_put(cx, left, false, |socket| pipe.empty(socket, left)) {
                // A splice that met a failure behind the bytes it moved has taken the error from the socket and not reported
                // it; a read would find an orderly end then. So it goes on until there is no room, or it has failed again.
                Poll::Ready(Ok(more)) if more > 0 && more < left => taken += more,
                // The first failure is not known. "Closed" alone would mean that an orderly end came before it; where one
                // did, unread, it is passed on as a reset.
                Poll::Ready(Err(error)) if taken > 0 && error.kind() == io::ErrorKind::BrokenPipe => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                // Only the call has failed. The next call reports that; the bytes that were moved count.
                Poll::Ready(Err(error)) if taken > 0 && self.survives(&error) => return Poll::Ready(Ok(taken)),
                Poll::Ready(Ok(more)) => return Poll::Ready(Ok(taken + more)),
                Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                other => return other,
            }
        }
    }

    /// Sets the low-water mark to `bytes` (SO_RCVLOWAT): the task is woken only when that many bytes can be read, at the end,
    /// at a failure, and for fewer bytes if the peer can send no more. Returns whether the system supports it.
    pub(crate) fn set_low_water(&mut self, bytes: usize) -> bool {
        self.low_water = self.is_tcp() && sys::set_low_water(&self.socket(), bytes);
        self.low_water
    }

    /// Makes every byte wake the task again. Returns whether the mark was set; bytes that came meanwhile are to be read then.
    pub(crate) fn clear_low_water(&mut self) -> bool {
        let was_set = std::mem::take(&mut self.low_water);
        if was_set {
            self.set_low_water(1);
            self.low_water = false;
            // The kernel reports them now, but not before Linux 4.18.
            self.must_poll_kernel = true;
        }
        was_set
    }

    /// Makes the next read and the next write try the socket, even without a readiness event.
    pub(super) fn ignore_readiness(&mut self) {
        self.clear_low_water();
        (self.must_poll_kernel, self.blocked) = (true, false);
    }

    /// Records that nobody waits for room any more: then [`poll_failure`](Self::poll_failure) reports a failure.
    pub(super) fn forget_blocked_write(&mut self) {
        self.blocked = false;
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Sends FIN. The kernel sends it after everything that was written.
    pub(super) fn end(&self) -> io::Result<()> {
        if self.aborted && self.is_tcp() {
            // The error that the kernel returns after a disconnect. Where it could not disconnect, FIN would come before RST.
            return Err(io::ErrorKind::NotConnected.into());
        }
        let socket = self.socket();
        match socket.shutdown(Shutdown::Write) {
            // The connection has failed before, and SO_ERROR still has the reason.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(socket.take_error().ok().flatten().unwrap_or(error)),
            done => done,
        }
    }

    /// Completes when the connection has failed.
    ///
    /// A reset raises the same readiness as room to write. So that readiness is cleared first: the next event is a reset, or
    /// something else, for which it is cleared again.
    pub(super) fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.blocked {
            // The write that waits for room will be woken, and will find the failure itself.
            return Poll::Pending;
        }
        loop {
            self.registered.clear_writable();
            if let Err(error) = ready!(self.registered.poll_writable(cx)) {
                return Poll::Ready(error);
            }
            if !self.closed_for_writing() {
                continue;
            }
            // The runtime keeps "closed" for good, so there is nothing to wait for any more. Without an error it is
            // no failure: both directions have ended, and bytes of the peer's may still be there to be read.
            return match self.socket().take_error() {
                Ok(Some(error)) | Err(error) => Poll::Ready(error),
                Ok(None) => Poll::Pending,
            };
        }
    }

    /// Returns true if the readiness to write cannot be cleared.
    fn closed_for_writing(&self) -> bool {
        let mut nothing = Context::from_waker(std::task::Waker::noop());
        self.registered.clear_writable();
        self.registered.poll_writable(&mut nothing).is_ready()
    }

    /// Makes the coming close an abort.
    pub(super) fn abort_on_close(&mut self) {
        self.aborted = true;
        last_close::reset(&self.socket(), self.is_tcp());
    }

    /// Ends the socket as its last close would, where the coming close may not be the last; not after an abort.
    pub(super) fn leave(&self) {
        if !self.aborted {
            last_close::leave(&self.socket());
        }
    }

    /// Sets keepalive, with which the kernel checks the peer while nothing is sent.
    pub(crate) fn keep_alive(&self) {
        if self.is_tcp() {
            options::keep_alive(&self.socket());
        }
    }

    /// Returns the inode of the Unix socket that has connected this one, as [`sys::inode_of_client`] does.
    pub(crate) fn inode_of_client(&self) -> Option<u32> {
        sys::inode_of_client(&self.socket())
    }

    /// Returns the peer's name. An error if there is no peer any more.
    pub(crate) fn peer_name(&self) -> io::Result<SocketName> {
        self.socket().peer_addr().map(|address| socket_name(&address))
    }
}
