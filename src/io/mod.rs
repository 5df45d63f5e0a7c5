//! Sockets: accepting, connecting, and the stream both give.

mod bind_error;
pub(crate) mod connector;
pub(crate) mod deadline;
pub(crate) mod errno;
mod fault;
pub(crate) mod hops;
mod kernel;
pub(crate) mod last_close;
mod later;
pub(crate) mod listener;
mod lookup;
mod name_cache;
pub(crate) mod names;
pub(crate) mod options;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod pipe;
mod port_owner;
mod pulse;
pub(crate) mod ready;
mod registered;
pub(crate) mod reserve;
pub(crate) mod resolver;
#[cfg(unix)]
mod socket_file;
pub(crate) mod stream;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod ticks;
mod traffic;
mod unregistered;

pub(crate) use kernel::{give_back_memory, with_signals_blocked};
