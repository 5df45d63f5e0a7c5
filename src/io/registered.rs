//! A connected socket that the runtime of one thread wakes: reading, and readiness.

pub(super) use system::{Registered, connect};

#[cfg(unix)]
mod system {
    use std::{
        future::poll_fn,
        io::{self, Read},
        os::fd::{AsFd, BorrowedFd},
        task::{Context, Poll, ready},
    };

    use socket2::{SockAddr, SockRef, Socket};
    use tokio::io::{Interest, ReadBuf, unix::AsyncFd};

    use crate::io::{kernel, last_close};

    #[derive(Debug)]
    pub(in crate::io) struct Registered {
        socket: AsyncFd<Socket>,
        is_tcp: bool,
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const WATCHED: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const WATCHED: Interest = Interest::READABLE.add(Interest::WRITABLE);

    impl Registered {
        /// A socket that does not block, with the runtime of the calling thread. It is reset where that cannot be had.
        pub(in crate::io) fn new(socket: Socket, is_tcp: bool) -> io::Result<Self> {
            let refused = |(socket, error)| {
                last_close::reset(&socket, is_tcp);
                error
            };
            Ok(Self { socket: kernel::watch(socket, WATCHED).map_err(refused)?, is_tcp })
        }

        /// Takes it from its runtime.
        pub(in crate::io) fn into_socket(self) -> io::Result<Socket> {
            Ok(self.socket.into_inner())
        }

        pub(in crate::io) fn socket(&self) -> SockRef<'_> {
            SockRef::from(self.socket.get_ref())
        }

        pub(in crate::io) fn is_tcp(&self) -> bool {
            self.is_tcp
        }

        /// Reads what the runtime has told of; unless `told`, what is there.
        pub(in crate::io) fn poll_read(&self, cx: &mut Context<'_>, told: bool, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            self.poll_fetch(cx, told, buf.len(), |mut socket| socket.read(buf))
        }

        /// The same, into memory that need not have been written before.
        pub(in crate::io) fn poll_receive(
            &self,
            cx: &mut Context<'_>,
            told: bool,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.poll_fetch(cx, told, buf.remaining(), |socket| kernel::receive(socket, buf)).map_ok(drop)
        }

        fn poll_fetch(
            &self,
            cx: &mut Context<'_>,
            told: bool,
            room: usize,
            mut fetch: impl FnMut(&Socket) -> io::Result<usize>,
        ) -> Poll<io::Result<usize>> {
            if !told && let Some(done) = unless_blocked(fetch(self.socket.get_ref())) {
                return Poll::Ready(done);
            }
            loop {
                let mut ready = ready!(self.socket.poll_read_ready(cx))?;
                match fetch(self.socket.get_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                    Ok(bytes) => {
                        // A read that was not filled has taken everything: the next need not ask the kernel to hear that.
                        if 0 < bytes && bytes < room && !self.may_stop_short() {
                            ready.clear_ready();
                        }
                        return Poll::Ready(Ok(bytes));
                    }
                    error => return Poll::Ready(error),
                }
            }
        }

        /// Has `read` take from the socket, until it would block.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        pub(in crate::io) fn poll_take(
            &self,
            cx: &mut Context<'_>,
            told: bool,
            mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
        ) -> Poll<io::Result<usize>> {
            if !told && let Some(done) = unless_blocked(read(self.socket.get_ref().as_fd())) {
                return Poll::Ready(done);
            }
            loop {
                let mut ready = ready!(self.socket.poll_read_ready(cx))?;
                match read(self.socket.get_ref().as_fd()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                    done => return Poll::Ready(done),
                }
            }
        }

        /// Whether a read may end before what the kernel holds does, and no news come of the rest. It does before an
        /// urgent byte, even one that is in line, and on a Unix socket behind bytes that descriptors came with.
        pub(in crate::io) fn may_stop_short(&self) -> bool {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            {
                // Nobody clears this readiness, so it tells of an urgent byte at any time before.
                !self.is_tcp || self.socket.try_io(Interest::PRIORITY, |_| Ok(())).is_ok()
            }
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            {
                // The runtime does not tell of urgent bytes here.
                true
            }
        }

