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
//! | `watched` | a socket whose plaintext is watched for the beginning of TLS |
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
mod watched;

use std::{
    io::{self, IoSlice},
    mem,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes};

use self::{nowhere::Nowhere, prefixed::Prefixed, tls::Tls, watched::Watched};
pub(crate) use self::{socket::Socket, unregistered::Unregistered};
use super::registered::Registered;
pub(crate) use super::sys::splice_pipe;
use crate::tls::{description::Description, mirrored::Shown, session::Session, start::Start};

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
    Watched(Box<Watched>),
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
        use self::unregistered::{Bare, Rest};
        let (socket, is_tcp, rest) = match self.take()? {
            Bare::Connected { socket, is_tcp, rest } => (socket, is_tcp, rest),
            Bare::Nowhere(nowhere) => return Ok(Stream(Kind::Nowhere(nowhere))),
        };
        let socket: Socket = Registered::new(socket, is_tcp)?.into();
        Ok(Stream(match rest {
            Rest::Nothing => Kind::Socket(socket),
            Rest::Prefix(prefix) => Kind::Prefixed(Box::new(Prefixed::new(*prefix, socket))),
            Rest::Tls(inner) => Kind::Tls(Box::new(Tls::from_parts(socket, *inner))),
            Rest::Watch(inner) => Kind::Watched(Box::new(Watched::from_parts(socket, *inner))),
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
        match &mut self.0 {
            Kind::Prefixed(prefixed) => prefixed.unread(&bytes),
            Kind::Tls(tls) => tls.unread(&bytes),
            Kind::Watched(watched) => watched.unread(&bytes),
            // Nothing is ever read from it.
            Kind::Nowhere(_) => {}
            Kind::Socket(_) => {
                if let Some((_, socket)) = self.take_plain() {
                    self.0 = Kind::Prefixed(Box::new(Prefixed::new(bytes, socket)));
                }
            }
        }
    }

    /// Takes the socket out, with the bytes in front of it, unless it speaks TLS or is watched.
    fn take_plain(&mut self) -> Option<(Bytes, Socket)> {
        match mem::replace(&mut self.0, Kind::Nowhere(Nowhere::Open)) {
            Kind::Socket(socket) => Some((Bytes::new(), socket)),
            Kind::Prefixed(prefixed) => Some(prefixed.into_parts()),
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// Watches what the socket's peer, a client, says, for the hello with which TLS begins: as `start` has it.
    pub(crate) fn watch(&mut self, start: Start) {
        if let Some((front, socket)) = self.take_plain() {
            self.0 = Kind::Watched(Box::new(Watched::new(socket, start, &front)));
        }
    }

    /// Returns true if the client has said the hello with which TLS begins: no read returns bytes then.
    pub(crate) fn has_hello(&self) -> bool {
        matches!(&self.0, Kind::Watched(watched) if watched.has_hello())
    }

    /// Ends the watch: what was not passed on is read next. Returns what begins at a hello.
    pub(crate) fn stop_watching(&mut self) -> Option<Start> {
        match mem::replace(&mut self.0, Kind::Nowhere(Nowhere::Open)) {
            Kind::Watched(watched) => {
                let (socket, kept, start) = watched.into_start();
                self.0 = Kind::Socket(socket);
                self.unread(kept);
                Some(start)
            }
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// Puts TLS over the socket, and completes once the handshake is done: what is read and written from then on is what the
    /// session protects. After a failure the stream is of no use but to be aborted.
    pub(crate) async fn start_tls(&mut self, mut session: Session) -> io::Result<()> {
        let Some((front, socket)) = self.take_plain() else { return Err(io::ErrorKind::Unsupported.into()) };
        session.begin_with(front);
        self.0 = Kind::Tls(Box::new(Tls::new(socket, session)));
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
            _ => self.poll_receive(cx, &mut &mut *buf),
        }
    }

    /// Reads as [`poll_read`](Self::poll_read) does, into memory that need not have been written before.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut dyn BufMut) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Socket(socket) => socket.poll_receive(cx, buf),
            Kind::Nowhere(nowhere) => nowhere.poll_read(),
            Kind::Tls(tls) => tls.poll_receive(cx, buf),
            Kind::Watched(watched) => watched.poll_receive(cx, buf),
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
            _ => self.poll_write_pieces(cx, &[IoSlice::new(data)]),
        }
    }

    /// Writes pieces in one call, as [`poll_write`](Self::poll_write) writes one.
    pub(crate) fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Socket(socket) => socket.poll_write_pieces(cx, pieces),
            Kind::Prefixed(prefixed) => prefixed.socket.poll_write_pieces(cx, pieces),
            Kind::Tls(tls) => tls.poll_write_pieces(cx, pieces),
            Kind::Watched(watched) => watched.poll_write_pieces(cx, pieces),
            Kind::Nowhere(_) => Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum())),
        }
    }

    /// Ends the direction that is written, behind everything that was written; the other direction lives on. Called until it
    /// is ready: an end may be bytes of its own, for which there must be room. Nothing is written from the first call on.
    ///
    /// An error is the failure of the connection. After [`abort_on_close`](Self::abort_on_close) there is no orderly end.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tls(tls) => tls.poll_end(cx),
            Kind::Nowhere(nowhere) => {
                nowhere.end();
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(self.transport().map_or(Ok(()), Socket::end)),
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
            Kind::Tls(tls) => tls.poll_failure(cx),
            _ => self.transport().map_or(Poll::Pending, |socket| socket.poll_failure(cx)),
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
        use self::unregistered::{Bare, Rest};
        let (socket, rest) = match mem::replace(&mut self.0, Kind::Nowhere(Nowhere::Open)) {
            Kind::Socket(socket) => (socket, Rest::Nothing),
            Kind::Prefixed(prefixed) => {
                let (prefix, socket) = prefixed.into_parts();
                (socket, Rest::Prefix(Box::new(prefix)))
            }
            Kind::Tls(tls) => {
                let (socket, inner) = tls.into_parts();
                (socket, Rest::Tls(Box::new(inner)))
            }
            Kind::Watched(watched) => {
                let (socket, inner) = watched.into_parts();
                (socket, Rest::Watch(Box::new(inner)))
            }
            Kind::Nowhere(nowhere) => return Ok(Bare::Nowhere(nowhere).into()),
        };
        let (socket, is_tcp) = socket.detach()?;
        Ok(Bare::Connected { socket, is_tcp, rest }.into())
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
            Kind::Watched(watched) => watched.has_unread(),
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
            Kind::Watched(watched) => watched.has_unread_bytes(),
            Kind::Nowhere(_) => false,
        }
    }

    /// Returns true without a socket: nothing comes, and bytes that are written go nowhere.
    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self.0, Kind::Nowhere(_))
    }

    /// Returns the socket if the bytes on it are the bytes of the stream, so that they may be moved past the stream. `None`
    /// without a socket, while bytes wait in front of it, while it is watched, and with TLS.
    pub(crate) fn raw(&mut self) -> Option<&mut Socket> {
        if let Kind::Socket(socket) = &mut self.0 { Some(socket) } else { None }
    }

    /// Returns the socket below, for questions about the connection: its names, whether it has failed, the bytes under way.
    /// `None` without a socket.
    pub(crate) fn transport(&self) -> Option<&Socket> {
        match &self.0 {
            Kind::Socket(socket) => Some(socket),
            Kind::Prefixed(prefixed) => Some(&prefixed.socket),
            Kind::Tls(tls) => Some(&tls.socket),
            Kind::Watched(watched) => Some(&watched.socket),
            Kind::Nowhere(_) => None,
        }
    }

    fn transport_mut(&mut self) -> Option<&mut Socket> {
        match &mut self.0 {
            Kind::Socket(socket) => Some(socket),
            Kind::Prefixed(prefixed) => Some(&mut prefixed.socket),
            Kind::Tls(tls) => Some(&mut tls.socket),
            Kind::Watched(watched) => Some(&mut watched.socket),
            Kind::Nowhere(_) => None,
        }
    }

    /// Makes a stream whose prefix has been read a plain socket.
    fn drop_empty_prefix(&mut self) {
        let is_read = matches!(&self.0, Kind::Prefixed(prefixed) if prefixed.is_empty());
        if let Some((_, socket)) = is_read.then(|| self.take_plain()).flatten() {
            self.0 = Kind::Socket(socket);
        }
    }
}
