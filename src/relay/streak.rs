//! A streak: bytes that came in turns of at least a minimum each. A direction streams once its streak is long enough, and only
//! then are the means for many bytes (pipes, low-water marks) worth their cost.

/// Minimum bytes of one turn in a streak.
pub(super) const LEAST: usize = 16 * 1024;

/// Bytes of a streak with which a direction counts as streaming.
pub(super) const STREAMING: usize = 256 * 1024;

/// The bytes that came in turns of at least [`LEAST`], without a smaller turn among them.
#[derive(Debug, Default)]
pub(super) struct Streak(usize);

impl Streak {
    /// Records a turn that moved `bytes`. A turn that moved none does not count.
    pub(super) fn turn_over(&mut self, bytes: usize) {
        if bytes >= LEAST {
            self.0 = self.0.saturating_add(bytes);
        } else if bytes > 0 {
            self.0 = 0;
        }
    }

    /// Ends the streak; the next begins with no bytes.
    pub(super) fn begin_anew(&mut self) {
        self.0 = 0;
    }

    /// Returns true if the direction counts as streaming.
    pub(super) fn streams(&self) -> bool {
        self.0 >= STREAMING
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
impl Streak {
    /// Returns the streak of a direction that streams.
    pub(super) fn streaming() -> Self {
        Self(STREAMING)
    }
}
