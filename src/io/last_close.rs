//! Ends of sockets that take effect without the last close: a forked child has copies of all descriptors, and may live long.

use std::{
    net::Shutdown,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use socket2::Socket;

use super::sys;

/// True once this process has forked, so that other processes may hold copies of its sockets.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Records every fork by the C library from here on. Called before the first socket is opened.
pub(crate) fn watch_forks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| sys::at_fork(before_fork, in_child));
}

extern "C" fn before_fork() {
    FORKED.store(true, Ordering::SeqCst);
}

/// Clears the flag in the child: no other process has the sockets that it opens from here on.
extern "C" fn in_child() {
    FORKED.store(false, Ordering::SeqCst);
}

/// Returns true if another process may hold a copy of a socket, so that a close may not be the last one.
pub(super) fn may_be_shared() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Aborts a connection whose close follows: RST on TCP, and bytes that the kernel still holds are dropped. A Unix socket has
/// no RST; its peer reads an end.
pub(super) fn reset(socket: &Socket, is_tcp: bool) {
    if !is_tcp {
        leave(socket);
        return;
    }
    // On Linux, disconnecting does what a close with linger time zero does, without waiting for the last close.
    if sys::disconnect(socket) {
        return;
    }
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// Ends a connect that is under way or has just succeeded, and whose close follows: nothing more is sent for it, or FIN.
pub(super) fn give_up(socket: &Socket) {
    let _ = socket.shutdown(Shutdown::Both);
}

/// Maximum number of clients that can wait in a listener's backlog.
const BACKLOG: usize = 1 << 16;

/// Ends a listener whose close follows: a connect is refused, and waiting clients are ended.
pub(super) fn stop_listening(socket: &Socket) {
    let _ = socket.shutdown(Shutdown::Both);
    // On TCP the shutdown has reset waiting clients. On a Unix socket they would wait for the last close.
    if may_be_shared() && socket.local_addr().is_ok_and(|name| name.is_unix()) {
        for _ in 0..BACKLOG {
            let Ok((client, _)) = socket.accept() else { break };
            leave(&client);
        }
    }
}

/// Ends a connected socket as its last close would, where the coming close may not be the last: FIN, and RST for bytes that
/// the peer has sent and nobody has read, or that it sends from here on.
pub(super) fn leave(socket: &Socket) {
    if !may_be_shared() {
        return;
    }
    let _ = socket.shutdown(Shutdown::Both);
    if sys::has_unread(socket) {
        sys::disconnect(socket);
    }
}
