//! One connected socket, TCP or Unix, and the ways to end it.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::TcpStream,
};

#[cfg(unix)]
use tokio::net::UnixStream;

use crate::addr::SocketName;

/// A connected socket registered with the runtime of the thread that made it.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Connected,
    /// The last write found no room, and the runtime has not told of any since.
    blocked: bool,
}

#[derive(Debug)]
enum Connected {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// No socket: takes everything, and ends when it is told the end. It has nothing to wake anybody for.
    Nowhere {
        ended: bool,
    },
}

/// A connected socket between two runtimes. Dropped in between, it is aborted.
#[derive(Debug)]
pub(crate) struct Unregistered(Option<Bare>);

#[derive(Debug)]
enum Bare {
    Socket(Socket),
    Nowhere { ended: bool },
}

impl Unregistered {
    /// The stream, registered with the runtime of the calling thread.
    pub(crate) fn register(mut self) -> io::Result<Stream> {
        match self.0.take() {
            Some(Bare::Socket(socket)) => Stream::of_socket(socket),
            Some(Bare::Nowhere { ended }) => Ok(Stream { socket: Connected::Nowhere { ended }, blocked: false }),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Unregistered {
    fn drop(&mut self) {
        if let Some(Bare::Socket(socket)) = &self.0 {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

/// What every TCP socket of ours is set to.
#[derive(Debug, Clone)]
pub(crate) struct SocketOptions {
    pub unacknowledged: Option<Duration>,
}

/// A write to a closed connection is an error here, never a SIGPIPE to the embedding program.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NO_SIGNAL: i32 = 0;

/// Silence before the first keepalive probe; six probes, ten seconds apart, end the connection.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 6);

impl SocketOptions {
    /// Keepalive, urgent bytes in line, and the unacknowledged bound.
    ///
    /// No option is worth a connection: a kernel that lacks one is left at its default.
    pub(crate) fn apply(&self, socket: &SockRef<'_>) {
        let (time, interval, retries) = KEEPALIVE;
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
        #[cfg(not(windows))]
        let keepalive = keepalive.with_retries(retries);
        #[cfg(windows)]
        let _ = retries;
        let _ = socket.set_tcp_keepalive(&keepalive);
        // An urgent byte (RFC 6093) is a byte of the stream, and must not be lost.
        let _ = socket.set_out_of_band_inline(true);
        let _ = socket.set_tcp_nodelay(true);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.unacknowledged.is_some() {
            let _ = socket.set_tcp_user_timeout(self.unacknowledged);
        }
    }
}

macro_rules! each {
    ($self:expr, $stream:ident => $do:expr, nowhere => $none:expr) => {
        match $self {
            Connected::Tcp($stream) => $do,
            #[cfg(unix)]
            Connected::Unix($stream) => $do,
            Connected::Nowhere { .. } => $none,
        }
    };
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self { socket: Connected::Tcp(stream), blocked: false }
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self { socket: Connected::Unix(stream), blocked: false }
    }
}

impl Stream {
    /// No socket at all: what a connection without an upstream has in its place.
    pub(crate) fn nowhere() -> Self {
        Self { socket: Connected::Nowhere { ended: false }, blocked: false }
    }

    /// A connected socket of either family, registered with the runtime of the calling thread.
    pub(crate) fn of_socket(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        #[cfg(unix)]
        if socket.domain()? == socket2::Domain::UNIX {
            return UnixStream::from_std(socket.into()).map(Self::from);
        }
        TcpStream::from_std(socket.into()).map(Self::from)
    }

    /// Takes it from its runtime, for another thread's.
    pub(crate) fn unregister(self) -> io::Result<Unregistered> {
        let bare = match self.socket {
            Connected::Tcp(stream) => Bare::Socket(stream.into_std()?.into()),
            #[cfg(unix)]
            Connected::Unix(stream) => Bare::Socket(stream.into_std()?.into()),
            Connected::Nowhere { ended } => Bare::Nowhere { ended },
        };
        Ok(Unregistered(Some(bare)))
    }

    /// The socket alone, for whoever connects by hand.
    pub(crate) fn into_socket(self) -> io::Result<Socket> {
        match self.unregister()?.0.take() {
            Some(Bare::Socket(socket)) => Ok(socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.socket, Connected::Tcp(_))
    }

    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self.socket, Connected::Nowhere { .. })
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Connected::Nowhere { ended } = self.socket {
            return if ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
        }
        let mut buf = ReadBuf::new(buf);
        ready!(each!(&mut self.socket, stream => Pin::new(stream).poll_read(cx, &mut buf), nowhere => Poll::Pending))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes what the kernel takes. Tried whatever readiness the runtime believes in, unless the last try found
    /// no room: [`poll_failure`](Self::poll_failure) clears that readiness.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.blocked {
                ready!(self.poll_writable(cx))?;
                self.blocked = false;
            }
            let sent = match self.socket() {
                Some(socket) => socket.send_with_flags(data, NO_SIGNAL),
                None => Ok(data.len()),
            };
            match sent {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.clear_writable();
                    self.blocked = true;
                }
                Ok(taken) => {
                    if taken < data.len() {
                        // No room for the rest; the kernel will tell, so the next call need not ask it.
                        self.clear_writable();
                        self.blocked = true;
                    }
                    return Poll::Ready(Ok(taken));
                }
                error => return Poll::Ready(error),
            }
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&self.socket, stream => stream.poll_write_ready(cx), nowhere => Poll::Pending)
    }

    /// Sends FIN. The kernel sends it after everything that was written.
    pub(crate) fn half_close(&mut self) -> io::Result<()> {
        if let Connected::Nowhere { ended } = &mut self.socket {
            *ended = true;
        }
        let Some(socket) = self.socket() else { return Ok(()) };
        match socket.shutdown(Shutdown::Write) {
            // The connection has failed before, and SO_ERROR has still to tell how.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(socket.take_error().ok().flatten().unwrap_or(error)),
            done => done,
        }
    }

    /// Ready when the connection has failed, for a socket that is not being read, so that no read would tell:
    /// its FIN was seen, or the other side does not take what was read from it.
    ///
    /// A reset raises the same readiness as room to write. So that readiness is cleared first: what then
    /// comes is a reset, or news of another kind that is cleared again.
    pub(crate) fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(socket) = self.socket() else { return Poll::Pending };
        if self.blocked {
            // The write that waits for room will be woken, and will find the failure itself.
            return Poll::Pending;
        }
        loop {
            self.clear_writable();
            if let Err(error) = ready!(self.poll_writable(cx)) {
                return Poll::Ready(error);
            }
            if !self.closed_for_writing() {
                continue;
            }
            // The runtime keeps "closed" for good, so there is nothing to wait for any more. Without an error it is
            // no failure: both directions have ended, and what the peer sent may still be there to be read.
            return match socket.take_error() {
                Ok(Some(error)) | Err(error) => Poll::Ready(error),
                Ok(None) => Poll::Pending,
            };
        }
    }

