//! The effects of faults, and the stages that carry them out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    bandwidth::{Bandwidth, Limited},
    cut::{Cut, How, Timed},
    end::SlowEnd,
    flap::{Down, Flap},
    latency::{Delayed, Latency},
    message::{Change, ChangedRest},
    random::Random,
    slicer::{Sliced, Slicer},
    stall::{Blackhole, Stalled},
};
use crate::inspect::{Stage, chain::Nothing};

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
    /// A link, or a server, goes up and down.
    Flap(Arc<Flap>),
    /// Clients are refused. Not of a direction.
    RefuseConnect,
    /// The upstream is connected later. Not of a direction.
    SlowConnect(Duration),
    /// The actions that the fault's decider chooses, message by message.
    Own,
}

impl Effect {
    /// Returns true if it is one on the bytes of a direction.
    pub(super) fn is_of_direction(&self) -> bool {
        match self {
            Self::RefuseConnect | Self::SlowConnect(_) => false,
            Self::Flap(flap) => flap.down != Down::Entrance,
            _ => true,
        }
    }

    /// Returns the stage for the rest of a direction. `why` explains the end of the connection, if this is one.
    pub(super) fn begin(&self, random: Random, why: &str, now: Instant) -> Box<dyn Stage> {
        match self {
            Self::Latency(latency) => Box::new(Delayed::new(latency.clone(), random)),
            Self::Bandwidth(bandwidth) => Box::new(Limited::new(bandwidth.clone(), now)),
            Self::Slicer(slicer) => Box::new(Sliced::new(slicer.clone(), random)),
            Self::Cut(How::Stall) | Self::Stall => Box::<Stalled>::default(),
            Self::Cut(how) => Box::new(Cut::new(*how, why)),
            Self::CloseAfter(time, how) => Box::new(Timed::new(now + *time, *how, why)),
            Self::Blackhole => Box::<Blackhole>::default(),
            Self::HalfClose => Box::new(Cut::half()),
            Self::SlowClose(delay) => Box::new(SlowEnd::new(*delay)),
            Self::Message(change) => Box::new(ChangedRest::new(change.clone(), random)),
            // The first is begun with its strikes, the next two are of no direction. The stage of the last acts itself, and what
            // its decider begins is another fault.
            Self::Flap(_) | Self::RefuseConnect | Self::SlowConnect(_) | Self::Own => Box::new(Nothing),
        }
    }
}
