//! What the tests are made with. No test of the core is here, only checks of the helpers themselves.
//!
//! | file | holds |
//! |---|---|
//! | `peers` | `Peer`: a client or an upstream on a blocking socket; `until`, which waits for a condition; `DEADLINE` |
//! | `sessions` | certificates made for one run, and the TLS of a peer |
//! | `upstreams` | where a server forwards to: one that is accepted by hand, that echoes, refuses, or keeps silent |
//! | `running` | a server that runs while a test does, its I/O threads and lanes, and how a connection has ended |
//! | `pattern` | bytes that are known by their position, and random numbers from a seed |
//! | `property` | what holds for every random case, tried, and a case that breaks it made small |
//! | `folder` | a folder for Unix sockets, and peers that meet there |
//! | `chunk_buffers` | memory of a hook's own, into which chunks are read, and a count of it |
//! | `own_process` | runs one test in a process where nothing else runs, or a program to its end |
//! | `log_lines` | the log's lines, for a test in a process of its own |
//! | `tapped` | filters that only look, for a queue of events |
//! | `kernel` | what only the kernel knows: unacknowledged bytes, states of sockets, threads and their processor time |

pub mod chunk_buffers;
pub mod folder;
pub mod kernel;
pub mod log_lines;
pub mod own_process;
pub mod pattern;
pub mod peers;
pub mod property;
pub mod running;
pub mod sessions;
pub mod tapped;
pub mod upstreams;
