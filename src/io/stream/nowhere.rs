//! No socket: takes everything, and reads as an end or as nothing.

use std::{io, task::Poll};

/// The place of a side that a connection does not have. Nothing wakes a task for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// A read is pending until the stream is ended.
    Open,
    /// A read returns the end, because the stream was ended.
    Ended,
    /// A read is pending for ever: the peer of a side that is carried alone.
    Endless,
}

impl Nowhere {
    /// Returns the end, or Pending.
    pub(super) fn poll_read(self) -> Poll<io::Result<usize>> {
        match self {
            Self::Ended => Poll::Ready(Ok(0)),
            Self::Open | Self::Endless => Poll::Pending,
        }
    }

    /// Records that the stream was ended; an endless stream stays as it is.
    pub(super) fn end(&mut self) {
        if *self == Self::Open {
            *self = Self::Ended;
        }
    }
}
