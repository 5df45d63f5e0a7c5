//! Threads: the I/O threads that all servers share, and lanes, the runtimes that somebody else's thread drives.

pub mod lane;
pub(crate) mod reclaim;
pub mod workers;
