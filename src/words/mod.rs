//! Words: values that need no socket, no thread and no clock.

pub mod addr;
pub mod chunk;
pub mod direction;
pub mod error;
pub mod interest;
pub mod lock;
pub mod log_target;
pub mod outcome;
pub mod pieces;
pub mod stats;
pub(crate) mod throttle;
pub(crate) mod time_limit;
