//! Black-box tests of the core: peers on plain blocking sockets around servers of the public API.
//!
//! `conformance` is what every relay path must do; the rest is about servers, and does not depend on the path.

mod conformance;

// Tests run in the order of their names: first the one that compiles for as long as all others together wait.
mod added_stage;

mod addresses;
mod binding;
mod captures;
mod capturing;
mod certificates;
mod coalescing;
mod connect;
mod drain;
mod faults;
mod framed;
mod framers;
mod hellos;
mod hooks;
mod lifecycle;
mod limits;
mod looking_ahead;
mod loops;
mod mirror;
mod named;
mod pausing;
mod rewriting;
mod several_addresses;
mod staged;
mod starttls;
mod taps;
mod targets;
mod timeouts;
mod unix;
mod upkeep;

mod layering;

mod support;
