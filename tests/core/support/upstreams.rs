//! Where clients are forwarded to: upstreams that accept, echo, refuse, or do not answer at all.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::peers::{DEADLINE, Peer, clamp, spawn};

/// Where upstreams wait for their clients.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), None)
    }

    pub fn at(address: SocketAddr, buffers: Option<usize>) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if address.is_ipv6() {
            socket.set_only_v6(true).unwrap();
        }
        socket.set_reuse_address(true).unwrap();
        clamp(&SockRef::from(&socket), buffers);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(1024).unwrap();
        Self { listener: socket.into() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().expect("nobody connected").0)
    }

    /// Whether nobody waits to be accepted.
    pub fn is_idle(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let idle = self.listener.accept().is_err();
        self.listener.set_nonblocking(false).unwrap();
        idle
    }
}

/// An upstream that echoes what each of its clients sends, and ends when they do.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    pub fn at(address: SocketAddr) -> Self {
        let upstream = Upstream::at(address, None);
        let (address, ended) = (upstream.address(), Arc::new(AtomicBool::new(false)));
        let thread = {
            let ended = ended.clone();
            spawn(move || echo_all(&upstream.listener, &ended))
        };
        Self { address, ended, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn echo_all(listener: &TcpListener, ended: &AtomicBool) {
    thread::scope(|scope| {
        loop {
            let accepted = listener.accept();
            if ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok((stream, _)) = accepted else { continue };
            scope.spawn(move || {
                let mut peer = Peer::new(stream);
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(got) = peer.receive(&mut buffer) {
                    if peer.try_send(&buffer[..got]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A port of ours on which nobody listens, and which nobody else gets meanwhile.
#[derive(Debug)]
pub struct Unserved(Socket);

impl Unserved {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // A listener that reuses addresses too may still take the port.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// An upstream whose kernel does not answer: its backlog is full, so that a connect neither succeeds nor fails.
#[derive(Debug)]
pub struct Silent {
    upstream: Upstream,
    waiting: Vec<Socket>,
}

impl Silent {
    pub fn at(address: SocketAddr) -> Self {
        let upstream = Upstream::at(address, None);
        SockRef::from(&upstream.listener).listen(0).unwrap();
        let to = SockAddr::from(upstream.address());
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::for_address(upstream.address()), Type::STREAM, None).unwrap();
            if socket.connect_timeout(&to, Duration::from_millis(200)).is_err() {
                return Self { upstream, waiting };
            }
            waiting.push(socket);
            assert!(waiting.len() < 20, "the backlog does not fill");
        }
    }

    pub fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// Makes room; who still tries is connected when its kernel asks again (after a second, then two, ...).
    pub fn wake(self) -> Upstream {
        for _ in &self.waiting {
            self.upstream.accept();
        }
        self.upstream
    }
}

/// Whether a connect to this address is refused.
pub fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, DEADLINE).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
