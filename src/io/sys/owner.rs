//! The owner of a listener, for the message of a failed bind.

/// A process that has a listener's socket.
pub(crate) enum Owner {
    /// This process, or one that shares its descriptors.
    Us,
    /// `python3 (pid 4711)`
    Other(String),
}