    fn clear_writable(&self) {
        let blocked = || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
        let _ = each!(&self.socket, stream => stream.try_io(Interest::WRITABLE, blocked), nowhere => Ok(()));
    }

    /// Whether the readiness cannot be cleared.
    fn closed_for_writing(&self) -> bool {
        let mut nothing = Context::from_waker(std::task::Waker::noop());
        self.clear_writable();
        self.poll_writable(&mut nothing).is_ready()
    }

    /// Makes the coming close an abort: RST, and what the kernel still holds is dropped.
    /// A Unix socket has no RST; there the close is the end.
    pub(crate) fn abort_on_close(&self) {
        if let Connected::Tcp(stream) = &self.socket {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Bytes written here that the peer's kernel has not acknowledged. Where the system cannot tell, none.
    pub(crate) fn unacknowledged(&self) -> usize {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use std::os::fd::AsFd;
            each!(&self.socket, stream => super::kernel::unacknowledged(stream.as_fd()), nowhere => Ok(0)).unwrap_or(0)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        0
    }

    /// The socket, where there is one.
    pub(crate) fn socket(&self) -> Option<SockRef<'_>> {
        each!(&self.socket, stream => Some(SockRef::from(stream)), nowhere => None)
    }

    pub(crate) fn peer_name(&self) -> io::Result<SocketName> {
        match &self.socket {
            Connected::Tcp(stream) => stream.peer_addr().map(SocketName::from),
            #[cfg(unix)]
            Connected::Unix(stream) => stream.peer_addr().map(|address| unix_name(&address.into())),
            Connected::Nowhere { .. } => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// The name of a Unix socket as its address text has it after `unix:`.
#[cfg(unix)]
pub(crate) fn unix_name(address: &std::os::unix::net::SocketAddr) -> SocketName {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::linux::net::SocketAddrExt;
        if let Some(name) = address.as_abstract_name() {
            return SocketName::Unix(format!("@{}", String::from_utf8_lossy(name)));
        }
    }
    let path = address.as_pathname().map(|path| path.to_string_lossy().into_owned());
    SocketName::Unix(path.unwrap_or_default())
}
