//! Half-closed connections: each direction has a phase of its own.
//!
//! The end of one direction leaves the other open. FIN from a source is FIN to its destination, after everything that was read
//! before it; from then on `Timeouts::half_close` limits how long the opposite direction may stand still. The pump moves its
//! direction from phase to phase; a connection is over when both are `Ended` or `Cut`.

/// How far a direction is with its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The source may send more.
    #[default]
    Open,
    /// The source has ended, and a stage withholds that from the destination, or has still to decide.
    Withheld,
    /// The source has ended, or was ended: held bytes are delivered, then the end is.
    Ending,
    /// Everything read was delivered, and the end was passed on.
    Ended,
    /// The destination failed: nothing can be delivered any more.
    Cut,
}
