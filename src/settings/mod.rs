//! Settings: what a user may choose, with its defaults and checks.

pub mod config;
pub mod forward;
pub(crate) mod limits;
