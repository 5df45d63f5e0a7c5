//! Live connections, for users outside of their tasks: the registry, handles, requests to a connection, injected bytes,
//! dialogues before the relay.

pub mod by_id;
pub(crate) mod control;
pub mod handle;
mod harm;
pub mod inbox;
mod inspect_limit;
pub mod read_requests;
pub(crate) mod registry;
pub mod shared;
pub mod sides_tls;
mod tls_requests;
