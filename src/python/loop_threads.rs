//! The threads whose event loops run asynchronous callbacks: what would wait there for a peer fails at once.

use std::cell::Cell;

thread_local! {
    /// Number of servers whose callbacks the loop of this thread runs.
    static SERVERS: Cell<usize> = const { Cell::new(0) };
}

/// Returns true if the loop of the calling thread runs callbacks.
pub(super) fn is_one() -> bool {
    SERVERS.get() > 0
}

/// Records that the loop of the calling thread runs the callbacks of one more server.
pub(super) fn enter() {
    SERVERS.set(SERVERS.get() + 1);
}

/// Undoes one [`enter`].
pub(super) fn leave() {
    SERVERS.set(SERVERS.get().saturating_sub(1));
}
