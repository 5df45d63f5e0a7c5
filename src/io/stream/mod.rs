//! One side of a connection, as the relay reads and writes it.
//!
//! The contract of a [`Stream`] is small: read, write, end, failure, abort, and the way to another thread. Each kind of
//! stream answers all of it, so the relay need not know which kind it has. The abilities of a socket alone (splicing, a
//! low-water mark) are reached through [`Stream::raw`], and its figures through [`Stream::transport`].
//!
//! | file | kind |
//! |---|---|
//! | `socket` | a connected socket, TCP or Unix; `fault` and `traffic` say whose its errors are, and how much is under way |
//! | `prefixed` | a socket behind bytes that were read from it before |
//! | `tls` | TLS over a socket |
//! | `nowhere` | no socket: takes everything |
//! | `unregistered` | a stream of any kind between two threads |
//!
//! An enum rather than a trait object: an idle connection has two streams, and each call of a busy one is a `match`.

mod fault;
mod nowhere;
#[cfg(test)]
pub(crate) mod pair;
mod prefixed;
mod socket;
mod tls;
mod traffic;
mod unregistered;

use std::{
    io::{self, IoSlice},
    mem,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes};

use self::{nowhere::Nowhere, prefixed::Prefixed, tls::Tls, unregistered::Bare};
pub(crate) use self::{socket::Socket, unregistered::Unregistered};
use super::registered::Registered;
pub(crate) use super::sys::splice_pipe;
use crate::tls::{description::Description, mirrored::Shown, session::Session};

/// One side of a connection, registered with the runtime of the thread that made it. The drop closes it: with FIN, or with
/// RST after [`abort_on_close`](Self::abort_on_close).
#[derive(Debug)]
pub(crate) struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Socket(Socket),
    /// Boxed: few connections have a prefix, and not for long.
    Prefixed(Box<Prefixed>),
    /// Boxed, so that a stream without TLS has no memory for it.
    Tls(Box<Tls>),
    Nowhere(Nowhere),
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(socket) = self.transport() {
            socket.leave();
        }
    }
}

impl From<Registered> for Stream {
    fn from(registered: Registered) -> Self {
        Self(Kind::Socket(registered.into()))
    }
}

impl Unregistered {
    /// Returns the stream, registered with the runtime of the calling thread. Where that fails it is aborted.
    pub(crate) fn attach(mut self) -> io::Result<Stream> {
        Ok(Stream(match self.take()? {
            Bare::Socket { socket, is_tcp } => Kind::Socket(Registered::new(socket, is_tcp)?.into()),
            Bare::Prefixed { socket, is_tcp, prefix } => {
                Kind::Prefixed(Box::new(Prefixed::new(*prefix, Registered::new(socket, is_tcp)?.into())))
            }
            Bare::Tls { socket, is_tcp, inner } => {
                Kind::Tls(Box::new(Tls::from_parts(Registered::new(socket, is_tcp)?.into(), *inner)))
            }
            Bare::Nowhere(nowhere) => Kind::Nowhere(nowhere),
        }))
    }
}

impl Stream {
    /// Returns the stream that a connection without an upstream has in its place.
    pub(crate) fn nowhere() -> Self {
        Self(Kind::Nowhere(Nowhere::Open))
    }

    /// Returns a stream without a socket that never ends: the peer of a side that is carried alone.
    pub(crate) fn nobody() -> Self {
        Self(Kind::Nowhere(Nowhere::Endless))
    }

