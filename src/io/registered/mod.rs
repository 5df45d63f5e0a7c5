//! A connected socket that the runtime of one thread wakes: reading, and readiness.

#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
mod windows;

#[cfg(unix)]
pub(super) use unix::{Registered, connect};
#[cfg(not(unix))]
pub(super) use windows::{Registered, connect};
