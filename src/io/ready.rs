//! A registered listener: waits for the next client, on the runtime of the thread that accepts.

use std::io;

use socket2::{SockAddr, SockRef, Socket};
#[cfg(unix)]
use tokio::io::{Interest, unix::AsyncFd};

#[cfg(unix)]
use super::{listener::Bound, socket_file::SocketFile};
use super::{listener::Listener, names::socket_name, options::SocketOptions, stream::Unregistered, sys};
use crate::words::addr::SocketName;

/// A client as `accept` returned it: registered with no runtime yet.
#[derive(Debug)]
pub(crate) struct Accepted {
    socket: Socket,
    peer: SockAddr,
}

/// Accepts one waiting client; `WouldBlock` if there is none.
#[cfg(unix)]
fn accept(listener: &Socket) -> io::Result<Accepted> {
    sys::accept(listener).map(|(socket, peer)| Accepted { socket, peer })
}

/// Returns true if a client waits to be accepted, or if the system does not allow the question.
#[cfg(unix)]
fn has_client(socket: &Socket) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&now)), Ok(0))
}

/// A listener that the runtime of one thread wakes.
#[derive(Debug)]
#[cfg(unix)]
pub(crate) struct Ready {
    socket: AsyncFd<Bound>,
    other: Option<AsyncFd<Bound>>,
    name: SocketName,
    file: Option<SocketFile>,
}

#[cfg(unix)]
impl Ready {
    /// Registers the listener with the calling thread's runtime. Its clients go to other threads unregistered. Returns the
    /// listener with the error where that fails.
    pub(crate) fn new(listener: Listener) -> Result<Self, (Listener, io::Error)> {
        let Listener { socket, other, name, file } = listener;
        let watch = |socket| sys::watch(socket, Interest::READABLE);
        let socket = match watch(socket) {
            Ok(socket) => socket,
            Err((socket, error)) => return Err((Listener { socket, other, name, file }, error)),
        };
        match other.map(watch).transpose() {
            Ok(other) => Ok(Self { socket, other, name, file }),
            Err((other, error)) => Err((Listener { socket: socket.into_inner(), other: Some(other), name, file }, error)),
        }
    }

    /// Returns the listener, which is registered no more.
    pub(crate) fn into_listener(self) -> Listener {
        let Self { socket, other, name, file } = self;
        Listener { socket: socket.into_inner(), other: other.map(AsyncFd::into_inner), name, file }
    }

    /// Lets nobody connect any more whom no accept will find, or listens again.
    pub(crate) fn deafen(&self, is_deaf: bool) {
        if self.name.inet().is_some() {
            let sockets = [Some(&self.socket), self.other.as_ref()].into_iter().flatten();
            sockets.for_each(|watched| sys::deafen(&watched.get_ref().socket, is_deaf));
        }
    }

