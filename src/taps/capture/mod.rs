//! Captures: the connections of a server as files of packets, for Wireshark and others of its kind.
//!
//! [`sink`](sink::Capture) writes events into [`files`]; `connections` keeps the connections that are open, as flows of
//! packets.

pub mod connections;
pub mod files;
pub mod sink;
