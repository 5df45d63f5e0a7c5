//! The effects of faults, and the stages that carry them out.

use std::time::{Duration, Instant};

use super::{
    bandwidth::{Bandwidth, Limited},
    cut::{Cut, How, Timed},
    end::SlowEnd,
    latency::{Delayed, Latency},
    message::{Change, ChangedRest},
    random::Random,
    slicer::{Sliced, Slicer},
    stall::{Blackhole, Stalled},
};
use crate::inspect::Stage;

/// The effect of a fault.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Bytes and the end come later.
    Latency(Latency),
    /// A limit of bytes a second.
    Bandwidth(Bandwidth),
    /// Small pieces, with pauses.
    Slicer(Slicer),
    /// The connection ends.
    Cut(How),
    /// The connection ends after a time.
    CloseAfter(Duration, How),
    /// Nothing more is read or written.
    Stall,
    /// Everything is read, and nothing comes out.
    Blackhole,
    /// The direction ends in order, and the other one stays open.
    HalfClose,
    /// The end of the direction comes later.
    SlowClose(Duration),
    /// A message, matched bytes or the rest of the stream is changed.
    Message(Change),
}

impl Effect {
    /// Returns the stage for the rest of a direction. `why` explains the end of the connection, if this is one.
    pub(super) fn begin(&self, random: Random, why: &str, now: Instant) -> Box<dyn Stage> {
        match self {
            Self::Latency(latency) => Box::new(Delayed::new(latency.clone(), random)),
            Self::Bandwidth(bandwidth) => Box::new(Limited::new(bandwidth.clone(), now)),
            Self::Slicer(slicer) => Box::new(Sliced::new(slicer.clone(), random)),
            Self::Cut(How::Stall) | Self::Stall => Box::<Stalled>::default(),
            Self::Cut(how) => Box::new(Cut::new(*how, why)),
            Self::CloseAfter(time, how) => Box::new(Timed::new(now + *time, *how, why)),
            Self::Blackhole => Box::new(Blackhole),
            Self::HalfClose => Box::new(Cut::half()),
            Self::SlowClose(delay) => Box::new(SlowEnd(*delay)),
            Self::Message(change) => Box::new(ChangedRest::new(change.clone(), random)),
        }
    }
}
