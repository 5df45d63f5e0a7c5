//! A client's socket whose plaintext is watched for the hello with which TLS begins.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::time::{Sleep, sleep};

use super::socket::Socket;
use crate::{tls::start::Start, wire::starttls::detector::Detector};

/// Maximum bytes of one read.
const READ: usize = 64 * 1024;

/// How long the beginning of a hello waits for its rest. It is plain then, and so is what follows.
const PATIENCE: Duration = Duration::from_secs(3);

/// The state of a watched stream beside its socket.
#[derive(Debug)]
pub(super) struct Inner {
    detector: Detector,
    /// The bytes that were read and not passed on.
    kept: BytesMut,
    /// The number of these that are plain.
    plain: usize,
    /// The end of the socket, or its failure, behind the bytes that are kept.
    ended: Option<io::Result<usize>>,
    start: Start,
}

/// A client's socket, and its words as far as they may be a hello.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) socket: Socket,
    inner: Inner,
    /// Ends the wait for the rest of a hello.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Watches `socket`; `start` is what begins at the hello. `kept`: bytes that were read from it before.
    pub(super) fn new(socket: Socket, start: Start, kept: &Bytes) -> Self {
        let mut detector = Detector::default();
        let plain = detector.client(kept);
        Self::from_parts(socket, Inner { detector, kept: kept[..].into(), plain, ended: None, start })
    }

    pub(super) fn from_parts(socket: Socket, inner: Inner) -> Self {
        Self { socket, inner, patience: None }
    }

    pub(super) fn into_parts(self) -> (Socket, Inner) {
        (self.socket, self.inner)
    }

    /// Ends the watch. Returns the bytes that are not passed on, and what begins now.
    pub(super) fn into_start(self) -> (Socket, Bytes, Start) {
        (self.socket, self.inner.kept.freeze(), self.inner.start)
    }

    /// Puts bytes in front of those that are to be read. They were seen before.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.inner.kept = [bytes, &self.inner.kept].concat()[..].into();
        self.inner.plain += bytes.len();
    }

    /// Returns true once TLS may begin.
    pub(super) fn has_hello(&self) -> bool {
        self.inner.plain == 0 && self.inner.detector.has_hello()
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut dyn BufMut) -> Poll<io::Result<usize>> {
        loop {
            if self.inner.plain > 0 {
                let bytes = buf.chunk_mut().len().min(self.inner.plain);
                buf.put_slice(&self.inner.kept[..bytes]);
                self.inner.kept.advance(bytes);
                self.inner.plain -= bytes;
                return Poll::Ready(Ok(bytes));
            }
            if self.inner.detector.is_plain() && !self.inner.kept.is_empty() {
                // They came behind a hello that was refused. Another that begins there has its own time.
                self.patience = None;
                self.inner.plain = self.inner.detector.client(&self.inner.kept);
                continue;
            }
            if self.inner.kept.is_empty() {
                // A connection that waits has no buffer.
                self.inner.kept = BytesMut::new();
            }
            if let Some(ended) = self.inner.ended.take() {
                return Poll::Ready(ended);
            }
            if self.inner.detector.holds_hello() {
                return Poll::Pending;
            }
            if self.is_late(cx) {
                self.inner.plain = self.inner.detector.give_up();
                continue;
            }
            self.inner.kept.reserve(READ.min(buf.chunk_mut().len().max(1)));
            let had = self.inner.kept.len();
            match ready!(self.socket.poll_receive(cx, &mut self.inner.kept)) {
                Ok(bytes) if bytes > 0 => self.inner.plain = self.inner.detector.client(&self.inner.kept[had..]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Poll::Ready(Err(error)),
                // Comes behind what was read before it.
                ended => {
                    self.inner.plain = self.inner.detector.give_up();
                    self.inner.ended = Some(ended);
                }
            }
        }
    }

    /// Returns true if the rest of a hello has not come in time. Wakes the task when that is so.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.inner.detector.is_in_doubt() {
            self.patience = None;
            return false;
        }
        self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut().poll(cx).is_ready()
    }

    pub(super) fn has_unread(&self) -> bool {
        let inner = &self.inner;
        let is_unseen = inner.detector.is_plain() && !inner.kept.is_empty();
        inner.plain > 0 || is_unseen || inner.ended.is_some() || self.has_hello() || self.socket.has_unread()
    }

    pub(super) fn has_unread_bytes(&self) -> bool {
        !self.inner.kept.is_empty() || self.socket.has_unread_bytes()
    }

    pub(super) fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = ready!(self.socket.poll_write_pieces(cx, pieces));
        let mut left = *written.as_ref().unwrap_or(&0);
        for piece in pieces {
            let bytes = left.min(piece.len());
            left -= bytes;
            let plain = self.inner.detector.server(&piece[..bytes]);
            if plain > 0 {
                self.inner.plain += plain;
                // The reader waited for TLS.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(written)
    }
}

#[cfg(all(test, unix))]
mod tests;
