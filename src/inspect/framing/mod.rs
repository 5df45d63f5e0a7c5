//! Framing: cuts the bytes of a direction into whole messages of a protocol. One file for each protocol.

pub mod framer;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;

pub use self::{
    framer::{Broken, Cut, Framer, LengthField, TooLong},
    spec::{Framing, FramingPair},
};
