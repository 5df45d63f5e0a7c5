//! A listening socket that this process was started with: by systemd, or by a program that restarts it without a gap.

use std::io;

use socket2::{SockRef, Socket, Type};

use super::{options::SocketOptions, sys};
use crate::words::error::{Error, ErrorKind, reason_text};

/// Returns a copy of the descriptor `number`, which must be a stream socket that is bound. The descriptor itself stays open, so
/// that a later listener of this process can take it again, and is not passed on to programs that this process starts.
pub(super) fn take(number: u32, options: &SocketOptions) -> Result<Socket, Error> {
    let fault = |why: &str, hint: &str| Error::new(ErrorKind::Bind, format!("cannot listen on fd:{number}: {why}; {hint}"));
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(libc::EBADF) => fault(
            "this process was started with no such descriptor",
            "start it from a socket unit or with systemd-socket-activate, or give a port",
        ),
        Some(libc::ENOTSOCK) => fault("it is no socket", "pass one that listens"),
        _ => fault(&reason_text(&error), "pass a socket that listens"),
    };
    let socket = sys::copy_of(number).map_err(failed)?;
    if socket.r#type().map_err(failed)? != Type::STREAM {
        return Err(fault("it is no stream socket", "in a socket unit, write ListenStream="));
    }
    let is_unix = socket.local_addr().map_err(failed)?.is_unix();
    if socket.peer_addr().is_ok() {
        return Err(fault("it is a connection, not a listener", "in a socket unit, leave out Accept=yes"));
    }
    if !is_unix {
        options.apply_to_listener(&SockRef::from(&socket));
    }
    Ok(socket)
}