        pub(in crate::io) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.socket.poll_write_ready(cx).map_ok(drop)
        }

        pub(in crate::io) fn clear_writable(&self) {
            let _ = self.socket.try_io(Interest::WRITABLE, |_| -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) });
        }
    }

    fn unless_blocked(done: io::Result<usize>) -> Option<io::Result<usize>> {
        (!matches!(&done, Err(error) if error.kind() == io::ErrorKind::WouldBlock)).then_some(done)
    }

    /// A connect that nobody may wait for any more when it is dropped. It must not go on, nor its connection live,
    /// where a forked child has the socket too.
    struct Attempt(Option<Registered>);

    impl Drop for Attempt {
        fn drop(&mut self) {
            if let Some(registered) = &self.0 {
                last_close::give_up(&registered.socket());
            }
        }
    }

    /// Connects a socket that does not block. `dial` begins that.
    pub(in crate::io) async fn connect(
        socket: Socket,
        to: &SockAddr,
        dial: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Registered> {
        match dial(&socket) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                // It may be on its way all the same.
                last_close::reset(&socket, !to.is_unix());
                return Err(error);
            }
            _ => {}
        }
        // Not before the connect: a socket that is not connected counts as one that was hung up.
        let mut attempt = Attempt(Some(Registered::new(socket, !to.is_unix())?));
        let Some(registered) = &attempt.0 else { return Err(io::ErrorKind::NotConnected.into()) };
        let hung_up =
            poll_fn(|cx| registered.socket.poll_write_ready(cx).map_ok(|guard| guard.ready().is_write_closed())).await?;
        // A connect that has failed counts as hung up; only then is there an error to ask for.
        let failure = if hung_up { registered.socket().take_error()? } else { None };
        match failure {
            Some(error) => Err(error),
            None => attempt.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll, ready},
    };

    use socket2::{SockAddr, SockRef, Socket};
    use tokio::{
        io::{AsyncRead, Interest, ReadBuf},
        net::{TcpSocket, TcpStream},
    };

    #[derive(Debug)]
    pub(in crate::io) struct Registered(TcpStream);

    impl Registered {
        /// A socket that does not block, with the runtime of the calling thread.
        pub(in crate::io) fn new(socket: Socket, _: bool) -> io::Result<Self> {
            TcpStream::from_std(socket.into()).map(Self)
        }

        /// Takes it from its runtime.
        pub(in crate::io) fn into_socket(self) -> io::Result<Socket> {
            self.0.into_std().map(Socket::from)
        }

        pub(in crate::io) fn socket(&self) -> SockRef<'_> {
            SockRef::from(&self.0)
        }

        pub(in crate::io) fn is_tcp(&self) -> bool {
            true
        }

        pub(in crate::io) fn poll_read(&mut self, cx: &mut Context<'_>, told: bool, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut buf = ReadBuf::new(buf);
            ready!(self.poll_receive(cx, told, &mut buf))?;
            Poll::Ready(Ok(buf.filled().len()))
        }

        /// The same, into memory that need not have been written before.
        pub(in crate::io) fn poll_receive(
            &mut self,
            cx: &mut Context<'_>,
            _: bool,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }

        pub(in crate::io) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0.poll_write_ready(cx)
        }

        pub(in crate::io) fn clear_writable(&self) {
            let _ = self.0.try_io(Interest::WRITABLE, || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) });
        }
    }

    /// Connects a socket that does not block. The runtime begins that here by itself.
    pub(in crate::io) async fn connect(
        socket: Socket,
        to: &SockAddr,
        _: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Registered> {
        let to = to.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        TcpSocket::from_std_stream(socket.into()).connect(to).await.map(Registered)
    }
}
