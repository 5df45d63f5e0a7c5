//! The core of interpose: a TCP relay that is true to the wire.
//!
//! A [`server::Server`] accepts clients, connects each to the [`forward::Forward`]'s address on a
//! connection of its own, and moves every byte both ways. Ends are passed on as they were: FIN as FIN, per
//! direction, after everything before it; RST as RST.
//!
//! # Layout
//!
//! Layers; a module uses its own layer and lower ones only.
//!
//! | layer | modules |
//! |---|---|
//! | words | [`error`], [`addr`], [`chunk`], [`outcome`], [`pieces`], [`stats`], `throttle` |
//! | sockets | `io`, [`forward`], [`config`], `limits`, `hops`, [`workers`], [`lane`] |
//! | seam | [`hooks`], [`registry`], [`inbox`], `control` |
//! | relay | `relay` |
//! | server | `connection`, `entry`, `accept`, `drain`, `apart`, `burst`, `setbacks`, [`server`] |
//! | binding | `python`, only with the feature `python` |

pub mod addr;
pub mod chunk;
pub mod config;
pub mod error;
pub mod forward;
pub mod hooks;
pub mod inbox;
pub mod lane;
pub mod outcome;
pub mod pieces;
pub mod registry;
pub mod server;
pub mod stats;
pub mod workers;

mod accept;
mod apart;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod burst;
mod connection;
mod control;
mod drain;
mod entry;
mod hops;
mod io;
mod limits;
mod relay;
mod setbacks;
mod throttle;

#[cfg(feature = "python")]
mod python;
