//! The TLS of one side, without a socket: bytes from the wire in, bytes for the wire out.

use std::{
    fmt,
    io::{self, BufRead, IoSlice, Read, Write},
};

use bytes::{Buf, BufMut, Bytes};
use rustls::Connection;

use super::{Truncation, description::Description, failure::Failure, mirrored::Shown};
use crate::{
    wire::{certificate::Certificate, hello},
    words::direction::Side,
};

/// Maximum bytes of one record. One is encrypted at a time, so a stalled session holds no more.
const RECORD: usize = 16 * 1024;

/// Number of first bytes that are kept of a handshake, to name what is spoken instead of TLS.
const FIRST: usize = 5;

/// The progress of the peer's direction.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Incoming {
    Open,
    /// The wire has ended.
    EndOfWire,
    /// The session cannot go on; bytes that were decrypted before are still to be read.
    Failed(Failure),
}

/// The TLS of one side of a connection.
pub(crate) struct Session {
    /// Boxed, because a session is moved on its way into a stream, and each place that it passes has memory for it until the
    /// handshake is over: four times as much as the session itself.
    connection: Box<Connection>,
    /// The side whose peer speaks TLS with us.
    side: Side,
    truncation: Truncation,
    incoming: Incoming,
    /// True once the peer has given notice of its end.
    has_ended: bool,
    /// Bytes of the wire that were read before TLS began.
    early: Bytes,
    /// Decrypted bytes that were put back.
    front: Bytes,
    /// The number of decrypted bytes that wait in the connection.
    decrypted: usize,
    first: [u8; FIRST],
    first_bytes: usize,
    /// The bytes of a client's hello so far; `None` once it has its answer.
    of_hello: Option<usize>,
    server_name: Option<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("side", &self.side).field("incoming", &self.incoming).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(connection: impl Into<Connection>, side: Side, truncation: Truncation) -> Self {
        Self {
            connection: Box::new(connection.into()),
            side,
            truncation,
            incoming: Incoming::Open,
            has_ended: false,
            early: Bytes::new(),
            front: Bytes::new(),
            decrypted: 0,
            first: [0; FIRST],
            first_bytes: 0,
            of_hello: (side == Side::Client).then_some(0),
            server_name: None,
        }
    }

    /// Sets the name that the description of a session with an upstream has.
    pub(super) fn named(self, server_name: String) -> Self {
        Self { server_name: Some(server_name), ..self }
    }

    /// Sets the bytes that were read from the wire before the session began.
    pub(crate) fn begin_with(&mut self, bytes: Bytes) {
        self.early = bytes;
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Returns true if bytes wait for the wire.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Takes bytes from the wire, through one call of `wire`. Fails as that does; a failure of the session is reported by
    /// [`take`](Self::take), behind the bytes before it.
    pub(crate) fn receive(&mut self, mut wire: impl Read) -> io::Result<()> {
        let mut early = (&mut self.early).reader();
        let wire: &mut dyn Read = if early.get_ref().is_empty() { &mut wire } else { &mut early };
        let read = self.connection.read_tls(&mut Recorded { wire, first: &mut self.first, bytes: &mut self.first_bytes });
        let bytes = match read {
            // The one error that is not the wire's: there is no more room for a message that has not ended.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.incoming = Incoming::Failed(Failure::Broken("sent a TLS handshake message longer than 64 KiB".to_owned()));
                return Ok(());
            }
            read => read?,
        };
        if bytes == 0 {
            self.incoming = Incoming::EndOfWire;
        }
        match self.connection.process_new_packets() {
            Ok(state) => (self.decrypted, self.has_ended) = (state.plaintext_bytes_to_read(), state.peer_has_closed()),
            Err(error) if self.is_handshaking() => {
                self.incoming = Incoming::Failed(Failure::of_handshake(&error, self.side, &self.first[..self.first_bytes]));
            }
            Err(error) => self.incoming = Incoming::Failed(Failure::of_session(&error, self.side)),
        }
        self.bound_hello(bytes);
        Ok(())
    }

    /// Fails a client whose hello does not end: anyone who can connect may send one, and it is held until it is whole.
    fn bound_hello(&mut self, bytes: usize) {
        let Some(so_far) = self.of_hello.filter(|_| !self.wants_write() && !self.has_failed()) else {
            self.of_hello = None;
            return;
        };
        self.of_hello = Some(so_far + bytes);
        if so_far + bytes > hello::MOST {
            self.incoming = Incoming::Failed(Failure::Broken(format!("sent a TLS hello longer than {} KiB", hello::MOST / 1024)));
        }
    }

