//! A stream and its peer, for tests.

use std::{
    future::poll_fn,
    net::{TcpListener, TcpStream},
};

use super::{Stream, Unregistered};

/// Returns a stream of the calling thread's runtime, and its peer, which blocks.
pub(crate) fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    (Unregistered::of_tcp(accepted.into()).attach().unwrap(), peer)
}

/// Reads once, at most `most` bytes.
pub(crate) async fn read(stream: &mut Stream, most: usize) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; most];
    let bytes = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await?;
    buffer.truncate(bytes);
    Ok(buffer)
}
