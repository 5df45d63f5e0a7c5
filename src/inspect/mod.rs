//! Stages: the steps that bytes of one direction pass between being read and being written.
//!
//! A stage needs no socket, no thread and no clock of its own: it is fed bytes, and writes bytes with the instants at which
//! they are due into an [`Outbox`]. So a test plays it by hand. Framers, filters and faults are stages; the hooks are one
//! too.

pub mod chain;
pub mod faults;
pub mod filters;
pub mod framing;
pub(crate) mod mirror_queue;
pub mod outbox;
#[cfg(test)]
pub(crate) mod playbook;
pub mod stage;

pub use self::{
    chain::Stages,
    outbox::Outbox,
    stage::{End, Progress, Stage},
};
