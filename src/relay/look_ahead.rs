//! Looking ahead: stages see the bytes of a direction that streams while these still lie in the socket.
//!
//! Bytes that pass as they are were copied once, for the stages, and are spliced from the socket. A read and a write would
//! copy them twice. Of bytes that do not pass the copy is used, and the socket's are dropped.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    scratch,
    splice::{Filled, Splicer},
};
use crate::{io::stream::Stream, words::chunk::Chunk};

/// Bytes of the source that stages have seen, and that have left the socket.
#[derive(Debug)]
pub(super) struct Seen {
    pub chunk: Chunk,
    /// The number of bytes at the beginning of the chunk that are in the pipe.
    pub spliced: usize,
    /// The place from which on the bytes are to be fed to the stages; `None` if they pass all.
    pub first: Option<usize>,
}

/// Shows up to `size` bytes to `pass`, which returns the place of the first stage that they do not pass, and takes them from
/// the source. The outcome is that of a read, whose bytes are all in the chunk.
pub(super) fn poll(
    (source, splicer): (&mut Stream, &mut Splicer),
    size: usize,
    pass: impl FnOnce(&[u8]) -> Option<usize>,
    cx: &mut Context<'_>,
) -> Poll<(io::Result<usize>, Option<Seen>)> {
    let Some(mut buffer) = scratch::take_chunk(size) else { return failed(io::ErrorKind::OutOfMemory.into()) };
    let bytes = match (source.raw(), Arc::get_mut(&mut buffer)) {
        (Some(socket), Some(memory)) => match socket.poll_peek(cx, memory) {
            Poll::Ready(Ok(bytes)) if bytes > 0 => bytes,
            nothing => {
                scratch::put_back(buffer);
                return nothing.map(|read| (read, None));
            }
        },
        // Neither is missing where a splice is wanted.
        _ => return failed(io::ErrorKind::Interrupted.into()),
    };
    let first = pass(&buffer[..bytes]);
    let filled = if first.is_none() { splicer.poll_fill(source, bytes, cx) } else { Poll::Ready(Ok(Filled::Copy)) };
    let spliced = match filled {
        Poll::Ready(Ok(filled)) => filled.bytes(),
        Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::Interrupted => return failed(error),
        Poll::Ready(Err(_)) | Poll::Pending => 0,
    };
    let consumed = Arc::get_mut(&mut buffer).map_or(Ok(()), |memory| consume(source, &mut memory[spliced..bytes]));
    if let Err(error) = consumed {
        return failed(error);
    }
    Poll::Ready((Ok(bytes), Some(Seen { chunk: Chunk::new(buffer, bytes), spliced, first })))
}

fn failed<T>(error: io::Error) -> Poll<(io::Result<usize>, Option<T>)> {
    Poll::Ready((Err(error), None))
}

/// Removes bytes that were looked at from the socket.
fn consume(source: &mut Stream, mut seen: &mut [u8]) -> io::Result<()> {
    let Some(socket) = source.raw() else { return Err(io::ErrorKind::NotConnected.into()) };
    while !seen.is_empty() {
        match socket.consume(seen) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => seen = &mut seen[bytes..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
