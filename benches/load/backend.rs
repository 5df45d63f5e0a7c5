//! The server's end of a connection. The first byte says what the client wants.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::engine::Next;
use crate::plan::REQUEST;

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
    pub fn progress(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Next> {
        match self {
            Self::New => self.begin(stream, buffer),
            Self::Echo { pending } if !pending.is_empty() => flush(stream, pending),
            Self::Download => download(stream),
            Self::Echo { .. } | Self::Reply { .. } => match stream_read(stream, buffer)? {
                None => Ok(Next::Read),
                Some(0) => Ok(Next::Close),
                Some(count) => self.answer(stream, &buffer[..count]),
            },
        }
    }

    fn begin(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Next> {
        let count = match stream_read(stream, buffer)? {
            None => return Ok(Next::Read),
            Some(0) => return Ok(Next::Close),
            Some(count) => count,
        };
        *self = match buffer[0] {
            ECHO => {
                stream.set_nodelay(true)?;
                Self::Echo { pending: Vec::new() }
            }
            DOWNLOAD => Self::Download,
            REPLY => Self::Reply { received: 0 },
            other => {
                let why = format!("a connection began with {other}");
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
        };
        self.answer(stream, &buffer[..count])
    }

    fn answer(&mut self, stream: &TcpStream, data: &[u8]) -> io::Result<Next> {
        match self {
            Self::Echo { pending } => {
                let sent = stream_write(stream, data)?.unwrap_or(0);
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
                stream_write(stream, &[REPLY; REQUEST])?;
                Ok(Next::Close)
            }
            Self::New | Self::Download => Ok(Next::Write),
        }
    }
}

fn flush(stream: &TcpStream, pending: &mut Vec<u8>) -> io::Result<Next> {
    let sent = stream_write(stream, pending)?.unwrap_or(0);
    pending.drain(..sent);
    Ok(if pending.is_empty() { Next::Read } else { Next::Write })
}

fn download(stream: &TcpStream) -> io::Result<Next> {
    stream_write(stream, &ZEROS)?;
    Ok(Next::Write)
}

/// Reads; none when there is nothing to read now.
pub fn stream_read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    not_now(stream.read(buffer))
}

/// Writes; none when nothing can be written now.
pub fn stream_write(mut stream: &TcpStream, data: &[u8]) -> io::Result<Option<usize>> {
    not_now(stream.write(data))
}

fn not_now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
