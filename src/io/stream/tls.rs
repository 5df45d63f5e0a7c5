//! TLS over a socket.
//!
//! The session is in `crate::tls`; here its bytes move from and to the socket. One record is written at a time and counts as
//! taken once the kernel has all of it, so nothing is left to flush, as the contract of a stream demands, and a peer that does
//! not read holds up one record here.

use std::{
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    mem,
    sync::OnceLock,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes};

use super::socket::Socket;
use crate::{
    io::{
        deadline,
        errno::{is_behind_fin, is_reset},
    },
    tls::{failure::Failure, session::Session},
};

/// Number of reads from the wire that bring no bytes, before other connections of the thread run.
const STEPS: usize = 128;

/// Limits of reading from a peer whose handshake has failed: it is to have the alert before it is reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// How far our own direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outgoing {
    Open,
    /// Notice of the end was given to the session, and waits for room. `arrived`: the peer's kernel had all of our bytes
    /// before it.
    Ending {
        arrived: bool,
    },
    /// The kernel has all of our bytes and the notice, or the peer left when only the notice was missing.
    Ended,
}

/// The state of a stream of TLS beside its socket.
#[derive(Debug)]
pub(super) struct Inner {
    session: Session,
    /// The number of bytes in the record that waits for room; the writer still has them.
    in_record: usize,
    outgoing: Outgoing,
    /// A reset behind the end of our direction, to be reported if no notice of the peer's own end is found.
    failed_end: OnceLock<io::Error>,
    /// True once a byte of ours was written.
    has_written: bool,
}

/// TLS over a socket.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) socket: Socket,
    inner: Inner,
}

impl Tls {
    /// Puts `session` over `socket`. Nothing is read or written before the [`handshake`](Self::handshake).
    pub(super) fn new(socket: Socket, session: Session) -> Self {
        Self {
            socket,
            inner: Inner { session, in_record: 0, outgoing: Outgoing::Open, failed_end: OnceLock::new(), has_written: false },
        }
    }

    pub(super) fn from_parts(socket: Socket, inner: Inner) -> Self {
        Self { socket, inner }
    }

    pub(super) fn into_parts(self) -> (Socket, Inner) {
        (self.socket, self.inner)
    }

    pub(super) fn session(&self) -> &Session {
        &self.inner.session
    }

    pub(super) fn unread(&mut self, bytes: &Bytes) {
        self.inner.session.unread(bytes);
    }

