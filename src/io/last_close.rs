//! Ends that do not wait for the last close of a socket: a forked child holds copies of all descriptors, and may live long.

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

/// True once this process has forked, so that others may hold copies of its sockets.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Notes every fork of the C library's from here on. To be called before the first socket is made.
pub(crate) fn watch_forks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| sys::at_fork(before_fork, in_child));
}

extern "C" fn before_fork() {
    FORKED.store(true, Ordering::SeqCst);
}

/// The child's own sockets, which it makes from here on, are nobody else's.
extern "C" fn in_child() {
    FORKED.store(false, Ordering::SeqCst);
}

/// Returns true if another process may hold a copy of a socket, so that a close may not be the last one.
pub(super) fn may_be_shared() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Ends a connection at once, to be closed next: RST on TCP, and what the kernel still holds is dropped. A Unix socket has
/// no RST; its peer finds an end.
pub(super) fn reset(socket: &Socket, is_tcp: bool) {
    if !is_tcp {
        leave(socket);
        return;
    }
    // On Linux to disconnect is what a close with no time to linger does, without waiting for the last close.
    if sys::disconnect(socket) {
        return;
    }
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// Ends a connect that is under way, or that has just succeeded, to be closed next: nothing more is sent for it, or FIN.
pub(super) fn give_up(socket: &Socket) {
    let _ = socket.shutdown(Shutdown::Both);
}

/// Clients that can wait for a listener, at the very most.
const BACKLOG: usize = 1 << 16;

/// Ends a listener, to be closed next: a connect is refused, and the clients that wait are ended too.
pub(super) fn stop_listening(socket: &Socket) {
    let _ = socket.shutdown(Shutdown::Both);
    // TCP has reset them with that. On a Unix socket they would wait for the last close.
    if may_be_shared() && socket.local_addr().is_ok_and(|name| name.is_unix()) {
        for _ in 0..BACKLOG {
            let Ok((client, _)) = socket.accept() else { break };
            leave(&client);
        }
    }
}

/// Does what the last close of a connected socket does, where the coming close may not be the last: FIN, and RST for
/// what the peer has sent unread, or sends from here on.
pub(super) fn leave(socket: &Socket) {
    if !may_be_shared() {
        return;
    }
    let _ = socket.shutdown(Shutdown::Both);
    if sys::has_unread(socket) {
        sys::disconnect(socket);
    }
}
