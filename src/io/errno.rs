//! The meaning of a system error: whose fault it is, whether it is temporary, and which close reason it becomes.

use std::io;

use crate::{
    tls::failure::Failure,
    words::{
        direction::Side,
        error::reason_text,
        outcome::{CloseReason, Outcome},
    },
};

/// Returns true if the system is out of descriptors or memory: a temporary state that no peer has caused.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        // ENOSPC: epoll_ctl(2) has a limit of its own.
        is_one_of(error, &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOSPC])
    }
    #[cfg(not(unix))]
    {
        // WSAEMFILE, WSAENOBUFS
        is_one_of(error, &[10024, 10055]) || error.kind() == io::ErrorKind::OutOfMemory
    }
}

/// Returns true for an error of accept(2) that concerns one client, which has left: the next accept may succeed.
pub(crate) fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted | Kind::TimedOut) {
        return true;
    }
    #[cfg(unix)]
    const OF_ONE_CLIENT: &[i32] = &[
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::EPERM,
    ];
    #[cfg(not(unix))]
    const OF_ONE_CLIENT: &[i32] = &[];
    is_one_of(error, OF_ONE_CLIENT)
}

/// Returns true for an error of the call itself, which no peer and no network can cause.
pub(crate) fn is_of_the_call(error: &io::Error) -> bool {
    #[cfg(unix)]
    const OF_THE_CALL: &[i32] = &[
        libc::ENOSYS,
        libc::EPERM,
        libc::EACCES,
        libc::EINVAL,
        libc::EOPNOTSUPP,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EMFILE,
        libc::ENFILE,
        libc::EBADF,
        libc::EFAULT,
        libc::EIO,
        libc::ESPIPE,
    ];
    #[cfg(not(unix))]
    const OF_THE_CALL: &[i32] = &[];
    is_one_of(error, OF_THE_CALL)
}

/// Returns true if this system lacks a call, whatever its arguments.
pub(super) fn is_unknown_call(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        error.raw_os_error() == Some(libc::ENOSYS)
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::Unsupported
    }
}

/// Returns true if this machine lacks the address to listen on, or its family.
pub(super) fn is_absent(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return true;
    }
    error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Returns true for an error caused by the peer rather than the network: RST, or an end after which our bytes cannot arrive.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted | Kind::NotConnected | Kind::WriteZero
    )
}

/// Returns true if an error of a Unix socket means that its connection has failed. The peer's name does not show that on a
/// Unix socket.
pub(super) fn is_unix_failure(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::BrokenPipe | Kind::ConnectionReset | Kind::NotConnected)
}

/// Returns true for an error of the network, not of this system.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::TimedOut | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown)
}

/// Returns true if the peer had ended its direction in order before the connection failed: that end can still be read, and is
/// genuine.
///
/// The kernel reports a reset behind a FIN as EPIPE, another as `ECONNRESET`. (Behind our own FIN as well it is `ECONNRESET`
/// again: then nothing of ours is left for the peer, and the end that may be hidden there is passed on as a reset.)
pub(crate) fn is_behind_fin(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Returns a copy of a system error: `io::Error` has no clone.
pub(super) fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn is_one_of(error: &io::Error, numbers: &[i32]) -> bool {
    error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

impl Outcome {
    /// Returns the outcome for a connect that failed with `error`.
    pub(super) fn from_connect(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let reason = match error.kind() {
            Kind::ConnectionRefused | Kind::NotFound => CloseReason::Refused,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::PermissionDenied => {
                CloseReason::Unreachable
            }
            Kind::TimedOut => CloseReason::ConnectTimeout,
            // RST in answer to a SYN is a refusal (ECONNREFUSED), so this RST came after the handshake.
            Kind::ConnectionReset => CloseReason::UpstreamReset,
            Kind::AddrNotAvailable => CloseReason::PortExhausted,
            _ if is_exhaustion(&error) => CloseReason::FdExhausted,
            _ => CloseReason::ConnectFailed,
        };
        let hint = match reason {
            CloseReason::PortExhausted => "; widen net.ipv4.ip_local_port_range, or use more source addresses",
            CloseReason::FdExhausted => "; raise the limit of open files (ulimit -n), or lower max_connections",
            _ => "",
        };
        let what = if reason == CloseReason::FdExhausted { "no descriptor is left: " } else { "" };
        Self::explained(reason, format!("{what}{}{hint}", reason_text(&error)))
    }

    /// Returns the outcome of a connection whose `side` has failed with `error`.
    pub(crate) fn from_side(side: Side, error: &io::Error) -> Self {
        use CloseReason as Reason;
        let (reset, lost, truncated, tls, name) = match side {
            Side::Client => (Reason::ClientReset, Reason::ClientLost, Reason::ClientTruncated, Reason::ClientTlsFailed, "client"),
            Side::Upstream => {
                (Reason::UpstreamReset, Reason::UpstreamLost, Reason::UpstreamTruncated, Reason::UpstreamTlsFailed, "upstream")
            }
        };
        match Failure::of(error) {
            Some(failure @ Failure::Truncated) => Self::explained(truncated, format!("the {name} {failure}")),
            Some(failure @ Failure::Broken(_)) => Self::explained(tls, format!("the {name} {failure}")),
            Some(failure @ Failure::Untrusted(_, number)) => {
                Self { certificate_fault: Some(*number), ..Self::explained(tls, format!("the {name} {failure}")) }
            }
            None if is_reset(error) => Self::explained(reset, format!("the {name} reset the connection")),
            None if is_gone(error) => Self::explained(lost, format!("the {name} is gone: {}", reason_text(error))),
            None => Self::explained(lost, format!("the socket of the {name} failed: {}", reason_text(error))),
        }
    }

    /// Returns the outcome of a side whose TLS handshake has failed with `error`.
    pub(crate) fn from_handshake(side: Side, error: &io::Error) -> Self {
        match Self::from_side(side, error) {
            // A client that leaves before it is served has done so before.
            outcome if side == Side::Client && Failure::of(error).is_none() => {
                Self { reason: CloseReason::ClientGone, ..outcome }
            }
            outcome => outcome,
        }
    }

    /// Returns the outcome for a thread that could not take over a connection's sockets.
    pub(crate) fn from_registering(error: &io::Error) -> Self {
        let (reason, hint) = match error.raw_os_error() {
            // No system error: the thread's runtime has ended.
            None if error.kind() == io::ErrorKind::Other => (CloseReason::Stopped, ""),
            #[cfg(unix)]
            Some(libc::ENOSPC) => (CloseReason::FdExhausted, "; raise fs.epoll.max_user_watches, or lower max_connections"),
            _ if is_exhaustion(error) => (CloseReason::FdExhausted, "; lower max_connections"),
            _ => (CloseReason::InternalError, ""),
        };
        Self::explained(reason, format!("its sockets cannot be watched: {}{hint}", reason_text(error)))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_reset_behind_the_handshake_is_the_upstreams_and_one_before_it_a_refusal() {
        let reason = |number| Outcome::from_connect(io::Error::from_raw_os_error(number)).reason;
        assert_eq!(reason(libc::ECONNRESET), CloseReason::UpstreamReset);
        assert_eq!(reason(libc::ECONNREFUSED), CloseReason::Refused);
    }
}