    /// Completes once both sides have agreed. After a failure the peer has been sent the alert, and has had time to read it.
    pub(super) async fn handshake(&mut self) -> io::Result<()> {
        let shaken = poll_fn(|cx| self.poll_handshake(cx)).await;
        if let Err(error) = &shaken
            && Failure::of(error).is_some()
        {
            // Boxed, so that a handshake that goes well has no memory for it.
            let _ = deadline::within(LINGER, Box::pin(self.let_go())).await;
        }
        shaken
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(failure) = self.inner.session.failure_of_handshake() {
                return Poll::Ready(Err(failure.into()));
            }
            ready!(self.poll_flush(cx))?;
            if !self.inner.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_fetch(cx, &mut Vec::new(), 0))?;
        }
    }

    /// Sends the alert of a failed handshake, then reads for a while: a socket closed with unread bytes sends RST, which can
    /// destroy what the peer has not read yet.
    async fn let_go(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await?;
        self.socket.end()?;
        let (mut buffer, mut dropped) = ([0; 4096], 0);
        while dropped < LINGER_BYTES {
            match poll_fn(|cx| self.socket.poll_read(cx, &mut buffer)).await? {
                0 => break,
                bytes => dropped += bytes,
            }
        }
        Ok(())
    }

    /// Takes bytes from the socket to the session, and from there to `buf`.
    fn poll_fetch(&mut self, cx: &mut Context<'_>, buf: &mut dyn BufMut, room: usize) -> Poll<io::Result<usize>> {
        polled(self.inner.session.receive(Wire { socket: &mut self.socket, cx }, buf, room))
    }

    /// Writes all that waits for the wire.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.inner.session.wants_write() {
            let sent = ready!(polled(self.inner.session.send(Wire { socket: &mut self.socket, cx })))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes answers of the protocol itself (a key update, an alert) as far as there is room now. A failure of the socket is
    /// left to the next read or write.
    fn flush_answers(&mut self, cx: &mut Context<'_>) {
        if self.inner.in_record == 0 && self.inner.session.wants_write() && self.poll_flush(cx).is_pending() {
            // No writer waits, who would find a failure.
            self.socket.forget_blocked_write();
        }
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut dyn BufMut) -> Poll<io::Result<usize>> {
        let room = buf.chunk_mut().len();
        for _ in 0..STEPS {
            let more = self.inner.session.take(buf, room);
            self.flush_answers(cx);
            let bytes = match more {
                Some(Ok(bytes)) if bytes > 0 => bytes,
                Some(ended) => return Poll::Ready(self.end_of_read(ended)),
                None => ready!(self.poll_fetch(cx, buf, room))?,
            };
            if bytes > 0 {
                self.flush_answers(cx);
                return Poll::Ready(Ok(bytes));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes the beginning of `pieces` as one record. Called again with the same bytes until that is written.
    pub(super) fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.inner.in_record == 0 {
            // An answer of the protocol goes first, so that the record is all that waits.
            ready!(self.poll_flush(cx)).map_err(|error| self.behind_notice(error))?;
            self.inner.in_record = self.inner.session.encrypt(pieces);
            self.inner.has_written = true;
        }
        ready!(self.poll_flush(cx)).map_err(|error| self.behind_notice(error))?;
        Poll::Ready(Ok(mem::take(&mut self.inner.in_record)))
    }

    /// Returns a reset as the kernel reports one behind a FIN, if the peer has given notice of its end: that end stands.
    fn behind_notice(&self, error: io::Error) -> io::Error {
        let is_behind = self.inner.session.has_ended() && self.inner.outgoing != Outgoing::Ended;
        if is_behind && error.kind() == io::ErrorKind::ConnectionReset { io::ErrorKind::BrokenPipe.into() } else { error }
    }

    /// Returns the end of a stream that the session calls `ended`. The kernel reports a reset once, here to our own end: it
    /// is the peer's end, unless that came before it, with notice or at least with FIN.
    fn end_of_read(&mut self, ended: Result<usize, Failure>) -> io::Result<usize> {
        let is_noticed = self.inner.session.has_ended();
        match (self.inner.failed_end.take(), ended) {
            (Some(error), Ok(0) | Err(Failure::Truncated)) if !is_noticed && !is_behind_fin(&error) => Err(error),
            (_, ended) => Ok(ended?),
        }
    }

    /// Returns true if a reset loses nothing that the peer was to have. One that has its bytes and leaves answers the notice
    /// of our end with a reset, where it would not answer a bare FIN.
    fn is_harmless(&self, error: &io::Error) -> bool {
        is_reset(error) && matches!(self.inner.outgoing, Outgoing::Ended | Outgoing::Ending { arrived: true })
    }

    /// Sends notice of the end, and behind it FIN.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.inner.outgoing == Outgoing::Open && !self.socket.is_aborted() {
            // A client that only sends may leave with the tickets of the handshake unread, which resets the connection.
            let arrived = !self.inner.has_written || self.socket.unacknowledged() == 0;
            self.inner.outgoing = Outgoing::Ending { arrived };
            self.inner.session.end();
        }
        let mut ended = ready!(self.poll_flush(cx));
        if ended.is_ok() && !self.socket.is_aborted() {
            self.inner.outgoing = Outgoing::Ended;
        }
        ended = ended.and_then(|()| self.socket.end());
        Poll::Ready(match ended {
            Err(error) if self.is_harmless(&error) => {
                self.inner.outgoing = Outgoing::Ended;
                let _ = self.inner.failed_end.set(error);
                Ok(())
            }
            ended => ended.map_err(|error| self.behind_notice(error)),
        })
    }

    /// A reset behind our end is left to the reads: behind the bytes that are still to be read there may be the peer's notice.
    pub(super) fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let error = ready!(self.socket.poll_failure(cx));
        if self.is_harmless(&error) {
            let _ = self.inner.failed_end.set(error);
            return Poll::Pending;
        }
        Poll::Ready(self.behind_notice(error))
    }

    pub(super) fn has_unread(&self) -> bool {
        self.inner.session.has_unread() || self.socket.has_unread()
    }

    pub(super) fn has_unread_bytes(&self) -> bool {
        self.inner.session.has_bytes() || self.socket.has_unread_bytes()
    }
}

/// A socket as the session reads and writes it: a call that would block fails with `WouldBlock`.
struct Wire<'a, 'b> {
    socket: &'a mut Socket,
    cx: &'a mut Context<'b>,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        unless_pending(self.socket.poll_read(self.cx, buf))
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        unless_pending(self.socket.poll_write(self.cx, data))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        unless_pending(self.socket.poll_write_pieces(self.cx, pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unless_pending(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn polled<T>(done: io::Result<T>) -> Poll<io::Result<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

#[cfg(all(test, unix))]
mod tests;
