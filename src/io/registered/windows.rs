//! Registration on other systems: the runtime watches only sockets of its own type.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BufMut;
use socket2::{SockAddr, SockRef, Socket};
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::{TcpSocket, TcpStream},
};

/// A connected TCP socket.
#[derive(Debug)]
pub(in crate::io) struct Registered(TcpStream);

impl Registered {
    /// Registers a socket that does not block with the runtime of the calling thread.
    pub(in crate::io) fn new(socket: Socket, _: bool) -> io::Result<Self> {
        TcpStream::from_std(socket.into()).map(Self)
    }

    /// Takes the socket from its runtime.
    pub(in crate::io) fn into_socket(self) -> io::Result<Socket> {
        self.0.into_std().map(Socket::from)
    }

    pub(in crate::io) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }

    pub(in crate::io) fn is_tcp(&self) -> bool {
        true
    }

    pub(in crate::io) fn poll_read(&mut self, cx: &mut Context<'_>, _: bool, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Reads as [`poll_read`](Self::poll_read) does, into memory that need not have been written before.
    pub(in crate::io) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        must_poll_kernel: bool,
        buf: &mut dyn BufMut,
    ) -> Poll<io::Result<usize>> {
        // The runtime makes the system calls here, so the bytes are copied once.
        let mut bytes = [0; 16 * 1024];
        let most = bytes.len().min(buf.chunk_mut().len());
        let read = ready!(self.poll_read(cx, must_poll_kernel, &mut bytes[..most]))?;
        buf.put_slice(&bytes[..read]);
        Poll::Ready(Ok(read))
    }

    /// Calls `read`, which takes bytes from the socket and returns their number.
    pub(in crate::io) fn poll_take(
        &self,
        _: &mut Context<'_>,
        _: bool,
        mut read: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(read(&self.socket()))
    }

    /// Returns true: the runtime does not report urgent bytes.
    pub(in crate::io) fn may_stop_short(&self) -> bool {
        true
    }

    /// Completes when the runtime believes that there is room to write, or that the connection has failed.
    pub(in crate::io) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }

    /// Clears the readiness to write: the next comes with an event.
    pub(in crate::io) fn clear_writable(&self) {
        let _ = self.0.try_io(Interest::WRITABLE, || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) });
    }
}

/// Connects a socket that does not block. The runtime begins the connect by itself here.
pub(in crate::io) async fn connect(
    socket: Socket,
    to: &SockAddr,
    _: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<Registered> {
    let to = to.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await.map(Registered)
}
