//! Bytes and the end that come later.

use std::time::{Duration, Instant};

use super::random::Random;
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// A delay. What waits is bounded as all delayed bytes of a direction are; below that bound bandwidth is not limited.
#[derive(Debug, Clone)]
pub struct Latency {
    pub delay: Duration,
    /// How far a read's delay may be from `delay`; see [`Distribution`].
    pub jitter: Duration,
    pub distribution: Distribution,
}

/// The distribution of the jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// From `-jitter` to `jitter`.
    Uniform,
    /// With the deviation `jitter`.
    Normal,
    /// Never less than `delay`, and seldom much more: of shape 3, the mean `jitter / 2` above it.
    Pareto,
}

impl Latency {
    fn draw(&self, random: &mut Random) -> Duration {
        if self.jitter.is_zero() {
            return self.delay;
        }
        let jitter = self.jitter.as_secs_f64();
        let more = match self.distribution {
            Distribution::Uniform => jitter * random.signed(),
            Distribution::Normal => jitter * random.normal(),
            Distribution::Pareto => jitter * ((1.0 - random.fraction()).powf(-1.0 / 3.0) - 1.0),
        };
        Duration::try_from_secs_f64((self.delay.as_secs_f64() + more).max(0.0)).unwrap_or(self.delay)
    }
}

/// Delays what it is fed.
#[derive(Debug)]
pub struct Delayed {
    latency: Latency,
    random: Random,
    /// The instant of the last piece: nothing overtakes it, neither bytes nor the end.
    last: Option<Instant>,
}

impl Delayed {
    pub(super) fn new(latency: Latency, random: Random) -> Self {
        Self { latency, random, last: None }
    }
}

impl Stage for Delayed {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        let drawn = out.now() + self.latency.draw(&mut self.random);
        let due = self.last.map_or(drawn, |last| last.max(drawn));
        self.last = Some(due);
        out.push_at(chunk, due);
        if end == End::Finished {
            out.end_at(due);
        }
        Progress::Moved
    }
}
