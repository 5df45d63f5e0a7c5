//! The options that every TCP socket of ours has.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::sys;

/// The options that every TCP socket of ours has.
#[derive(Debug, Clone)]
pub(crate) struct SocketOptions {
    pub unacknowledged: Option<Duration>,
}

/// Silence before the first keepalive probe; six probes, ten seconds apart, end the connection.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 6);

impl SocketOptions {
    /// Sets urgent bytes in line, no delay, and the limit of unacknowledged bytes.
    ///
    /// A kernel that lacks an option keeps its default: no option is worth a connection.
    fn apply(&self, socket: &SockRef<'_>) {
        // An urgent byte (RFC 6093) is a byte of the stream, and must not be lost.
        let _ = socket.set_out_of_band_inline(true);
        let _ = socket.set_tcp_nodelay(true);
        if let Some(limit) = self.unacknowledged {
            sys::set_unacknowledged_limit(socket, limit);
        }
    }

    /// Sets the options of a socket that is to be connected to an upstream. Keepalive costs four more system calls, so on
    /// Linux it is set at the first peer check of the relay.
    pub(crate) fn apply_to_upstream(&self, socket: &SockRef<'_>) {
        self.apply(socket);
        if !sys::PEERS_ARE_CHECKED {
            keep_alive(socket);
        }
    }

    /// Sets the options of a listener, which its clients' sockets inherit on Linux; elsewhere also called for each such
    /// client.
    pub(crate) fn apply_to_listener(&self, socket: &SockRef<'_>) {
        self.apply(socket);
        keep_alive(socket);
    }
}

/// Sets keepalive, by which the kernel detects a lost peer while nothing is sent to it.
pub(super) fn keep_alive(socket: &SockRef<'_>) {
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(retries);
    #[cfg(windows)]
    let _ = retries;
    let _ = socket.set_tcp_keepalive(&keepalive);
}
