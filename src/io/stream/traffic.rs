//! The kernel's figures of a socket's bytes: those under way, those that wait, and when the last of them passed.

use std::{io, mem::MaybeUninit, time::Duration};

use super::socket::Socket;
use crate::io::sys;

impl Socket {
    /// Returns the number of bytes written here that the peer's kernel has not acknowledged. 0 where the system does not say.
    pub(crate) fn unacknowledged(&self) -> usize {
        sys::unacknowledged(&self.socket())
    }

    /// Returns for how long the peer's kernel has acknowledged nothing, if bytes are on their way to it. `None` where the
    /// system does not say.
    pub(crate) fn unanswered(&self) -> Option<Duration> {
        if self.is_tcp() && self.unacknowledged() > 0 { sys::last_acknowledgement(&self.socket()) } else { None }
    }

    /// Returns how long ago bytes were last sent to the peer, and came from it; since it was connected if none were. `None`
    /// where the system does not say.
    pub(crate) fn last_data(&self) -> Option<(Duration, Duration)> {
        if self.is_tcp() { sys::last_data(&self.socket()) } else { None }
    }

    /// Returns true if bytes, an end or a failure wait to be read.
    pub(super) fn has_unread(&self) -> bool {
        match self.socket().peek(&mut [MaybeUninit::uninit()]) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }

    /// Returns true if bytes wait to be read. False where the system does not say.
    pub(super) fn has_unread_bytes(&self) -> bool {
        sys::has_unread(&self.socket())
    }
}
