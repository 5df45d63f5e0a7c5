//! Whose an error is: the socket's, which has failed then, or that of a call which the system refuses.

use std::{io, mem::MaybeUninit};

use super::{
    errno::{again, is_of_the_call, is_unix_failure},
    stream::Stream,
};

impl Stream {
    /// Returns true if the socket still works after a call failed with `error`. The kernel reports a failure of the connection
    /// once, to whichever call comes first; what stays is that a TCP socket has no peer any more.
    pub(crate) fn survives(&self, error: &io::Error) -> bool {
        if self.is_tcp() {
            return self.peer_name().is_ok();
        }
        self.socket().is_some() && !is_unix_failure(error)
    }

    /// The failure behind an error of splice(2), which was to read from this socket; none if only that call has failed.
    /// Then an ordinary read tells the rest: bytes, the end, or what has failed.
    pub(crate) fn failure_of_read(&self, error: &io::Error) -> Option<io::Error> {
        let peeked = self.socket()?.peek(&mut [MaybeUninit::uninit()]);
        match peeked {
            Ok(1..) => None,
            Err(nothing) if matches!(nothing.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            Err(failure) => Some(failure),
            // An end in order, or one behind a failure that the kernel reported to the splice.
            Ok(0) => (!is_of_the_call(error) && !self.survives(error)).then(|| again(error)),
        }
    }

    /// Returns the failure of the connection that a write which failed with `error` stands for, if any.
    pub(crate) fn failure_of_write(&self, error: &io::Error) -> Option<io::Error> {
        if self.survives(error) {
            return None;
        }
        let told = self.socket().and_then(|socket| socket.take_error().ok().flatten());
        Some(told.unwrap_or_else(|| again(error)))
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::{io::Write, net};

    use socket2::{SockRef, Socket};

    use super::*;

    fn pair() -> (Stream, net::TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        (Stream::of_socket(Socket::from(accepted), true).unwrap(), peer)
    }

    fn error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    async fn settled(stream: &Stream) {
        while stream.peer_name().is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_call_that_fails_alone_fails_no_socket() {
        let (stream, mut peer) = pair();
        for number in [libc::ENOSYS, libc::EPERM, libc::ENOMEM, libc::EINVAL, libc::EIO, libc::ECONNRESET] {
            assert!(stream.failure_of_read(&error(number)).is_none(), "{number}");
            assert!(stream.failure_of_write(&error(number)).is_none(), "{number}");
        }
        peer.write_all(b"x").unwrap();
        peer.shutdown(net::Shutdown::Write).unwrap();
        assert!(stream.failure_of_read(&error(libc::EPERM)).is_none(), "bytes, and an end");
    }

    /// The last state of a socket is the same after ends in order both ways as after a failure.
    #[tokio::test]
    async fn an_end_in_order_is_no_failure() {
        let (mut stream, peer) = pair();
        stream.half_close().unwrap();
        drop(peer);
        settled(&stream).await;
        assert!(stream.failure_of_read(&error(libc::EPERM)).is_none());
        assert!(stream.failure_of_read(&error(libc::ECONNRESET)).is_some());
    }

    #[tokio::test]
    async fn a_reset_is_the_socket_s_whoever_was_told_of_it() {
        for told in [false, true] {
            let (stream, peer) = pair();
            SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(peer);
            settled(&stream).await;
            if told {
                assert!(stream.socket().unwrap().take_error().unwrap().is_some());
            }
            let number = if told { libc::ECONNRESET } else { libc::EPERM };
            let failure = if told { stream.failure_of_write(&error(number)) } else { stream.failure_of_read(&error(number)) };
            assert_eq!(failure.map(|failure| failure.kind()), Some(io::ErrorKind::ConnectionReset));
            assert!(stream.failure_of_read(&error(libc::ECONNRESET)).is_some());
        }
    }

    #[tokio::test]
    async fn what_came_before_a_reset_is_still_to_be_read() {
        let (stream, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);
        settled(&stream).await;
        assert!(stream.failure_of_read(&error(libc::EPERM)).is_none());
    }
}
