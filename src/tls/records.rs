//! The records of one session: bytes of the wire in, bytes for the wire out. An idle session holds none: what is read and
//! what is written passes through memory that the sessions of a thread share.

use std::{
    cell::{Cell, RefCell},
    io::{self, Read, Write},
    mem,
    ops::Deref,
};

use bytes::{BufMut, Bytes};
use rustls::{
    CommonState, Error, InvalidMessage,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

/// Bytes that one read of the wire may take: about four records.
const READ: usize = 64 * 1024;

/// Maximum bytes that wait for the rest of a message: as many as the longest handshake message has, and its records.
const MOST_KEPT: usize = READ + 20 * 1024;

/// Maximum bytes of a buffer that is used again. Longer ones, of a flight of certificates, are rare.
const MOST_SPARE: usize = 20 * 1024;

thread_local! {
    /// Bytes of the wire, of the session that reads.
    static WIRE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The buffer for the session that writes next.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The protocol of one session.
pub(crate) enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl From<UnbufferedClientConnection> for Connection {
    fn from(client: UnbufferedClientConnection) -> Self {
        Self::Client(client)
    }
}

impl From<UnbufferedServerConnection> for Connection {
    fn from(server: UnbufferedServerConnection) -> Self {
        Self::Server(server)
    }
}

impl Deref for Connection {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }
}

/// Decrypted bytes on their way to a reader.
pub(super) struct Plain<'a> {
    buf: &'a mut dyn BufMut,
    room: usize,
    /// The number of bytes that went into `buf`.
    pub taken: usize,
    /// The end of a record of which `buf` had room for the beginning.
    pub rest: Bytes,
}

impl<'a> Plain<'a> {
    pub fn new(buf: &'a mut dyn BufMut, room: usize) -> Self {
        Self { buf, room, taken: 0, rest: Bytes::new() }
    }

    fn has_room(&self) -> bool {
        self.taken < self.room
    }

    fn put(&mut self, payload: &[u8]) {
        let (now, later) = payload.split_at(payload.len().min(self.room - self.taken));
        self.buf.put_slice(now);
        self.taken += now.len();
        self.rest = Bytes::copy_from_slice(later);
    }
}

/// An order to write, which is carried out as soon as the protocol allows.
#[derive(Clone, Copy)]
enum Order<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Notice,
}

/// The end of one turn of the protocol.
#[derive(PartialEq, Eq)]
enum Turn {
    Again,
    /// The peer has given notice of its end.
    PeerEnded,
    /// Decrypted bytes wait, and there is no room for them.
    Full,
    /// Nothing is left to do; an order was carried out, if the protocol allows it at all.
    Rest,
}

/// The records of one session.
pub(super) struct Records {
    connection: Connection,
    /// Bytes of the wire that wait for the rest of their record, or for room.
    kept: Vec<u8>,
    /// True if decrypted bytes wait in the connection.
    has_plain: bool,
    /// True once the peer has given notice of its end.
    has_ended: bool,
    /// True once the protocol cannot go on.
    has_failed: bool,
    outgoing: Outgoing,
}

