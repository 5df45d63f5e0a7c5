//! No socket: takes everything, and reads as an end or as nothing.

use std::{io, task::Poll};

/// The place of a side that a connection does not have. Nothing wakes a task for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// Reads as nothing until it is ended.
    Open,
    /// Reads as an end, because it was ended.
    Ended,
    /// Reads as nothing for good: the peer of a side that is carried alone.
    Endless,
}

impl Nowhere {
    /// Returns the end, or nothing.
    pub(super) fn poll_read(self) -> Poll<io::Result<usize>> {
        match self {
            Self::Ended => Poll::Ready(Ok(0)),
            Self::Open | Self::Endless => Poll::Pending,
        }
    }

    /// Notes that it was ended, unless that changes nothing.
    pub(super) fn end(&mut self) {
        if *self == Self::Open {
            *self = Self::Ended;
        }
    }
}
