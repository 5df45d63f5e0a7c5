//! Captures: the connections of a server as files of packets, for Wireshark and others of its kind.
//!
//! [`sink`](sink::Capture) writes events into [`files`]; `connections` keeps the connections that are open, as flows of
//! packets; [`keys`] are secrets that come to be known meanwhile.

pub mod connections;
pub mod files;
pub mod keys;
pub mod sink;
