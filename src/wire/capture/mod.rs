//! Files of packets: pcapng, which is written and read, and pcap, which is read.
//!
//! pcapng is a row of blocks (draft-ietf-opsawg-pcapng). A section header begins a file, interface descriptions follow,
//! then packets, each with the number of its interface. Unknown blocks are skipped by their length, so later versions may
//! add some.

pub mod batch;
pub mod block;
mod pcap;
mod pcapng;
pub mod reader;
pub mod record;
