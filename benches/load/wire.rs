//! A socket as the ends of a measured connection read and write it: plain, or under TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::{Connection, HandshakeKind};

use crate::engine::Next;

/// Room that a read leaves: more than one record carries, so that none is half read, which no event would tell of.
const RECORD: usize = 32 * 1024;

pub struct Wire {
    stream: TcpStream,
    /// Boxed: most connections have none.
    tls: Option<Box<Connection>>,
    /// Whether the peer's notice of its end was read behind bytes: no event tells of it.
    has_ended: bool,
    /// Whether the kind of the handshake was asked for.
    is_counted: bool,
}

/// What a wire waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    pub readable: bool,
    pub writable: bool,
}

impl Wire {
    pub fn new(stream: TcpStream, tls: Option<Connection>) -> Self {
        Self { stream, tls: tls.map(Box::new), has_ended: false, is_counted: false }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Goes on with the handshake and with what was encrypted before. False while the end above has to wait.
    pub fn is_ready(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        loop {
            if !flush(tls, &self.stream)? {
                return Ok(false);
            }
            if !tls.is_handshaking() {
                return Ok(true);
            }
            match not_now(tls.read_tls(&mut &self.stream))? {
                None => return Ok(false),
                Some(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended in its handshake")),
                Some(_) => process(tls, &self.stream)?,
            }
        }
    }

    /// Tells once, behind a handshake, whether it was resumed.
    pub fn was_resumed(&mut self) -> Option<bool> {
        let tls = self.tls.as_ref().filter(|tls| !self.is_counted && !tls.is_handshaking())?;
        self.is_counted = true;
        Some(tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Tells what to wait for before the end above can go on as it wants to.
    pub fn interest(&self, next: Next) -> Interest {
        let waits = self.tls.as_ref().map_or((false, false), |tls| (tls.is_handshaking(), tls.wants_write()));
        match waits {
            (handshaking, true) => Interest { readable: handshaking || next == Next::Read, writable: true },
            (true, false) => Interest { readable: true, writable: false },
            (false, false) => Interest { readable: next == Next::Read, writable: next == Next::Write },
        }
    }

    /// Tells whether a read finds the end, of which no event will tell.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Reads; none when there is nothing to read now.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return not_now((&self.stream).read(buffer));
        };
        let mut filled = 0;
        loop {
            match tls.reader().read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(Some(0)),
                Ok(0) => {
                    self.has_ended = true;
                    return Ok(Some(filled));
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if buffer.len() - filled < RECORD {
                        return Ok(Some(filled));
                    }
                    match not_now(tls.read_tls(&mut &self.stream))? {
                        None => return Ok(Some(filled).filter(|filled| *filled > 0)),
                        Some(_) => process(tls, &self.stream)?,
                    }
                }
                // An end without notice is one, too: the rows count work.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Some(filled)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes; none when nothing can be written now. What was taken may still have to be sent.
    pub fn write(&mut self, data: &[u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return not_now((&self.stream).write(data));
        };
        if tls.is_handshaking() || !flush(tls, &self.stream)? {
            return Ok(None);
        }
        let count = tls.writer().write(data)?;
        flush(tls, &self.stream)?;
        Ok(Some(count))
    }

    /// Gives notice of the end, as far as there is room for it.
    pub fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = flush(tls, &self.stream);
        }
    }
}

/// Sends what was encrypted; false when there is no room for all of it.
fn flush(tls: &mut Connection, stream: &TcpStream) -> io::Result<bool> {
    let mut stream = stream;
    while tls.wants_write() {
        if not_now(tls.write_tls(&mut stream))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn process(tls: &mut Connection, stream: &TcpStream) -> io::Result<()> {
    if let Err(error) = tls.process_new_packets() {
        // The alert; it may come too late.
        let _ = flush(tls, stream);
        return Err(io::Error::new(ErrorKind::InvalidData, error));
    }
    Ok(())
}

fn not_now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
