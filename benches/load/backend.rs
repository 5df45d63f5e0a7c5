//! The server's end of a connection. The first byte says what the client wants.

use std::io::{self, ErrorKind};

use crate::engine::Next;
use crate::plan::REQUEST;
use crate::wire::Wire;

pub const ECHO: u8 = b'E';
pub const DOWNLOAD: u8 = b'D';
pub const REPLY: u8 = b'R';

/// What one write of a download carries.
const BULK_WRITE: usize = 64 * 1024;
static ZEROS: [u8; BULK_WRITE] = [0; BULK_WRITE];

pub enum Backend {
    /// Nothing was read yet.
    New,
    /// Sends back what it reads; what did not go out yet is kept here.
    Echo { pending: Vec<u8> },
    /// Sends for as long as somebody reads.
    Download,
    /// Answers one request and closes.
    Reply { received: usize },
}

impl Backend {
    pub fn progress(&mut self, wire: &mut Wire, buffer: &mut [u8]) -> io::Result<Next> {
        match self {
            Self::New => self.begin(wire, buffer),
            Self::Echo { pending } if !pending.is_empty() => flush(wire, pending),
            Self::Download => download(wire),
            Self::Echo { .. } | Self::Reply { .. } => match wire.read(buffer)? {
                None => Ok(Next::Read),
                Some(0) => Ok(Next::Close),
                Some(count) => self.answer(wire, &buffer[..count]),
            },
        }
    }

    fn begin(&mut self, wire: &mut Wire, buffer: &mut [u8]) -> io::Result<Next> {
        let count = match wire.read(buffer)? {
            None => return Ok(Next::Read),
            Some(0) => return Ok(Next::Close),
            Some(count) => count,
        };
        *self = match buffer[0] {
            ECHO => {
                wire.stream().set_nodelay(true)?;
                Self::Echo { pending: Vec::new() }
            }
            DOWNLOAD => Self::Download,
            REPLY => Self::Reply { received: 0 },
            other => {
                let why = format!("a connection began with {other}");
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
        };
        self.answer(wire, &buffer[..count])
    }

    fn answer(&mut self, wire: &mut Wire, data: &[u8]) -> io::Result<Next> {
        match self {
            Self::Echo { pending } => {
                let sent = wire.write(data)?.unwrap_or(0);
                if sent == data.len() {
                    return Ok(Next::Read);
                }
                pending.extend_from_slice(&data[sent..]);
                Ok(Next::Write)
            }
            Self::Reply { received } => {
                *received += data.len();
                if *received < REQUEST {
                    return Ok(Next::Read);
                }
                // An empty send buffer takes 64 bytes whole.
                wire.write(&[REPLY; REQUEST])?;
                Ok(Next::Close)
            }
            Self::New | Self::Download => Ok(Next::Write),
        }
    }
}

fn flush(wire: &mut Wire, pending: &mut Vec<u8>) -> io::Result<Next> {
    let sent = wire.write(pending)?.unwrap_or(0);
    pending.drain(..sent);
    Ok(if pending.is_empty() { Next::Read } else { Next::Write })
}

fn download(wire: &mut Wire) -> io::Result<Next> {
    wire.write(&ZEROS)?;
    Ok(Next::Write)
}