    /// Puts `bytes`, which were read from this stream, back in front of those that are still to be read.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        match mem::replace(&mut self.0, Kind::Nowhere(Nowhere::Open)) {
            Kind::Socket(socket) => self.0 = Kind::Prefixed(Box::new(Prefixed::new(bytes, socket))),
            Kind::Prefixed(mut prefixed) => {
                prefixed.unread(&bytes);
                self.0 = Kind::Prefixed(prefixed);
            }
            Kind::Tls(mut tls) => {
                tls.unread(&bytes);
                self.0 = Kind::Tls(tls);
            }
            // Nothing is ever read from it.
            nowhere @ Kind::Nowhere(_) => self.0 = nowhere,
        }
    }

    /// Puts TLS over the socket, and completes once the handshake is done: what is read and written from then on is what the
    /// session protects. After a failure the stream is of no use but to be aborted.
    pub(crate) async fn start_tls(&mut self, mut session: Session) -> io::Result<()> {
        let socket = match mem::replace(&mut self.0, Kind::Nowhere(Nowhere::Open)) {
            Kind::Socket(socket) => socket,
            Kind::Prefixed(prefixed) => {
                let (prefix, socket) = prefixed.into_parts();
                session.begin_with(prefix);
                socket
            }
            other @ (Kind::Tls(_) | Kind::Nowhere(_)) => {
                self.0 = other;
                return Err(io::ErrorKind::Unsupported.into());
            }
        };
        let tls = Box::new(Tls::new(socket, session));
        self.0 = Kind::Tls(tls);
        match &mut self.0 {
            Kind::Tls(tls) => tls.handshake().await,
            _ => Ok(()),
        }
    }

    /// Returns the properties of the stream's TLS that a client is shown as its upstream's; the default without.
    pub(crate) fn shown(&self) -> Shown {
        match &self.0 {
            Kind::Tls(tls) => tls.session().shown(),
            _ => Shown::default(),
        }
    }

    /// Returns the properties of the stream's TLS; `None` without.
    pub(crate) fn tls(&self) -> Option<Description> {
        match &self.0 {
            Kind::Tls(tls) => Some(tls.session().description()),
            _ => None,
        }
    }

    /// Reads into `buf`, which is not empty, and returns the number of bytes: 0 at the end of the stream. Fewer bytes than
    /// `buf` has room for say nothing of those that follow.
    ///
    /// The bytes that came before a failure are returned before the failure is. `Interrupted` means that nothing was read
    /// and another call may succeed; any other error is the last, and may be reported once only. While the system lacks
    /// memory for the call it is pending, and the task is woken to try again.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Socket(socket) => socket.poll_read(cx, buf),
            Kind::Nowhere(nowhere) => nowhere.poll_read(),
            Kind::Tls(tls) => tls.poll_receive(cx, &mut &mut *buf),
            Kind::Prefixed(prefixed) => {
                let read = prefixed.take(buf);
                self.drop_empty_prefix();
                Poll::Ready(Ok(read))
            }
        }
    }

    /// Reads as [`poll_read`](Self::poll_read) does, into memory that need not have been written before.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut dyn BufMut) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Socket(socket) => socket.poll_receive(cx, buf),
            Kind::Nowhere(nowhere) => nowhere.poll_read(),
            Kind::Tls(tls) => tls.poll_receive(cx, buf),
            Kind::Prefixed(prefixed) => {
                let read = prefixed.put(buf);
                self.drop_empty_prefix();
                Poll::Ready(Ok(read))
            }
        }
    }

    /// Writes the beginning of `data`, which is not empty, and returns how many bytes were taken. Bytes that were taken are
    /// on their way: there is nothing to flush.
    ///
    /// Pending while there is no room; the task is woken once there is, or once the connection has failed. A write to a
    /// closed connection is an error, never a signal.
    ///
    /// After a pending write the next begins with the same bytes: a part of them may be encrypted already.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Socket(socket) => socket.poll_write(cx, data),
            Kind::Prefixed(prefixed) => prefixed.socket.poll_write(cx, data),
            Kind::Tls(tls) => tls.poll_write_pieces(cx, &[IoSlice::new(data)]),
            Kind::Nowhere(_) => Poll::Ready(Ok(data.len())),
        }
    }

    /// Writes pieces in one call, as [`poll_write`](Self::poll_write) writes one.
    pub(crate) fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Socket(socket) => socket.poll_write_pieces(cx, pieces),
            Kind::Prefixed(prefixed) => prefixed.socket.poll_write_pieces(cx, pieces),
            Kind::Tls(tls) => tls.poll_write_pieces(cx, pieces),
            Kind::Nowhere(_) => Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum())),
        }
    }

    /// Ends the direction that is written, behind everything that was written; the other direction lives on. Called until it
    /// is ready: an end may be bytes of its own, for which there must be room. Nothing is written from the first call on.
    ///
    /// An error is the failure of the connection. After [`abort_on_close`](Self::abort_on_close) there is no orderly end.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Socket(socket) => Poll::Ready(socket.end()),
            Kind::Prefixed(prefixed) => Poll::Ready(prefixed.socket.end()),
            Kind::Tls(tls) => tls.poll_end(cx),
            Kind::Nowhere(nowhere) => {
                nowhere.end();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Completes when the connection has failed, for a stream that is not being read, so that no read would report it: its
    /// end was seen, or the other side does not take the bytes that were read from it. The error may be reported here only.
    ///
    /// An end in order both ways is no failure, and bytes may be left to be read after one. Pending while a write waits for
    /// room: that write finds the failure.
    pub(crate) fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &self.0 {
            Kind::Socket(socket) => socket.poll_failure(cx),
            Kind::Prefixed(prefixed) => prefixed.socket.poll_failure(cx),
            Kind::Tls(tls) => tls.poll_failure(cx),
            Kind::Nowhere(_) => Poll::Pending,
        }
    }

    /// Makes the coming close an abort: RST, and bytes that the kernel still holds are dropped. A Unix socket has no RST;
    /// there the close is the end. A stream that is not aborted is closed as it is: after orderly ends of both directions, or
    /// with unread bytes, which is an RST as well.
    pub(crate) fn abort_on_close(&mut self) {
        if let Some(socket) = self.transport_mut() {
            socket.abort_on_close();
        }
    }

    /// Takes the stream from its runtime, for the runtime of another thread. The state beside the socket goes along: bytes
    /// that were put back, an end that was passed on. The connection is lost if this fails.
    pub(crate) fn detach(mut self) -> io::Result<Unregistered> {
        let bare = match mem::replace(&mut self.0, Kind::Nowhere(Nowhere::Open)) {
            Kind::Socket(socket) => {
                let (socket, is_tcp) = socket.detach()?;
                Bare::Socket { socket, is_tcp }
            }
            Kind::Prefixed(prefixed) => {
                let (prefix, socket) = prefixed.into_parts();
                let (socket, is_tcp) = socket.detach()?;
                Bare::Prefixed { socket, is_tcp, prefix: Box::new(prefix) }
            }
            Kind::Tls(tls) => {
                let (socket, inner) = tls.into_parts();
                let (socket, is_tcp) = socket.detach()?;
                Bare::Tls { socket, is_tcp, inner: Box::new(inner) }
            }
            Kind::Nowhere(nowhere) => Bare::Nowhere(nowhere),
        };
        Ok(bare.into())
    }

    /// Returns the socket, for a caller that uses it directly from here on.
    pub(crate) fn into_socket(self) -> io::Result<socket2::Socket> {
        self.detach()?.into_socket()
    }

    /// Makes the next read and the next write try the socket even without an event from the runtime: bytes may have come
    /// without one.
    pub(crate) fn ignore_readiness(&mut self) {
        if let Some(socket) = self.transport_mut() {
            socket.ignore_readiness();
        }
    }

    /// Returns true if a read would find anything now: bytes, an end or a failure.
    pub(crate) fn has_unread(&self) -> bool {
        match &self.0 {
            Kind::Socket(socket) => socket.has_unread(),
            Kind::Prefixed(_) => true,
            Kind::Tls(tls) => tls.has_unread(),
            Kind::Nowhere(_) => false,
        }
    }

    /// Returns true if bytes wait to be read; unlike [`has_unread`](Self::has_unread), not for an end or a failure. False
    /// where the system does not say.
    pub(crate) fn has_unread_bytes(&self) -> bool {
        match &self.0 {
            Kind::Socket(socket) => socket.has_unread_bytes(),
            Kind::Prefixed(prefixed) => !prefixed.is_empty() || prefixed.socket.has_unread_bytes(),
            Kind::Tls(tls) => tls.has_unread_bytes(),
            Kind::Nowhere(_) => false,
        }
    }

    /// Returns true without a socket: nothing comes, and bytes that are written go nowhere.
    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self.0, Kind::Nowhere(_))
    }

    /// Returns the socket if the bytes on it are the bytes of the stream, so that they may be moved past the stream. `None`
    /// without a socket, while bytes wait in front of it, and with TLS.
    pub(crate) fn raw(&mut self) -> Option<&mut Socket> {
        match &mut self.0 {
            Kind::Socket(socket) => Some(socket),
            Kind::Prefixed(_) | Kind::Tls(_) | Kind::Nowhere(_) => None,
        }
    }

    /// Returns the socket below, for questions about the connection: its names, whether it has failed, the bytes under way.
    /// `None` without a socket.
    pub(crate) fn transport(&self) -> Option<&Socket> {
        match &self.0 {
            Kind::Socket(socket) => Some(socket),
            Kind::Prefixed(prefixed) => Some(&prefixed.socket),
            Kind::Tls(tls) => Some(&tls.socket),
            Kind::Nowhere(_) => None,
        }
    }

    fn transport_mut(&mut self) -> Option<&mut Socket> {
        match &mut self.0 {
            Kind::Socket(socket) => Some(socket),
            Kind::Prefixed(prefixed) => Some(&mut prefixed.socket),
            Kind::Tls(tls) => Some(&mut tls.socket),
            Kind::Nowhere(_) => None,
        }
    }

    /// Makes a stream whose prefix has been read a plain socket.
    fn drop_empty_prefix(&mut self) {
        if !matches!(&self.0, Kind::Prefixed(prefixed) if prefixed.is_empty()) {
            return;
        }
        if let Kind::Prefixed(prefixed) = mem::replace(&mut self.0, Kind::Nowhere(Nowhere::Open)) {
            self.0 = Kind::Socket(prefixed.into_parts().1);
        }
    }
}
