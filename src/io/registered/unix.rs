//! Registration on a Unix: any descriptor can be watched.

use std::{
    future::poll_fn,
    io::{self, Read},
    task::{Context, Poll, ready},
};

use bytes::BufMut;
use socket2::{SockAddr, SockRef, Socket};
use tokio::io::{Interest, unix::AsyncFd};

use crate::io::{last_close, sys};

/// A connected socket of either family.
#[derive(Debug)]
pub(in crate::io) struct Registered {
    socket: AsyncFd<Socket>,
    is_tcp: bool,
}

impl Registered {
    /// Registers a socket that does not block with the runtime of the calling thread. A socket that cannot be registered is
    /// reset.
    pub(in crate::io) fn new(socket: Socket, is_tcp: bool) -> io::Result<Self> {
        let refused = |(socket, error)| {
            last_close::reset(&socket, is_tcp);
            error
        };
        Ok(Self { socket: sys::watch(socket, sys::WATCHED).map_err(refused)?, is_tcp })
    }

    /// Takes the socket from its runtime.
    pub(in crate::io) fn into_socket(self) -> io::Result<Socket> {
        Ok(self.socket.into_inner())
    }

    pub(in crate::io) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.socket.get_ref())
    }

    pub(in crate::io) fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Reads into `buf` once the runtime has reported bytes; at once if `must_poll_kernel`.
    pub(in crate::io) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        must_poll_kernel: bool,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_fetch(cx, must_poll_kernel, buf.len(), |mut socket| socket.read(buf))
    }

    /// Reads as [`poll_read`](Self::poll_read) does, into memory that need not have been written before.
    pub(in crate::io) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        must_poll_kernel: bool,
        buf: &mut dyn BufMut,
    ) -> Poll<io::Result<usize>> {
        self.poll_fetch(cx, must_poll_kernel, buf.chunk_mut().len(), |socket| sys::receive(socket, buf))
    }

    fn poll_fetch(
        &self,
        cx: &mut Context<'_>,
        must_poll_kernel: bool,
        room: usize,
        mut fetch: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if must_poll_kernel && let Some(done) = unless_blocked(fetch(self.socket.get_ref())) {
            return Poll::Ready(done);
        }
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            match fetch(self.socket.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Ok(bytes) => {
                    // A read that did not fill the buffer has taken everything: the next read need not ask the kernel.
                    if 0 < bytes && bytes < room && !self.may_stop_short() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(bytes));
                }
                error => return Poll::Ready(error),
            }
        }
    }

    /// Calls `read`, which takes bytes from the socket and returns their number, unless nothing has come.
    pub(in crate::io) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        must_poll_kernel: bool,
        read: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        // No number of bytes says that all were taken.
        self.poll_fetch(cx, must_poll_kernel, 0, read)
    }

    /// Returns true if a read may end before all bytes that the kernel holds, without an event for the rest. A read ends
    /// before an urgent byte, even one in line, and on a Unix socket after bytes that came with descriptors.
    pub(in crate::io) fn may_stop_short(&self) -> bool {
        !self.is_tcp || sys::may_have_urgent_byte(&self.socket)
    }

    /// Completes when the runtime believes that there is room to write, or that the connection has failed.
    pub(in crate::io) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx).map_ok(drop)
    }

    /// Clears the readiness to write: the next comes with an event. "Closed" stays for good.
    pub(in crate::io) fn clear_writable(&self) {
        let _ = self.socket.try_io(Interest::WRITABLE, |_| -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) });
    }
}

/// Returns the outcome of a call, unless it would have blocked.
fn unless_blocked(done: io::Result<usize>) -> Option<io::Result<usize>> {
    (!matches!(&done, Err(error) if error.kind() == io::ErrorKind::WouldBlock)).then_some(done)
}

/// A connect under way. When dropped, nobody waits for the connection any more, so it is ended, also where a forked child has
/// the socket too.
struct Attempt(Option<Registered>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(registered) = &self.0 {
            last_close::give_up(&registered.socket());
        }
    }
}

/// Connects a socket that does not block. `dial` begins the connect.
pub(in crate::io) async fn connect(
    socket: Socket,
    to: &SockAddr,
    dial: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<Registered> {
    match dial(&socket) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
            // The connect may have begun all the same.
            last_close::reset(&socket, !to.is_unix());
            return Err(error);
        }
        _ => {}
    }
    // Registered after the connect has begun: a socket that is not connected counts as hung up.
    let mut attempt = Attempt(Some(Registered::new(socket, !to.is_unix())?));
    let Some(registered) = &attempt.0 else { return Err(io::ErrorKind::NotConnected.into()) };
    let hung_up = poll_fn(|cx| registered.socket.poll_write_ready(cx).map_ok(|guard| guard.ready().is_write_closed())).await?;
    // A failed connect counts as hung up; only then is there an error to read.
    let failure = if hung_up { registered.socket().take_error()? } else { None };
    match failure {
        Some(error) => Err(error),
        None => attempt.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()),
    }
}
