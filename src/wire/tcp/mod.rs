//! TCP in packets: connections written as packets that dissectors follow, and packets put together to connections.

mod checksum;
pub mod conversation;
pub mod flow;
mod link;
mod order;
mod packet;
pub mod packets;
mod segment;
pub mod stand_in;
