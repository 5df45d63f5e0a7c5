//! Sockets: accepting, connecting, and the stream both give.

pub(crate) mod connector;
mod kernel;
pub(crate) mod listener;
mod port_owner;
pub(crate) mod resolver;
pub(crate) mod stream;

pub(crate) use kernel::with_signals_blocked;