    /// Waits for the next client, of either socket.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        let of = |watched| AsyncFd::async_io(watched, Interest::READABLE, |bound: &Bound| accept(&bound.socket));
        match &self.other {
            None => of(&self.socket).await,
            Some(other) => tokio::select! {
                client = of(&self.socket) => client,
                client = of(other) => client,
            },
        }
    }

    /// A client that waits already, or `WouldBlock`.
    pub(crate) fn try_accept(&self) -> io::Result<Accepted> {
        match (accept(&self.socket.get_ref().socket), &self.other) {
            (Err(error), Some(other)) if error.kind() == io::ErrorKind::WouldBlock => accept(&other.get_ref().socket),
            (done, _) => done,
        }
    }

    /// Completes when a client waits to be accepted. The runtime alone does not know that: it keeps "ready" from the last
    /// client's event until an accept finds nobody.
    pub(crate) async fn has_client(&self) {
        let of = async |watched: &AsyncFd<Bound>| {
            let asked = watched.async_io(Interest::READABLE, |bound| {
                if has_client(&bound.socket) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            // The runtime has ended, and drops this task.
            if asked.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        match &self.other {
            None => of(&self.socket).await,
            Some(other) => tokio::select! {
                () = of(&self.socket) => {}
                () = of(other) => {}
            },
        }
    }

    /// Returns true for a socket that this process was started with.
    pub(crate) fn is_inherited(&self) -> bool {
        self.socket.get_ref().is_inherited
    }

    /// Returns true while clients can come; false once the socket was ended from outside.
    pub(crate) fn is_listening(&self) -> bool {
        let listens = |watched: &AsyncFd<Bound>| sys::is_listening(&watched.get_ref().socket);
        listens(&self.socket) && self.other.as_ref().is_none_or(listens)
    }
}

/// A listener that the runtime of one thread wakes.
#[derive(Debug)]
#[cfg(not(unix))]
pub(crate) struct Ready {
    registered: tokio::net::TcpListener,
    listener: Listener,
}

#[cfg(not(unix))]
impl Ready {
    /// Registers the listener with the calling thread's runtime. Returns the listener with the error where that fails.
    pub(crate) fn new(listener: Listener) -> Result<Self, (Listener, io::Error)> {
        let socket = listener.socket.socket.try_clone();
        let registered = socket.and_then(|socket| tokio::net::TcpListener::from_std(socket.into()));
        match registered {
            Ok(registered) => Ok(Self { registered, listener }),
            Err(error) => Err((listener, error)),
        }
    }

    /// Returns the listener, which is registered no more.
    pub(crate) fn into_listener(self) -> Listener {
        self.listener
    }

    /// Does nothing: the system has no such option.
    pub(crate) fn deafen(&self, _: bool) {}

    /// Waits for the next client, and takes it from this thread's runtime, because another thread may serve it.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        let (stream, peer) = self.registered.accept().await?;
        Ok(Accepted { socket: stream.into_std()?.into(), peer: peer.into() })
    }

    /// A client that waits already, or `WouldBlock`.
    pub(crate) fn try_accept(&self) -> io::Result<Accepted> {
        use futures_util::FutureExt;
        self.accept().now_or_never().unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Completes at once: this system does not report whether a client waits to be accepted.
    pub(crate) async fn has_client(&self) {}

    /// Returns false: this system passes no descriptors.
    pub(crate) fn is_inherited(&self) -> bool {
        false
    }

    /// Returns true: on this system the socket is not ended from outside.
    pub(crate) fn is_listening(&self) -> bool {
        true
    }
}

impl Accepted {
    /// Returns the socket, for the runtime of any thread. On Linux an accepted socket has the listener's options; elsewhere
    /// they are set again.
    pub(crate) fn into_unregistered(self, options: &SocketOptions) -> Unregistered {
        let is_tcp = !self.peer.is_unix();
        if is_tcp && !sys::ACCEPTED_HAVE_OPTIONS {
            options.apply_to_listener(&SockRef::from(&self.socket));
        }
        if is_tcp { Unregistered::of_tcp(self.socket) } else { Unregistered::of_unix(self.socket) }
    }

    /// Bounds how long its bytes may stay unacknowledged; zero is no bound.
    pub(crate) fn set_unacknowledged_limit(&self, limit: std::time::Duration) {
        if !self.peer.is_unix() {
            sys::set_unacknowledged_limit(&SockRef::from(&self.socket), limit);
        }
    }

    /// Closes the client's socket with RST.
    pub(crate) fn reset(self) {
        super::last_close::reset(&self.socket, !self.peer.is_unix());
    }

    /// Returns the number of the socket's descriptor; 0 on systems without descriptors.
    pub(crate) fn descriptor(&self) -> u64 {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            u64::try_from(self.socket.as_raw_fd()).unwrap_or(0)
        }
        #[cfg(not(unix))]
        0
    }

    pub(crate) fn peer(&self) -> SocketName {
        socket_name(&self.peer)
    }

    pub(crate) fn local(&self) -> io::Result<SocketName> {
        self.socket.local_addr().map(|address| socket_name(&address))
    }
}
