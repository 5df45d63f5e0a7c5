//! A socket with bytes in front that were read from it before the relay: the rest after a header, or a first message that had
//! to be read to choose the upstream.

use bytes::{Buf, BufMut, Bytes};

use super::socket::Socket;

/// A socket, and the bytes that are read before the socket's own.
#[derive(Debug)]
pub(super) struct Prefixed {
    prefix: Bytes,
    pub(super) socket: Socket,
}

impl Prefixed {
    pub(super) fn new(prefix: Bytes, socket: Socket) -> Self {
        Self { prefix, socket }
    }

    /// Puts bytes in front of those that are there.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.prefix = [bytes, &self.prefix].concat().into();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Appends the next bytes of the prefix to `buf`, up to the free part of its current chunk.
    pub(super) fn put(&mut self, buf: &mut dyn BufMut) -> usize {
        let bytes = buf.chunk_mut().len().min(self.prefix.len());
        buf.put_slice(&self.prefix[..bytes]);
        self.prefix.advance(bytes);
        bytes
    }

    pub(super) fn into_parts(self) -> (Bytes, Socket) {
        (self.prefix, self.socket)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        io::{ErrorKind, Read, Write},
        net::{Shutdown, TcpStream},
        task::Poll,
        thread,
        time::Duration,
    };

    use socket2::SockRef;

    use super::{
        super::{
            Stream,
            pair::{pair, read},
        },
        *,
    };

    fn prefixed(prefix: &'static [u8]) -> (Stream, TcpStream) {
        let (mut stream, peer) = pair();
        stream.unread(Bytes::from_static(prefix));
        (stream, peer)
    }

    fn reset(peer: TcpStream) {
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
    }

    #[tokio::test]
    async fn bytes_that_were_put_back_are_read_first_in_portions_of_any_size() {
        for most in 1..=8 {
            let (mut stream, mut peer) = prefixed(b"before");
            peer.write_all(b"after").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut all = Vec::new();
            loop {
                let bytes = read(&mut stream, most).await.unwrap();
                if bytes.is_empty() {
                    break;
                }
                all.extend(bytes);
            }
            assert_eq!(all, b"beforeafter", "{most} at once");
        }
    }

    #[tokio::test]
    async fn they_are_read_into_fresh_memory_as_well() {
        let (mut stream, mut peer) = prefixed(b"before");
        peer.write_all(b"after").unwrap();
        let mut memory = [0; 16];
        let mut left = &mut memory[..4];
        assert_eq!(poll_fn(|cx| stream.poll_receive(cx, &mut left)).await.unwrap(), 4);
        let mut left = &mut memory[4..];
        assert_eq!(poll_fn(|cx| stream.poll_receive(cx, &mut left)).await.unwrap(), 2);
        assert_eq!(poll_fn(|cx| stream.poll_receive(cx, &mut left)).await.unwrap(), 5);
        assert_eq!(left.len(), 5);
        assert_eq!(&memory[..11], b"beforeafter");
    }

    #[tokio::test]
    async fn bytes_that_are_put_back_later_were_read_earlier() {
        let (mut stream, _peer) = prefixed(b"cd");
        stream.unread(Bytes::from_static(b"ab"));
        stream.unread(Bytes::new());
        assert_eq!(read(&mut stream, 10).await.unwrap(), b"abcd");
        let mut nowhere = Stream::nowhere();
        nowhere.unread(Bytes::from_static(b"ab"));
        assert!(nowhere.is_nowhere(), "nothing is read from no socket");
    }

    #[tokio::test]
    async fn a_failure_comes_behind_them() {
        let (mut stream, peer) = prefixed(b"before");
        reset(peer);
        assert_eq!(poll_fn(|cx| stream.poll_failure(cx)).await.kind(), ErrorKind::ConnectionReset);
        assert!(!stream.transport().unwrap().survives(&ErrorKind::ConnectionReset.into()));
        assert_eq!(read(&mut stream, 10).await.unwrap(), b"before");

        let (mut stream, peer) = prefixed(b"before");
        reset(peer);
        assert_eq!(read(&mut stream, 10).await.unwrap(), b"before");
        assert_eq!(read(&mut stream, 10).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    /// A low-water mark counts the kernel's bytes, and a splice moves them: both would skip the bytes in front.
    #[tokio::test]
    async fn the_socket_is_reached_once_they_are_read() {
        let (mut stream, mut peer) = prefixed(b"before");
        peer.write_all(b"after").unwrap();
        assert!(stream.raw().is_none());
        assert!(stream.has_unread());
        assert_eq!(read(&mut stream, 5).await.unwrap(), b"befor");
        assert!(stream.raw().is_none());
        assert_eq!(read(&mut stream, 5).await.unwrap(), b"e");
        let socket = stream.raw().unwrap();
        let waits = socket.set_low_water(6);
        assert_eq!(poll_fn(|cx| Poll::Ready(stream.poll_read(cx, &mut [0; 10]).is_pending())).await, waits);
        assert_eq!(stream.raw().unwrap().clear_low_water(), waits);
        if waits {
            assert_eq!(read(&mut stream, 10).await.unwrap(), b"after");
        }
    }

    #[tokio::test]
    async fn writes_and_the_end_do_not_wait_for_them() {
        let (mut stream, mut peer) = prefixed(b"before");
        assert_eq!(poll_fn(|cx| stream.poll_write(cx, b"answer")).await.unwrap(), 6);
        poll_fn(|cx| stream.poll_end(cx)).await.unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"answer");
        assert_eq!(read(&mut stream, 10).await.unwrap(), b"before");
    }

    #[tokio::test]
    async fn an_abort_is_seen_by_the_peer_whatever_is_left_of_them() {
        let (mut stream, mut peer) = prefixed(b"before");
        stream.abort_on_close();
        assert!(poll_fn(|cx| stream.poll_end(cx)).await.is_err(), "no orderly end comes before it");
        drop(stream);
        assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);

        let (stream, mut peer) = prefixed(b"before");
        drop(stream.detach().unwrap());
        assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset, "lost between two threads");
    }

    #[tokio::test]
    async fn they_go_along_to_another_thread() {
        let (mut stream, mut peer) = prefixed(b"before");
        assert_eq!(read(&mut stream, 2).await.unwrap(), b"be");
        let detached = stream.detach().unwrap();
        let elsewhere = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut stream = detached.attach().unwrap();
                assert!(stream.raw().is_none());
                [read(&mut stream, 10).await.unwrap(), read(&mut stream, 10).await.unwrap()].concat()
            })
        };
        let reading = thread::Builder::new().spawn(elsewhere).unwrap();
        peer.write_all(b"after").unwrap();
        assert_eq!(reading.join().unwrap(), b"foreafter");
    }
}
