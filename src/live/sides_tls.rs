//! The TLS that the sides of a connection speak, and that is to begin with them.

use std::sync::{Mutex, OnceLock};

use crate::{
    tls::{description::Description, start::Start},
    words::direction::Sides,
};

/// The TLS of both sides.
#[derive(Debug, Default)]
pub(super) struct SidesTls {
    /// The properties of each side's TLS, once it has some.
    pub spoken: Sides<OnceLock<Box<Description>>>,
    /// The TLS that is to begin.
    pub start: Mutex<Start>,
    /// The upstream's name, if it was connected by one.
    pub host: OnceLock<Box<str>>,
}

/// The reason why TLS does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstarted {
    /// The side speaks TLS, or is about to.
    Already { is_client: bool },
    /// The side takes no bytes any more.
    Ended { is_client: bool },
    /// There is no upstream, or not yet.
    NoUpstream,
}
