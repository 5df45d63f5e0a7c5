//! Faults: stages that harm on purpose, the last of their direction. Bytes in, actions out; time is an output.
//!
//! A [`Fault`](fault::Fault) is an [`Effect`](effect::Effect), a [`Condition`](condition::Condition) and the directions that it concerns. It
//! makes a stage for each direction of each connection. Of a stage's random choices none depends on another connection, on
//! another fault, or on the time.

pub mod bandwidth;
pub mod budget;
pub mod condition;
pub mod cut;
pub mod decider;
pub mod draws;
pub mod effect;
pub mod end;
pub mod entering;
pub mod fault;
pub mod flap;
mod flapped;
pub mod latency;
pub mod message;
pub mod occurrence;
mod own;
pub mod random;
pub mod set;
pub mod slicer;
pub mod stage;
pub mod stall;
pub mod strikes;

#[cfg(test)]
mod tests;
