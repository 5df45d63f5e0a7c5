//! The TLS of one side, without a socket: bytes from the wire in, bytes for the wire out.

use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
};

use bytes::{Buf, BufMut, Bytes};
use rustls::{Error, InvalidMessage};

use super::{
    Truncation,
    description::Description,
    failure::Failure,
    mirrored::Shown,
    records::{Connection, Plain, Records},
};
use crate::{
    wire::{
        certificate::Certificate,
        hello::{self, reader::Reader},
    },
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
    records: Box<Records>,
    /// The side whose peer speaks TLS with us.
    side: Side,
    truncation: Truncation,
    incoming: Incoming,
    /// Bytes of the wire that were read before TLS began.
    early: Bytes,
    /// Decrypted bytes that come before those of the records.
    front: Bytes,
    first: [u8; FIRST],
    first_bytes: usize,
    /// Reads the hello of a client, for the name in it.
    hello: Option<Box<Reader>>,
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
    pub(crate) fn new(connection: impl Into<Connection>, side: Side, truncation: Truncation) -> Result<Self, Error> {
        let connection = connection.into();
        let hello = matches!(connection, Connection::Server(_)).then(Box::default);
        Ok(Self {
            records: Box::new(Records::new(connection)?),
            side,
            truncation,
            incoming: Incoming::Open,
            early: Bytes::new(),
            front: Bytes::new(),
            first: [0; FIRST],
            first_bytes: 0,
            hello,
            of_hello: (side == Side::Client).then_some(0),
            server_name: None,
        })
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
        self.records.connection().is_handshaking()
    }

    /// Returns true if bytes wait for the wire.
    pub(crate) fn wants_write(&self) -> bool {
        self.records.wants_write()
    }

    /// Takes bytes from the wire, through one call of `wire`, and moves what is decrypted to `buf`, `room` of it at most.
    /// Returns the number of those. Fails as `wire` does; the end and a failure of the session are reported by
    /// [`take`](Self::take), behind the bytes before them.
    pub(crate) fn receive(&mut self, mut wire: impl Read, buf: &mut dyn BufMut, room: usize) -> io::Result<usize> {
        let mut early = (&mut self.early).reader();
        let wire: &mut dyn Read = if early.get_ref().is_empty() { &mut wire } else { &mut early };
        let (first, first_bytes) = (&mut self.first, &mut self.first_bytes);
        let (hello, name) = (&mut self.hello, &mut self.server_name);
        let see = |bytes: &[u8]| {
            let more = bytes.len().min(FIRST - *first_bytes);
            first[*first_bytes..*first_bytes + more].copy_from_slice(&bytes[..more]);
            *first_bytes += more;
            // The session itself says what is wrong with a hello.
            if let Some(read) = hello.as_mut().and_then(|reader| reader.push(bytes).transpose()) {
                *hello = None;
                *name = read.ok().and_then(|hello| hello.server_name).map(|name| name.as_str().to_owned());
            }
        };
        let mut plain = Plain::new(buf, room);
        let was_handshaking = self.records.connection().is_handshaking();
        let received = self.records.receive(wire, see, &mut plain)?;
        let Plain { taken, rest, .. } = plain;
        self.front = rest;
        match received {
            Ok(0) => self.incoming = Incoming::EndOfWire,
            Ok(bytes) => self.bound_hello(bytes),
            Err(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)) => {
                self.incoming = Incoming::Failed(Failure::Broken("sent a TLS handshake message longer than 64 KiB".to_owned()));
            }
            Err(error) if was_handshaking => {
                let first = &self.first[..self.first_bytes];
                self.incoming = Incoming::Failed(Failure::of_handshake(&error, self.side, first));
            }
            Err(error) => self.fail(&error),
        }
        Ok(taken)
    }

    /// Fails a client whose hello does not end: anyone who can connect may send one, and it is held until it is whole.
    fn bound_hello(&mut self, bytes: usize) {
        let Some(so_far) = self.of_hello.filter(|_| !self.wants_write()) else {
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
        if self.records.has_plain() {
            let mut plain = Plain::new(buf, room);
            let done = self.records.take(&mut plain);
            let Plain { taken, rest, .. } = plain;
            self.front = rest;
            if let Err(error) = done {
                self.fail(&error);
            }
            if taken > 0 {
                return Some(Ok(taken));
            }
        }
        match &self.incoming {
            Incoming::Failed(failure) => Some(Err(failure.clone())),
            _ if self.has_ended() => Some(Ok(0)),
            Incoming::EndOfWire if self.truncation == Truncation::Allow => Some(Ok(0)),
            Incoming::EndOfWire => Some(Err(Failure::Truncated)),
            Incoming::Open => None,
        }
    }

    fn fail(&mut self, error: &Error) {
        self.incoming = Incoming::Failed(Failure::of_session(error, self.side));
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
        self.records.has_ended()
    }

    /// Returns true if decrypted bytes wait to be read.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.front.is_empty() || self.records.has_plain()
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
        let mut joined = Vec::new();
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| &piece[..]);
        let bytes = if first.len() >= RECORD || pieces.len() == 1 {
            &first[..first.len().min(RECORD)]
        } else {
            joined.reserve(pieces.iter().map(|piece| piece.len()).sum::<usize>().min(RECORD));
            for piece in pieces {
                joined.extend_from_slice(&piece[..piece.len().min(RECORD - joined.len())]);
            }
            &joined
        };
        match self.records.encrypt(bytes) {
            Ok((taken, read)) => {
                self.append(&read);
                taken
            }
            Err(error) => {
                // Found in what waits to be read, and reported there.
                self.fail(&error);
                bytes.len()
            }
        }
    }

    /// Writes the beginning of the bytes that wait for the wire, through one call of `wire`.
    pub(crate) fn send(&mut self, mut wire: impl Write) -> io::Result<usize> {
        self.records.send(&mut wire)
    }

    /// Puts decrypted bytes behind those that are still to be read.
    fn append(&mut self, bytes: &Bytes) {
        if !bytes.is_empty() {
            self.front = [&self.front[..], bytes].concat().into();
        }
    }

    /// Ends our direction: the notice of that then waits for the wire.
    pub(crate) fn end(&mut self) {
        match self.records.end() {
            Ok(read) => self.append(&read),
            Err(error) => self.fail(&error),
        }
    }

    /// Returns the properties that a client is shown as this upstream's.
    pub(crate) fn shown(&self) -> Shown {
        let connection = self.records.connection();
        let certificates = connection.peer_certificates();
        let certificate = certificates.and_then(<[_]>::first).and_then(|certificate| Certificate::read(certificate));
        Shown { certificate, alpn: connection.alpn_protocol().map(<[u8]>::to_vec) }
    }

    /// Returns the properties of the established session.
    pub(crate) fn description(&self) -> Description {
        Description::of(self.records.connection(), self.server_name.clone())
    }
}
