//! A listener that refuses clients for a while and keeps its address.

use std::io;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

#[cfg(unix)]
use super::socket_file::{SocketFile, bind_unix};
use super::{
    bind_error::bind_error,
    listener::{Bound, Listener},
    options::SocketOptions,
    sys,
};
use crate::words::{
    addr::{Address, SocketName},
    error::{Error, ErrorKind, reason_text},
};

/// A listener's address without a socket that listens there: a connect is refused, as by a server that does not run, and no
/// other program can take the address meanwhile.
#[derive(Debug)]
pub(crate) struct Paused {
    place: Place,
    name: SocketName,
}

#[derive(Debug)]
enum Place {
    /// Sockets that are bound and do not listen; the second is that of the other loopback address.
    Inet(Socket, Option<Socket>),
    /// The path or abstract name of a Unix socket. A socket file on which nobody listens refuses as well.
    #[cfg(unix)]
    Unix(String, Option<SocketFile>),
}

impl Paused {
    /// Stops listening. Clients that wait in the backlog are reset; [`Ready::deafen`](super::ready::Ready::deafen) has kept others
    /// away. Returns the listener as it was with the error where its
    /// address cannot be kept.
    pub(crate) fn of(listener: Listener, reuse_port: bool, options: &SocketOptions) -> Result<Self, Box<(Listener, Error)>> {
        if listener.socket.is_inherited {
            let message = format!(
                "pause_listening: {} is a socket that this process was started with, on which the one that started it listens \
                 too; listen on an address of your own",
                listener.name
            );
            return Err(Box::new((listener, Error::new(ErrorKind::Config, message))));
        }
        #[cfg(unix)]
        if let SocketName::Unix(path) = &listener.name {
            // The absolute path: the working directory may be another by the time of the bind.
            let path = listener.file.as_ref().map_or_else(|| path.clone(), SocketFile::path);
            let Listener { name, file, .. } = listener;
            return Ok(Self { place: Place::Unix(path, file), name });
        }
        let hold = |bound: &Bound| held(&bound.socket, reuse_port, options);
        let sockets = hold(&listener.socket).and_then(|first| Ok((first, listener.other.as_ref().map(hold).transpose()?)));
        match sockets {
            Ok((first, other)) => Ok(Self { place: Place::Inet(first, other), name: listener.name.clone() }),
            Err(error) => {
                let sockets = [Some(&listener.socket), listener.other.as_ref()].into_iter().flatten();
                sockets.for_each(|bound| sys::deafen(&bound.socket, false));
                let message = format!(
                    "pause_listening: the address {} cannot be kept: {}; close connections, or raise the limit of open files",
                    listener.name,
                    reason_text(&error)
                );
                Err(Box::new((listener, Error::from_io(ErrorKind::Bind, message, error))))
            }
        }
    }

    /// Listens again. On return a client's connect succeeds. Returns the paused listener with the error where that fails.
    pub(crate) fn resume(self, backlog: u32) -> Result<Listener, Box<(Self, Error)>> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let Self { place, name } = self;
        match place {
            Place::Inet(first, other) => {
                let listen = |socket: &Socket| {
                    #[cfg(unix)]
                    socket.set_reuse_address(true)?;
                    socket.listen(backlog)
                };
                match listen(&first).and_then(|()| other.as_ref().map_or(Ok(()), listen)) {
                    Ok(()) => Ok(Listener { socket: Bound::of(first), other: other.map(Bound::of), name, file: None }),
                    Err(error) => {
                        // One that listens already would let clients in, whom nobody serves.
                        let _ = first.shutdown(std::net::Shutdown::Both);
                        let _ = first.set_reuse_address(false);
                        let fault = failed(&name, error);
                        Err(Box::new((Self { place: Place::Inet(first, other), name }, fault)))
                    }
                }
            }
            #[cfg(unix)]
            Place::Unix(path, file) => match again(&path, file, backlog) {
                Ok((socket, file)) => Ok(Listener { socket, other: None, name, file }),
                Err(error) => Err(Box::new((Self { place: Place::Unix(path, None), name }, error))),
            },
        }
    }
}

/// Returns a socket that is bound to the address of one that listens.
///
/// Two sockets may be bound to one address if both allow that when the second is. The permission is taken back, unless the
/// user has given it.
#[cfg(unix)]
fn held(listening: &Socket, reuse_port: bool, options: &SocketOptions) -> io::Result<Socket> {
    let address = listening.local_addr()?;
    let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(listening.only_v6()?)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    listening.set_reuse_port(true)?;
    let done = socket.bind(&address);
    if !reuse_port {
        listening.set_reuse_port(false)?;
        socket.set_reuse_port(false)?;
    }
    done?;
    // A socket that allows it shares its address with any other that does, as long as it does not listen.
    socket.set_reuse_address(false)?;
    options.apply_to_listener(&SockRef::from(&socket));
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Fails: this system does not let two sockets have one address for a moment.
#[cfg(not(unix))]
fn held(_: &Socket, _: bool, _: &SocketOptions) -> io::Result<Socket> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Binds a Unix socket anew, with the file's permissions, and listens.
#[cfg(unix)]
fn again(path: &str, file: Option<SocketFile>, backlog: i32) -> Result<(Bound, Option<SocketFile>), Error> {
    let mode = file.as_ref().and_then(SocketFile::mode);
    drop(file);
    let (socket, file) = bind_unix(path)?;
    if let (Some(mode), Some(file)) = (mode, &file) {
        file.set_mode(mode);
    }
    let bound = Bound::listen(socket, backlog).map_err(|error| bind_error(&Address::Unix(path.to_owned()), error))?;
    Ok((bound, file))
}

fn failed(name: &SocketName, error: io::Error) -> Error {
    let message = format!("resume_listening: cannot listen on {name} again: {}; try it once more", reason_text(&error));
    Error::from_io(ErrorKind::Bind, message, error)
}
