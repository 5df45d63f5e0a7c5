//! Decisions of a fault that are made outside of the core: about its condition, or its effect.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::effect::Effect;
use crate::words::{chunk::Chunk, direction::Direction, outcome::Failed};

/// Makes the deciders of one fault.
pub trait Deciders: Send + Sync + fmt::Debug {
    /// Returns the decider for one direction of the connection with this number.
    fn of(&self, connection: u64, direction: Direction) -> Box<dyn Decider>;
}

/// Decides for a fault in one direction of one connection, on the thread of its stages. A failure ends the connection.
pub trait Decider: Send + fmt::Debug {
    /// Returns true if the fault concerns the connection. Asked once, before its first byte.
    fn chooses(&mut self) -> Result<bool, Failed>;

    /// Returns true if a message is an occurrence of the condition.
    fn matches(&mut self, message: &Chunk) -> Result<bool, Failed>;

    /// Returns what becomes of a message, in order. Of no action at all it passes.
    fn act(&mut self, message: &Chunk) -> Result<Vec<Act>, Failed>;
}

/// One action on a message.
#[derive(Debug, Clone)]
pub enum Act {
    /// The message goes on as it came.
    Pass,
    /// The message is dropped.
    Drop,
    /// These bytes are sent.
    Send(Bytes),
    /// Everything behind it comes later by this time.
    Wait(Duration),
    /// An effect begins, for everything that follows. It takes the place of one that has begun before.
    Begin {
        effect: Effect,
        /// Its name, for the explanation of the connection's end.
        name: String,
    },
}

/// The questions that a fault asks its decider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Questions {
    /// True if it asks whether it concerns a connection.
    pub chooses: bool,
    /// True if it asks whether a message is an occurrence.
    pub matches: bool,
}

#[cfg(test)]
mod tests;
