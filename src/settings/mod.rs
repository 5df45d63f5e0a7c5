//! Settings: the choices of a user, with defaults and checks.

pub mod by_name;
pub mod config;
pub mod forward;
pub(crate) mod limits;
