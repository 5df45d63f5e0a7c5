//! The error of a bind that failed: the reason, the process that listens there already, and what to try.

use std::io;

use super::{
    errno::is_exhaustion,
    sys::{Owner, owner_of},
};
use crate::words::{
    addr::Address,
    error::{Error, ErrorKind, reason_text},
};

/// Returns the error for an `address` that cannot be listened on.
pub(super) fn bind_error(address: &Address, error: io::Error) -> Error {
    use io::ErrorKind as Kind;
    let kind = if error.kind() == Kind::PermissionDenied { ErrorKind::BindPermission } else { ErrorKind::Bind };
    let why = reason_text(&error);
    let hint = match (error.kind(), address) {
        (Kind::AddrInUse, _) => {
            let owner = match owner_of(address) {
                Some(Owner::Us) => {
                    format!("this process (pid {}) listens there itself; stop that server first", std::process::id())
                }
                Some(Owner::Other(owner)) => format!("{owner} listens there; stop it"),
                None => "another program listens there; stop it".into(),
            };
            let other = if matches!(address, Address::Unix(_)) { "path" } else { "port (0 takes a free one)" };
            format!("{owner}, or choose another {other}")
        }
        (Kind::AddrNotAvailable, _) => "this machine has no such address; give one of its own, or 0.0.0.0 for all".into(),
        (Kind::PermissionDenied, Address::Inet { port, .. }) if *port < 1024 => {
            "ports below 1024 need a privilege; use a higher port, give the program CAP_NET_BIND_SERVICE, \
             or lower net.ipv4.ip_unprivileged_port_start"
                .into()
        }
        (Kind::PermissionDenied, _) => "this user may not create a socket there; choose another place".into(),
        (Kind::NotFound, _) => "the folder does not exist; make it first".into(),
        _ if is_exhaustion(&error) => "raise the limit of open files (ulimit -n)".into(),
        _ => "choose another address".into(),
    };
    Error::from_io(kind, format!("cannot listen on {address}: {why}; {hint}"), error)
}
