//! Framing: cuts the bytes of a direction into whole messages of a protocol. One file for each protocol.

pub mod delimiter;
pub mod fixed;
pub mod framer;
pub mod lines;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;

pub use self::{
    delimiter::Delimited,
    fixed::Fixed,
    framer::{Broken, Cut, Framer, LengthField, TooLong},
    lines::Lines,
    spec::{Framing, FramingPair},
};
