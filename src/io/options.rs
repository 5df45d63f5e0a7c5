//! What every TCP socket of ours is set to.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::sys;

/// What every TCP socket of ours is set to.
#[derive(Debug, Clone)]
pub(crate) struct SocketOptions {
    pub unacknowledged: Option<Duration>,
}

/// Silence before the first keepalive probe; six probes, ten seconds apart, end the connection.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 6);

impl SocketOptions {
    /// Urgent bytes in line, no delay, and the unacknowledged bound.
    ///
    /// No option is worth a connection: a kernel that lacks one is left at its default.
    fn apply(&self, socket: &SockRef<'_>) {
        // An urgent byte (RFC 6093) is a byte of the stream, and must not be lost.
        let _ = socket.set_out_of_band_inline(true);
        let _ = socket.set_tcp_nodelay(true);
        if let Some(limit) = self.unacknowledged {
            sys::set_unacknowledged_limit(socket, limit);
        }
    }

    /// The same for a socket that is connected to an upstream. Its keepalive costs four system calls more, so on Linux it
    /// is left to the first look that its relay takes.
    pub(crate) fn apply_to_upstream(&self, socket: &SockRef<'_>) {
        self.apply(socket);
        if !sys::PEERS_ARE_CHECKED {
            keep_alive(socket);
        }
    }

    /// The same for a listener, whose clients' sockets have its options on Linux, and for such a client elsewhere.
    pub(crate) fn apply_to_listener(&self, socket: &SockRef<'_>) {
        self.apply(socket);
        keep_alive(socket);
    }
}

/// Keepalive: a peer that is gone is found while nothing is sent to it.
pub(super) fn keep_alive(socket: &SockRef<'_>) {
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(retries);
    #[cfg(windows)]
    let _ = retries;
    let _ = socket.set_tcp_keepalive(&keepalive);
}
