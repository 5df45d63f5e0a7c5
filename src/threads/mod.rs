//! Threads: the I/O threads that all servers share, and lanes, the runtimes that threads of the embedding program drive.

pub mod lane;
pub(crate) mod reclaim;
pub mod workers;
