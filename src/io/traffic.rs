//! The kernel's figures of a stream's bytes: those on their way, those that wait, and when the last of them passed.

use std::{io, time::Duration};

use super::stream::Stream;

impl Stream {
    /// Bytes written here that the peer's kernel has not acknowledged. Where the system cannot tell, none.
    pub(crate) fn unacknowledged(&self) -> usize {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use std::os::fd::AsFd;
            self.socket().map_or(0, |socket| super::kernel::unacknowledged(socket.as_fd()).unwrap_or(0))
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        0
    }

    /// For how long the peer's kernel has acknowledged nothing, if bytes are on their way to it. Where the system cannot
    /// tell, none ever are.
    pub(crate) fn unanswered(&self) -> Option<Duration> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.is_tcp() && self.unacknowledged() > 0 {
            use std::os::fd::AsFd;
            return super::kernel::last_acknowledgement(self.socket()?.as_fd()).ok();
        }
        None
    }

    /// How long ago bytes were last sent to the peer, and came from it; since it was connected if none were. `None` where the
    /// system cannot tell.
    pub(crate) fn last_data(&self) -> Option<(Duration, Duration)> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.is_tcp() {
            use std::os::fd::AsFd;
            return super::kernel::last_data(self.socket()?.as_fd()).ok();
        }
        None
    }

    /// Returns the result that a read would have now. None without a socket.
    pub(crate) fn peek(&self) -> Option<io::Result<usize>> {
        self.socket().map(|socket| socket.peek(&mut [std::mem::MaybeUninit::uninit()]))
    }
}
