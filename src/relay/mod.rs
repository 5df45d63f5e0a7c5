//! Moves bytes both ways between two connected sockets until both directions have ended, and passes on the ends as they were.
//!
//! * FIN on one side is FIN on the other, after everything read was delivered; the opposite direction lives on.
//! * A side that fails (RST, or given up by the kernel) fails the other: what it sent before is delivered
//!   first, then the other side gets RST. It never gets a clean end.
//! * A side that does not take bytes stops the reading of the other. Nothing else is affected.

mod coalesce;
mod delivery;
mod failing;
mod framing;
mod half_close;
mod hook;
mod hook_stage;
mod look_ahead;
mod peer_timeout;
mod progress_timeout;
mod pump;
mod rest;
mod run;
mod scratch;
mod splice;
mod stages;
mod state;
mod streak;
mod talk;
mod teardown;
mod thread_change;
mod tls_begin;
mod turn;
mod waiting_bytes;
mod yielding;

pub(crate) use self::{
    run::{Done, go_on, run},
    state::RelayContext,
    teardown::say_goodbye,
    thread_change::Detached,
};
