//! The bound socket that accepts clients.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{bind_error::bind_error, errno::is_absent, names::socket_name, options::SocketOptions, sys};
#[cfg(unix)]
use super::{
    inherited::take,
    socket_file::{SocketFile, bind_unix},
};
use crate::words::{
    addr::{Address, SocketName},
    error::{Error, ErrorKind},
};

/// A listening socket. A Unix socket's file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) socket: Bound,
    /// The socket of the other loopback address, for `localhost`.
    pub(super) other: Option<Bound>,
    pub(super) name: SocketName,
    pub(super) file: Option<SocketFile>,
}

/// The socket of a listener. Once it is dropped a connect is refused, and waiting clients are reset, also where a forked
/// child has the socket too. A socket that this process was started with goes on in the process that started this one.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: Socket,
    process: u32,
    /// True for a socket that this process was started with.
    pub(super) is_inherited: bool,
}

impl Bound {
    pub(super) fn listen(socket: Socket, backlog: i32) -> io::Result<Self> {
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(Self::of(socket))
    }

    /// Takes a socket that listens and does not block.
    pub(super) fn of(socket: Socket) -> Self {
        Self { socket, process: std::process::id(), is_inherited: false }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // In a forked child the listener is the parent's. A shutdown would end an inherited one for every process that has it:
        // clients that wait there are for the next that serves it.
        if self.process == std::process::id() && !self.is_inherited {
            super::last_close::stop_listening(&self.socket);
        }
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Bound {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(unix)]
impl super::sys::OneDescriptor for Bound {}

impl Listener {
    /// Binds and listens. On return a client's connect succeeds.
    pub(crate) fn bind(address: &Address, backlog: u32, reuse_port: bool, options: &SocketOptions) -> Result<Self, Error> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        super::last_close::watch_forks();
        let ((socket, other), file) = match address {
            Address::Inet { host, port } => (bind_inet(address, host, *port, reuse_port, options)?, None),
            Address::Unix(path) => bind_unix(path).map(|(socket, file)| ((socket, None), file))?,
            Address::Descriptor(number) => ((take(*number, options)?, None), None),
        };
        let is_inherited = matches!(address, Address::Descriptor(_));
        let listen = || -> io::Result<(Bound, Option<Bound>, SocketName)> {
            let name = socket_name(&socket.local_addr()?);
            let other = other.map(|other| Bound::listen(other, backlog)).transpose()?;
            let mut bound = Bound::listen(socket, backlog)?;
            bound.is_inherited = is_inherited;
            Ok((bound, other, name))
        };
        let (socket, other, name) = listen().map_err(|error| bind_error(address, error))?;
        Ok(Self { socket, other, name, file })
    }

    /// Returns the backlog that the system grants, if it is less than `backlog`.
    pub(crate) fn shortened_backlog(backlog: u32) -> Option<u32> {
        sys::most_backlog().filter(|most| *most < backlog)
    }

    /// Returns true if the process was started with the socket.
    pub(crate) fn is_inherited(&self) -> bool {
        self.socket.is_inherited
    }

    pub(crate) fn name(&self) -> &SocketName {
        &self.name
    }

    /// Returns the name of the second socket, if there is one.
    pub(crate) fn other_name(&self) -> Option<SocketName> {
        self.other.as_ref().and_then(|other| other.socket.local_addr().ok()).map(|address| socket_name(&address))
    }
}

/// Opens the socket of an address; for `localhost` those of both loopback addresses, as far as this machine has them.
fn bind_inet(
    address: &Address,
    host: &str,
    port: u16,
    reuse_port: bool,
    options: &SocketOptions,
) -> Result<(Socket, Option<Socket>), Error> {
    let open = |target: SocketAddr| -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        if target.is_ipv6() {
            // Set explicitly, because the system's default differs: [::] serves both families, another IPv6 address only its
            // own.
            socket.set_only_v6(!target.ip().is_unspecified())?;
        }
        // A restart must not wait for the last run's TIME_WAIT. On Windows the option means something else.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        options.apply_to_listener(&SockRef::from(&socket));
        socket.bind(&target.into())?;
        Ok(socket)
    };
    #[cfg(not(unix))]
    if reuse_port {
        return Err(Error::new(ErrorKind::Config, "reuse_port: this system has no SO_REUSEPORT; leave it off"));
    }
    let fault = |error| bind_error(address, error);
    if cfg!(unix) && address.is_localhost() {
        return bind_loopbacks(port, open).map_err(fault);
    }
    let target = match address.socket_addr() {
        Some(target) => target,
        None => first_address(address, host, port)?,
    };
    open(target).map(|socket| (socket, None)).map_err(fault)
}

/// Number of ports tried to find one that is free on both loopback addresses.
const PORTS: usize = 32;

/// Binds both loopback addresses to one port, or the only one that this machine has.
fn bind_loopbacks(port: u16, open: impl Fn(SocketAddr) -> io::Result<Socket>) -> io::Result<(Socket, Option<Socket>)> {
    let mut tries = 0..PORTS;
    loop {
        tries.next();
        let first = match open((Ipv4Addr::LOCALHOST, port).into()) {
            Err(error) if is_absent(&error) => return open((Ipv6Addr::LOCALHOST, port).into()).map(|socket| (socket, None)),
            first => first?,
        };
        let chosen = first.local_addr()?.as_socket().map_or(port, |address| address.port());
        match open((Ipv6Addr::LOCALHOST, chosen).into()) {
            Ok(second) => return Ok((first, Some(second))),
            Err(error) if is_absent(&error) => return Ok((first, None)),
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse && !tries.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the address of a name on this machine, IPv4 first. Blocks during the lookup.
fn first_address(address: &Address, host: &str, port: u16) -> Result<SocketAddr, Error> {
    use std::net::ToSocketAddrs;
    let unknown = |why: String| {
        Error::new(ErrorKind::Resolve, format!("cannot listen on {address}: {why}; give one of this machine's IP addresses"))
    };
    let found = (host, port).to_socket_addrs().map_err(|error| unknown(format!("the name does not resolve ({error})")))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| unknown("the name has no address".into()))
}

#[cfg(not(unix))]
pub(super) type SocketFile = std::convert::Infallible;

#[cfg(not(unix))]
fn take(number: u32, _: &SocketOptions) -> Result<Socket, Error> {
    let message = format!("cannot listen on fd:{number}: this system passes no descriptors; give a port");
    Err(Error::new(ErrorKind::Bind, message))
}

#[cfg(not(unix))]
fn bind_unix(path: &str) -> Result<(Socket, Option<SocketFile>), Error> {
    let message = format!("cannot listen on unix:{path}: this system has no Unix sockets; give a port");
    Err(Error::new(ErrorKind::Bind, message))
}
