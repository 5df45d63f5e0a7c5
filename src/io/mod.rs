//! Sockets: accepting, connecting, and the stream that both return.

mod bind_error;
pub(crate) mod connector;
pub(crate) mod deadline;
pub(crate) mod errno;
pub(crate) mod fallback_targets;
pub(crate) mod given;
pub(crate) mod handshake;
pub(crate) mod hops;
#[cfg(unix)]
mod inherited;
pub(crate) mod last_close;
mod later;
pub(crate) mod listener;
mod lookup;
mod name_cache;
pub(crate) mod names;
mod near_timer;
pub(crate) mod options;
pub(crate) mod paused;
pub(crate) mod ready;
mod registered;
pub(crate) mod reserve;
pub(crate) mod resolver;
#[cfg(unix)]
mod socket_file;
pub(crate) mod stream;
pub(crate) mod sys;
