//! Bytes and the end that come later.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{budget::Share, random::Random};
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::{
        chunk::Chunk,
        outcome::{CloseReason, Failed},
    },
};

/// A delay. It does not limit bandwidth, as long as there is memory for what waits.
#[derive(Debug, Clone)]
pub struct Latency {
    pub delay: Duration,
    /// How far a read's delay may be from `delay`; see [`Distribution`].
    pub jitter: Duration,
    pub distribution: Distribution,
    /// The bytes of memory that a direction holds at most: bandwidth times delay. Beyond, its source is not read.
    pub most: usize,
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

/// Bytes that are sent in a row before the source is read for a [`PAUSE`]. A processor that has no time to spare would else read
/// for the length of the delay, then send for as long: more memory, none of it in the cache.
const BURST: usize = 8 * 1024 * 1024;

/// The length of a pause: the shortest of the runtime's timer.
const PAUSE: Duration = Duration::from_millis(1);

/// A delay line: holds what it is fed until its time.
#[derive(Debug)]
pub struct Delayed {
    latency: Latency,
    random: Random,
    /// The instant of the last piece: nothing overtakes it, neither bytes nor the end.
    last: Option<Instant>,
    line: VecDeque<(Chunk, Instant)>,
    bytes: usize,
    share: Share,
    /// The end behind the line, with its instant.
    end: Option<(End, Instant)>,
    /// Bytes sent since the last pause.
    sent: usize,
    /// The end of a pause.
    pause: Option<Instant>,
}

impl Delayed {
    pub(super) fn new(latency: Latency, random: Random) -> Self {
        let share = Share::new(latency.most);
        Self { latency, random, last: None, line: VecDeque::new(), bytes: 0, share, end: None, sent: 0, pause: None }
    }

    /// Sends what is due, as much as the relay writes at once.
    fn go_on(&mut self, out: &mut Outbox) -> Progress {
        let now = out.now();
        if let Some(until) = self.pause.filter(|until| *until > now) {
            return self.wait(until, out);
        }
        while let Some((_, due)) = self.line.front() {
            let due = *due;
            if due > now {
                self.sent = 0;
                return self.wait(due, out);
            }
            if self.sent >= BURST && self.end.is_none() {
                let until = now + PAUSE;
                (self.sent, self.pause) = (0, Some(until));
                return self.wait(until, out);
            }
            if out.is_paused() {
                return Progress::Again;
            }
            if let Some(chunk) = self.take_first() {
                self.sent += chunk.len();
                out.push(chunk);
            }
        }
        self.sent = 0;
        match self.end {
            Some((_, due)) if due > now => return self.wait(due, out),
            Some((End::Finished, _)) => out.end(),
            _ => {}
        }
        Progress::Moved
    }

    fn wait(&self, until: Instant, out: &mut Outbox) -> Progress {
        out.wake_at(until);
        // Nothing comes behind an end. Without room the source meets backpressure.
        if self.end.is_none() && self.share.has_room() { Progress::Moved } else { Progress::Waiting }
    }

    fn take_first(&mut self) -> Option<Chunk> {
        let (chunk, _) = self.line.pop_front()?;
        self.bytes -= chunk.len();
        self.share.remove(chunk.capacity());
        Some(chunk)
    }
}

impl Stage for Delayed {
    fn feed(&mut self, mut chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        let drawn = out.now() + self.latency.draw(&mut self.random);
        let due = self.last.map_or(drawn, |last| last.max(drawn));
        self.last = Some(due);
        if !chunk.is_empty() {
            if !chunk.is_lasting() {
                let Some(copy) = chunk.copy() else { return no_memory(chunk.len()) };
                // The next read may use the memory, of which it filled little.
                out.give_back(std::mem::replace(&mut chunk, copy));
            }
            self.bytes += chunk.len();
            self.share.add(chunk.capacity());
            self.line.push_back((chunk, due));
        }
        match end {
            End::Open => {}
            End::Finished => self.end = Some((end, due)),
            // Nobody waits for this end, but for what is in the line.
            End::Stopped => self.end = Some((end, self.line.back().map_or_else(|| out.now(), |(_, due)| *due))),
        }
        self.go_on(out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        self.go_on(out)
    }

    fn release(&mut self) -> Vec<Chunk> {
        std::iter::from_fn(|| self.take_first()).collect()
    }

    fn held(&self) -> usize {
        self.bytes
    }
}

fn no_memory(bytes: usize) -> Progress {
    let error = format!("no memory for {bytes} bytes that a fault delays; let it hold less, or give the process more");
    Progress::Failed(Failed { reason: CloseReason::InternalError, error })
}
