//! Live connections, as the outside sees them: the list of them, handles, requests to them, bytes sent into them.

pub mod by_id;
pub(crate) mod control;
pub mod handle;
pub mod inbox;
pub(crate) mod registry;
pub mod shared;