impl Records {
    /// Returns the records of a session that begins; a client's hello waits for the wire at once.
    pub fn new(connection: Connection) -> Result<Self, Error> {
        let outgoing = Outgoing::default();
        let mut records = Self { connection, kept: Vec::new(), has_plain: false, has_ended: false, has_failed: false, outgoing };
        records.process(&mut [], &mut Plain::new(&mut Vec::new(), 0), Order::Nothing)?;
        Ok(records)
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn has_plain(&self) -> bool {
        self.has_plain
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub fn wants_write(&self) -> bool {
        self.outgoing.begin < self.outgoing.end
    }

    /// Reads the wire once, shows those bytes to `see`, and decrypts them as far as there is room. Returns their number.
    pub fn receive(
        &mut self,
        wire: &mut dyn Read,
        see: impl FnOnce(&[u8]),
        plain: &mut Plain<'_>,
    ) -> io::Result<Result<usize, Error>> {
        WIRE.with_borrow_mut(|memory| {
            let kept = self.kept.len();
            if memory.len() < kept + READ {
                memory.resize(kept + READ, 0);
            }
            memory[..kept].copy_from_slice(&self.kept);
            let read = wire.read(&mut memory[kept..kept + READ])?;
            see(&memory[kept..kept + read]);
            let bytes = &mut memory[..kept + read];
            Ok(self.process(bytes, plain, Order::Nothing).and_then(|used| self.keep(&bytes[used..])).map(|()| read))
        })
    }

    /// Decrypts bytes that have waited for room.
    pub fn take(&mut self, plain: &mut Plain<'_>) -> Result<(), Error> {
        self.process_kept(plain, Order::Nothing)
    }

    /// Encrypts `bytes`, which then wait for the wire. Returns their number, or 0 if the protocol has no numbers for more
    /// records. After a failure they go nowhere: the peer has the alert, and takes no more.
    pub fn encrypt(&mut self, bytes: &[u8]) -> Result<(usize, Bytes), Error> {
        if self.has_failed {
            return Ok((bytes.len(), Bytes::new()));
        }
        let before = self.outgoing.end;
        let rest = self.order(Order::Bytes(bytes))?;
        Ok((if self.outgoing.end > before { bytes.len() } else { 0 }, rest))
    }

    /// Sends notice of our end, which then waits for the wire.
    pub fn end(&mut self) -> Result<Bytes, Error> {
        if self.has_failed { Ok(Bytes::new()) } else { self.order(Order::Notice) }
    }

    /// Writes the beginning of the bytes that wait for the wire, through one call of `wire`.
    pub fn send(&mut self, wire: &mut dyn Write) -> io::Result<usize> {
        self.outgoing.send(wire)
    }

    /// Carries out an order. The protocol does so behind all that it has to be read: that is returned.
    fn order(&mut self, order: Order<'_>) -> Result<Bytes, Error> {
        let mut read = Vec::new();
        let mut plain = Plain::new(&mut read, usize::MAX);
        self.process_kept(&mut plain, order)?;
        Ok(read.into())
    }

    fn process_kept(&mut self, plain: &mut Plain<'_>, order: Order<'_>) -> Result<(), Error> {
        let mut bytes = mem::take(&mut self.kept);
        let used = self.process(&mut bytes, plain, order)?;
        bytes.drain(..used);
        self.kept = if bytes.is_empty() { Vec::new() } else { bytes };
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > MOST_KEPT {
            self.has_failed = true;
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        self.kept.clear();
        if bytes.is_empty() {
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Goes on with the protocol over `bytes` until it rests or lacks room, and returns how many of them were used.
    fn process(&mut self, bytes: &mut [u8], plain: &mut Plain<'_>, order: Order<'_>) -> Result<usize, Error> {
        if self.has_failed {
            return Ok(bytes.len());
        }
        let mut used = 0;
        self.has_plain = loop {
            let (discard, turn) = self.connection.turn(&mut bytes[used..], plain, &mut self.outgoing, order);
            used += discard;
            match turn {
                Ok(Turn::Again) => {}
                Ok(Turn::PeerEnded) => self.has_ended = true,
                Ok(Turn::Full) => break true,
                Ok(Turn::Rest) => break false,
                Err(error) => {
                    self.has_failed = true;
                    self.has_plain = false;
                    // The alert. Another turn than for that would look at the broken bytes again.
                    while self.connection.wants_write() {
                        let _ = self.connection.turn(&mut bytes[used..], plain, &mut self.outgoing, Order::Nothing);
                    }
                    return Err(error);
                }
            }
        };
        // Bytes behind the peer's notice are nothing.
        Ok(if self.has_ended && !self.has_plain { bytes.len() } else { used })
    }
}

impl Connection {
    /// Takes one turn over `bytes`. Returns how many of them are done with, and how the turn ended.
    fn turn(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Plain<'_>,
        out: &mut Outgoing,
        order: Order<'_>,
    ) -> (usize, Result<Turn, Error>) {
        match self {
            Self::Client(client) => turn(client.process_tls_records(bytes), plain, out, order),
            Self::Server(server) => turn(server.process_tls_records(bytes), plain, out, order),
        }
    }
}

fn turn<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Plain<'_>,
    out: &mut Outgoing,
    order: Order<'_>,
) -> (usize, Result<Turn, Error>) {
    let mut discard = status.discard;
    let turn = status.state.map(|state| match state {
        ConnectionState::ReadTraffic(_) if !plain.has_room() => Turn::Full,
        ConnectionState::ReadTraffic(mut read) => {
            if let Some(Ok(record)) = read.next_record() {
                discard += record.discard;
                plain.put(record.payload);
            }
            Turn::Again
        }
        ConnectionState::EncodeTlsData(mut message) => {
            out.fill(|room| {
                message.encode(room).map_err(|error| match error {
                    EncodeError::InsufficientSize(size) => Some(size.required_size),
                    EncodeError::AlreadyEncoded => None,
                })
            });
            Turn::Again
        }
        // What was encoded is in `out`.
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Turn::Again
        }
        ConnectionState::PeerClosed => Turn::PeerEnded,
        ConnectionState::WriteTraffic(mut writer) => {
            match order {
                Order::Nothing => {}
                Order::Bytes(bytes) => out.fill(|room| writer.encrypt(bytes, room).map_err(needed)),
                Order::Notice => out.fill(|room| writer.queue_close_notify(room).map_err(needed)),
            }
            Turn::Rest
        }
        _ => Turn::Rest,
    });
    (discard, turn)
}

/// Returns the room that is needed, if it is room that lacks.
fn needed(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Bytes that wait for the wire.
#[derive(Default)]
struct Outgoing {
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Outgoing {
    /// Appends what `write` puts into the room that it is given, or says that it needs.
    fn fill(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) {
        if self.buffer.is_empty() {
            self.buffer = SPARE.take();
        }
        loop {
            match write(&mut self.buffer[self.end..]) {
                Ok(bytes) => {
                    self.end += bytes;
                    return;
                }
                Err(Some(needed)) => self.buffer.resize(self.end + needed, 0),
                Err(None) => return,
            }
        }
    }

    fn send(&mut self, wire: &mut dyn Write) -> io::Result<usize> {
        let sent = wire.write(&self.buffer[self.begin..self.end])?;
        self.begin += sent;
        if self.begin == self.end {
            let buffer = mem::take(self).buffer;
            if buffer.len() <= MOST_SPARE {
                SPARE.set(buffer);
            }
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests;
