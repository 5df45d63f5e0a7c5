//! A pump's means for one turn, its bounds, and its outcome.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
    time::Duration,
};

use super::hook::Hook;
use crate::{
    hooks::Failed,
    io::stream::Stream,
    live::shared::Shared,
    settings::config::MOST_CHUNK,
    words::{direction::Direction, outcome::CloseReason, stats::Meter},
};

/// Maximum bytes of one read, and so of a stalled direction: half the system calls per GiB of 64 KiB, and no better beyond.
/// The buffer belongs to the worker thread, not to the connection.
pub(super) const BUFFER: usize = MOST_CHUNK;

/// Number of bytes moved before other connections of the thread run.
pub(super) const TURN: usize = 4 * BUFFER;

/// Number of steps, however little each moves, before other connections of the thread run. A step is a read, a hook's answer,
/// a write: 64 take less than a millisecond without the hooks' own time, which is limited as well.
pub(super) const STEPS: usize = 64;

/// The sockets of a turn, its hooks, and their connection.
pub(super) struct Ends<'a> {
    pub source: &'a mut Stream,
    pub destination: &'a mut Stream,
    pub direction: Direction,
    pub shared: &'a Shared,
    pub hook: Hook<'a>,
    /// Bytes that have come from the source in this turn.
    pub received: usize,
}

impl Ends<'_> {
    pub(super) fn meter(&self) -> &Meter {
        &self.shared.meters[self.direction]
    }

    /// Counts bytes that stages have added and dropped.
    pub(super) fn changed(&self, (added, dropped): (usize, usize)) {
        if added + dropped > 0 {
            // In this order: at no time has a reader's ledger more added in the place of dropped bytes than dropped.
            self.meter().dropped(dropped);
            self.meter().added(added);
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.destination.poll_write(cx, data);
        self.written(polled)
    }

    pub(super) fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = self.destination.poll_write_pieces(cx, pieces);
        self.written(polled)
    }

    /// Counts the bytes that the destination has taken.
    fn written(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(bytes)) => {
                if self.destination.is_nowhere() {
                    self.meter().dropped(bytes);
                } else {
                    self.meter().delivered(bytes);
                }
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

/// The failure of a pump: of one of its sockets, or of a hook.
#[derive(Debug)]
pub(super) enum Fault {
    Source(io::Error),
    Destination(io::Error),
    /// A hook or another stage has failed: both sides are reset at once.
    Hook(Failed),
    /// A stage has requested a reset of both sides, behind bytes that were delivered.
    Reset(Failed),
}

impl Fault {
    /// Returns the fault of a refused allocation for bytes on their way: it ends their connection, and no other.
    pub(super) fn no_memory(bytes: usize) -> Self {
        Self::Hook(no_memory(bytes))
    }
}

/// Returns the end of a connection for which memory was refused.
pub(super) fn no_memory(bytes: usize) -> Failed {
    let error = format!("no memory for {bytes} bytes on their way; limit the connections, or give the process more");
    Failed { reason: CloseReason::InternalError, error }
}

/// The outcome of a turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Bytes, or an end, moved.
    pub moved: bool,
    /// Bytes came from the source.
    pub read: bool,
    /// True if there is more to do at once; other connections run first.
    pub more: bool,
    /// True if one of the limits of a turn ended it.
    pub long: bool,
    /// Time that hooks have taken.
    pub spent: Duration,
    pub fault: Option<Fault>,
    /// True if a fault was recorded.
    pub failed: bool,
}