    /// Moves decrypted bytes to `buf`, `room` of them at most, and returns their number. 0 is the end in order, `None` means
    /// that more bytes of the wire are needed.
    pub(crate) fn take(&mut self, buf: &mut dyn BufMut, room: usize) -> Option<Result<usize, Failure>> {
        if !self.front.is_empty() {
            let bytes = room.min(self.front.len());
            buf.put_slice(&self.front.split_to(bytes));
            return Some(Ok(bytes));
        }
        let mut taken = 0;
        // An error says nothing of the bytes that were decrypted before it.
        while taken < room && (self.decrypted > 0 || self.has_failed()) {
            let mut reader = self.connection.reader();
            let bytes = match reader.fill_buf() {
                Ok(chunk) if !chunk.is_empty() => {
                    let bytes = chunk.len().min(room - taken);
                    buf.put_slice(&chunk[..bytes]);
                    bytes
                }
                _ => break,
            };
            reader.consume(bytes);
            self.decrypted = self.decrypted.saturating_sub(bytes);
            taken += bytes;
        }
        if taken > 0 {
            return Some(Ok(taken));
        }
        match &self.incoming {
            Incoming::Failed(failure) => Some(Err(failure.clone())),
            _ if self.has_ended() => Some(Ok(0)),
            Incoming::EndOfWire if self.truncation == Truncation::Allow => Some(Ok(0)),
            Incoming::EndOfWire => Some(Err(Failure::Truncated)),
            Incoming::Open => None,
        }
    }

    /// Returns the failure of the handshake, once it has failed.
    pub(crate) fn failure_of_handshake(&self) -> Option<Failure> {
        match &self.incoming {
            Incoming::Failed(failure) => Some(failure.clone()),
            Incoming::EndOfWire => Some(Failure::of_early_end(self.side, &self.first[..self.first_bytes])),
            Incoming::Open => None,
        }
    }

    /// Returns true if the peer has given notice of its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn has_failed(&self) -> bool {
        matches!(self.incoming, Incoming::Failed(_))
    }

    /// Returns true if decrypted bytes wait to be read.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.front.is_empty() || self.decrypted > 0
    }

    /// Returns true if a read would find anything without the wire.
    pub(crate) fn has_unread(&self) -> bool {
        self.has_bytes() || self.incoming != Incoming::Open || self.has_ended()
    }

    /// Puts decrypted bytes in front of those that are still to be read.
    pub(crate) fn unread(&mut self, bytes: &Bytes) {
        self.front = if self.front.is_empty() { bytes.clone() } else { [&bytes[..], &self.front].concat().into() };
    }

    /// Encrypts the beginning of `pieces` as one record, and returns the number of bytes taken. Called only while nothing
    /// waits for the wire.
    pub(crate) fn encrypt(&mut self, pieces: &[IoSlice<'_>]) -> usize {
        let mut writer = self.connection.writer();
        let mut one = [0; RECORD];
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| &piece[..]);
        let bytes = if first.len() >= RECORD || pieces.len() == 1 {
            &first[..first.len().min(RECORD)]
        } else {
            let mut filled = 0;
            for piece in pieces {
                let bytes = piece.len().min(RECORD - filled);
                one[filled..filled + bytes].copy_from_slice(&piece[..bytes]);
                filled += bytes;
            }
            &one[..filled]
        };
        writer.write(bytes).unwrap_or(0)
    }

    /// Writes the beginning of the bytes that wait for the wire, through one call of `wire`.
    pub(crate) fn send(&mut self, mut wire: impl Write) -> io::Result<usize> {
        self.connection.write_tls(&mut wire)
    }

    /// Ends our direction: the notice of that then waits for the wire.
    pub(crate) fn end(&mut self) {
        self.connection.send_close_notify();
    }

    /// Returns the properties that a client is shown as this upstream's.
    pub(crate) fn shown(&self) -> Shown {
        let certificates = self.connection.peer_certificates();
        let certificate = certificates.and_then(<[_]>::first).and_then(|certificate| Certificate::read(certificate));
        Shown { certificate, alpn: self.connection.alpn_protocol().map(<[u8]>::to_vec) }
    }

    /// Returns the properties of the established session.
    pub(crate) fn description(&self) -> Description {
        match &*self.connection {
            Connection::Client(client) => Description::of(client, self.server_name.clone()),
            Connection::Server(server) => Description::of(server, server.server_name().map(str::to_owned)),
        }
    }
}

/// A wire of which the first bytes are kept.
struct Recorded<'a> {
    wire: &'a mut dyn Read,
    first: &'a mut [u8; FIRST],
    bytes: &'a mut usize,
}

impl Read for Recorded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.wire.read(buf)?;
        if *self.bytes < FIRST {
            let bytes = read.min(FIRST - *self.bytes);
            self.first[*self.bytes..*self.bytes + bytes].copy_from_slice(&buf[..bytes]);
            *self.bytes += bytes;
        }
        Ok(read)
    }
}
