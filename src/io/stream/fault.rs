//! The cause of an error: the socket, which has failed then, or a call that the system refuses.

use std::{io, mem::MaybeUninit};

use super::socket::Socket;
use crate::io::errno::{again, is_of_the_call, is_unix_failure};

impl Socket {
    /// Returns true if the socket still works after a call failed with `error`. The kernel reports a failure of the connection
    /// once, to whichever call comes first; what stays is that a TCP socket has no peer any more.
    pub(crate) fn survives(&self, error: &io::Error) -> bool {
        if self.is_tcp() { self.peer_name().is_ok() } else { !is_unix_failure(error) }
    }

    /// Returns the connection's failure behind an error of splice(2) that was to read from this socket; `None` if only that
    /// call has failed. Then an ordinary read finds the rest: bytes, the end, or the failure.
    pub(crate) fn failure_of_read(&self, error: &io::Error) -> Option<io::Error> {
        let peeked = self.socket().peek(&mut [MaybeUninit::uninit()]);
        match peeked {
            Ok(1..) => None,
            Err(nothing) if matches!(nothing.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            Err(failure) => Some(failure),
            // An end in order, or an end after a failure that the kernel reported to the splice.
            Ok(0) => (!is_of_the_call(error) && !self.survives(error)).then(|| again(error)),
        }
    }

    /// Returns the failure of the connection that a write which failed with `error` stands for, if any.
    pub(crate) fn failure_of_write(&self, error: &io::Error) -> Option<io::Error> {
        if self.survives(error) {
            return None;
        }
        let reported = self.socket().take_error().ok().flatten();
        Some(reported.unwrap_or_else(|| again(error)))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{future::poll_fn, io::Write, net};

    use socket2::SockRef;

    use super::{
        super::{Stream, pair::pair},
        *,
    };

    fn socket(stream: &Stream) -> &Socket {
        stream.transport().unwrap()
    }

    fn error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    async fn settled(stream: &Stream) {
        while socket(stream).peer_name().is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_call_that_fails_alone_fails_no_socket() {
        let (stream, mut peer) = pair();
        for number in [libc::ENOSYS, libc::EPERM, libc::ENOMEM, libc::EINVAL, libc::EIO, libc::ECONNRESET] {
            assert!(socket(&stream).failure_of_read(&error(number)).is_none(), "{number}");
            assert!(socket(&stream).failure_of_write(&error(number)).is_none(), "{number}");
        }
        peer.write_all(b"x").unwrap();
        peer.shutdown(net::Shutdown::Write).unwrap();
        assert!(socket(&stream).failure_of_read(&error(libc::EPERM)).is_none(), "bytes, and an end");
    }

    /// After orderly ends of both directions, the state of a socket equals that after a failure.
    #[tokio::test]
    async fn an_end_in_order_is_no_failure() {
        let (mut stream, peer) = pair();
        poll_fn(|cx| stream.poll_end(cx)).await.unwrap();
        drop(peer);
        settled(&stream).await;
        assert!(socket(&stream).failure_of_read(&error(libc::EPERM)).is_none());
        assert!(socket(&stream).failure_of_read(&error(libc::ECONNRESET)).is_some());
    }

    #[tokio::test]
    async fn a_reset_is_the_socket_s_whichever_call_it_was_reported_to() {
        for reported in [false, true] {
            let (stream, peer) = pair();
            SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(peer);
            settled(&stream).await;
            if reported {
                assert!(socket(&stream).socket().take_error().unwrap().is_some());
            }
            let number = if reported { libc::ECONNRESET } else { libc::EPERM };
            let failure = if reported {
                socket(&stream).failure_of_write(&error(number))
            } else {
                socket(&stream).failure_of_read(&error(number))
            };
            assert_eq!(failure.map(|failure| failure.kind()), Some(io::ErrorKind::ConnectionReset));
            assert!(socket(&stream).failure_of_read(&error(libc::ECONNRESET)).is_some());
        }
    }

    #[tokio::test]
    async fn what_came_before_a_reset_is_still_to_be_read() {
        let (stream, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);
        settled(&stream).await;
        assert!(socket(&stream).failure_of_read(&error(libc::EPERM)).is_none());
    }
}
