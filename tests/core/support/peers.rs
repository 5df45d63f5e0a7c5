//! Scripted peers: a client or an upstream on a blocking socket, whose every wait is bounded.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{kernel, pattern::Pattern, sessions::PeerSession};

/// No wait of a test is longer. Far above what anything takes, because the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long a peer must be refused room before a test calls it blocked.
const BLOCKED: Duration = Duration::from_millis(250);

/// Waits until `condition` holds; panics with `what` when it does not come to pass.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let (start, mut pause) = (Instant::now(), Duration::from_millis(1));
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        pass(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Lets time pass: between two looks at a condition, or where a case is about slowness itself.
#[expect(clippy::disallowed_methods, reason = "a thread of the test's own; nothing waits for it by the clock")]
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// A thread of a test.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().spawn(work).unwrap()
}

/// How a stream ended for the one who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Eof,
    Reset,
}

/// Whether an error is what a reset peer causes.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

/// A connected socket of the test's own.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    tls: Option<Arc<PeerSession>>,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, tls: None }
    }

    /// A Unix socket in a TCP socket's clothes: reading, writing, ending and timing out are the same calls.
    pub fn unix(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream: OwnedFd::from(stream).into(), tls: None }
    }

    /// Shakes hands as a client, and speaks TLS from then on.
    pub fn with_tls(self) -> Self {
        let tls = Some(Arc::new(PeerSession::client(&self.stream).unwrap()));
        Self { tls, ..self }
    }

    /// Shakes hands as a server, and speaks TLS from then on.
    pub fn serving_tls(self) -> Self {
        let tls = Some(Arc::new(PeerSession::server(&self.stream).unwrap()));
        Self { tls, ..self }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            Some(tls) => tls.read(&self.stream, buffer),
            None => self.stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            Some(tls) => tls.write(&self.stream, bytes),
            None => self.stream.write(bytes),
        }
    }

    pub fn connect(to: SocketAddr) -> Self {
        Self::connect_with(to, None)
    }

    /// Connects with both kernel buffers clamped, so that "stalled" comes after kilobytes instead of megabytes.
    pub fn connect_with(to: SocketAddr, buffers: Option<usize>) -> Self {
        Self::try_connect(to, buffers).unwrap()
    }

    fn try_connect(to: SocketAddr, buffers: Option<usize>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        clamp(&SockRef::from(&socket), buffers);
        socket.connect_timeout(&SockAddr::from(to), DEADLINE)?;
        Ok(Self::new(socket.into()))
    }

    /// Connects and expects a reset, be it so soon that the connect itself tells of it.
    pub fn connect_and_be_reset(to: SocketAddr) {
        match Self::try_connect(to, None) {
            Ok(mut client) => client.expect(End::Reset),
            Err(error) => assert!(is_reset(&error), "connect: {error}"),
        }
    }

    pub fn try_clone(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap(), tls: self.tls.clone() }
    }

    pub fn name(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub fn remote(&self) -> SocketAddr {
        self.stream.peer_addr().unwrap()
    }

    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// FIN. A peer that was reset meanwhile has nothing left to end.
    pub fn half_close(&self) {
        if let Some(tls) = &self.tls {
            return tls.half_close(&self.stream);
        }
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => panic!("shutdown: {error}"),
            _ => {}
        }
    }

    /// RST, whatever is still queued.
    pub fn reset(self) {
        self.tls.iter().for_each(|tls| tls.be_silent());
        self.socket().set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The orderly close of a process that ends: FIN, unless something unread is left.
    pub fn close(self) {
        drop(self);
    }

    /// Closes in order towards a peer that may end too, but writes no more. Its notice of that end is bytes, which a closed socket
    /// answers with a reset, and that destroys what is still under way from here; so with TLS a thread reads it.
    pub fn leave(self) {
        self.tls.iter().for_each(|tls| tls.await_end());
        self.close();
    }

    /// Waits until the other kernel has everything that was sent.
    pub fn wait_acknowledged(&self) {
        until("everything sent was acknowledged", || kernel::unacknowledged(&self.stream) == 0);
    }

    pub fn unacknowledged(&self) -> u64 {
        kernel::unacknowledged(&self.stream)
    }

    /// Waits until there is something to read (or the end), and reads nothing.
    pub fn wait_readable(&self) {
        if !self.tls.as_ref().is_some_and(|tls| tls.has_bytes()) {
            self.stream.peek(&mut [0]).unwrap();
        }
    }

    /// Sends the next `length` bytes of a pattern, cut as `cut` says.
    pub fn send_pattern(&mut self, pattern: &mut Pattern, length: u64, mut cut: impl FnMut() -> usize) {
        let mut left = length;
        while left > 0 {
            let size = left.min(cut() as u64) as usize;
            self.send(&pattern.take(size));
            left -= size as u64;
        }
    }

    /// Sends a pattern until nobody takes more (or `most` is reached); gives what was taken.
    pub fn send_until_blocked(&mut self, pattern: &mut Pattern, most: u64) -> u64 {
        self.stream.set_write_timeout(Some(BLOCKED)).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        let mut sent = 0;
        while sent < most {
            pattern.peek(&mut buffer);
            match self.write(&buffer) {
                Ok(taken) => {
                    pattern.advance(taken);
                    sent += taken as u64;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("send: {error}"),
            }
        }
        self.stream.set_write_timeout(Some(DEADLINE)).unwrap();
        sent
    }

    /// One read: what came, or how the stream ended.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        loop {
            match self.read(buffer) {
                Ok(0) => return Err(End::Eof),
                Ok(got) => return Ok(got),
                Err(error) if is_reset(&error) => return Err(End::Reset),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("receive: {error}"),
            }
        }
    }

    /// One read that waits no longer than `limit`; an end is no bytes.
    pub fn try_receive(&mut self, limit: Duration) -> io::Result<Vec<u8>> {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        let read = self.read(&mut buffer).map(|got| buffer[..got].to_vec());
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        read
    }

    pub fn receive_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut got = 0;
        while got < length {
            match self.receive(&mut bytes[got..]) {
                Ok(more) => got += more,
                Err(end) => panic!("{end:?} after {got} of {length} bytes"),
            }
        }
        bytes
    }

    /// Checks the next `length` bytes against a pattern.
    pub fn receive_pattern(&mut self, pattern: &mut Pattern, length: u64) {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = length;
        while left > 0 {
            let room = left.min(buffer.len() as u64) as usize;
            match self.receive(&mut buffer[..room]) {
                Ok(got) => {
                    pattern.check(&buffer[..got]);
                    left -= got as u64;
                }
                Err(end) => panic!("{end:?} after {} bytes, {left} are missing", pattern.position()),
            }
        }
    }

    /// Checks everything up to the end against a pattern; gives how much came, and how it ended.
    pub fn receive_to_end(&mut self, pattern: &mut Pattern) -> (u64, End) {
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            match self.receive(&mut buffer) {
                Ok(got) => {
                    pattern.check(&buffer[..got]);
                    total += got as u64;
                }
                Err(end) => return (total, end),
            }
        }
    }

    /// Expects the end, and nothing before it.
    pub fn expect(&mut self, end: End) {
        let mut buffer = [0; 1024];
        match self.receive(&mut buffer) {
            Ok(got) => panic!("{got} bytes instead of {end:?}"),
            Err(other) => assert_eq!(other, end),
        }
    }

    /// Sends single bytes until the peer is found to be gone; bounded.
    pub fn send_until_reset(&mut self) {
        until("sending fails because the peer is gone", || match self.try_send(b"x") {
            Ok(()) => false,
            Err(error) => is_reset(&error) || panic!("send: {error}"),
        });
    }
}

/// Makes both kernel buffers small. The one for sending is the larger: were it as small, every write would wait for
/// a delayed acknowledgement (40 ms).
pub fn clamp(socket: &SockRef<'_>, buffers: Option<usize>) {
    if let Some(bytes) = buffers {
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.set_send_buffer_size(16 * bytes).unwrap();
    }
}
