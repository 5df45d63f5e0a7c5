//! Taps: what looks at connections, and never holds them up.
//!
//! Connections put [events](event) into a bounded [queue]; a thread of the tap's own takes them out and hands them to a
//! [sink](writer::Sink), which may be as slow as a terminal. What finds no room in the queue is left out, counted, and said. A
//! [transcript] needs no thread: it keeps the last events in memory. Both are [witnesses](witness).

pub mod capture;
mod copies;
pub mod event;
pub mod grep;
pub mod output;
pub mod queue;
pub mod servers;
pub mod sinks;
pub mod transcript;
pub mod witness;
pub mod writer;
