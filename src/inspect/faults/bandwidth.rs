//! A limit of bytes a second.

use std::time::{Duration, Instant};

use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// A limit of bytes over time: a bucket of tokens, one a byte.
#[derive(Debug, Clone)]
pub struct Bandwidth {
    /// Bytes a second, at least 1.
    pub rate: u64,
    /// The bytes that may go out at once after a pause, at least 1.
    pub burst: u64,
}

/// The time for which tokens are collected before the next bytes go out, where the burst allows it: fewer, larger writes.
const QUANTUM: Duration = Duration::from_millis(10);

/// Lets bytes out as there are tokens. Reads nothing more while some wait.
#[derive(Debug)]
pub struct Limited {
    bandwidth: Bandwidth,
    /// Tokens at `since`.
    tokens: f64,
    since: Instant,
    /// The instant before which no more of the rest goes out. It would go out byte by byte if each early call sent what is due.
    due: Option<Instant>,
    rest: Option<Chunk>,
    end: End,
}

impl Limited {
    pub(super) fn new(bandwidth: Bandwidth, now: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rounded burst does no harm")]
        let tokens = bandwidth.burst as f64;
        Self { bandwidth, tokens, since: now, due: None, rest: None, end: End::Open }
    }

    /// Sends what the tokens allow. Waits for more with the rest.
    fn go_on(&mut self, out: &mut Outbox) -> Progress {
        let now = out.now();
        if let Some(due) = self.due.filter(|due| *due > now) {
            out.wake_at(due);
            return Progress::Waiting;
        }
        self.due = None;
        #[expect(clippy::cast_precision_loss, reason = "a rounded rate does no harm")]
        let (rate, burst) = (self.bandwidth.rate as f64, self.bandwidth.burst as f64);
        self.tokens = rate.mul_add(now.saturating_duration_since(self.since).as_secs_f64(), self.tokens).min(burst);
        self.since = now;
        if let Some(mut chunk) = self.rest.take() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "never negative, and no more than the chunk"
            )]
            let ready = (self.tokens.floor() as usize).min(chunk.len());
            if ready == chunk.len() {
                out.push(chunk);
            } else {
                if ready > 0 {
                    out.push(chunk.split_to(ready));
                }
                #[expect(clippy::cast_precision_loss, reason = "a chunk is small")]
                let left = chunk.len() as f64;
                self.rest = Some(chunk);
                self.tokens -= as_tokens(ready);
                let next = left.min(burst).min((rate * QUANTUM.as_secs_f64()).max(1.0));
                let due = now + Duration::from_secs_f64(((next - self.tokens) / rate).clamp(1e-6, 1e6));
                self.due = Some(due);
                out.wake_at(due);
                return Progress::Waiting;
            }
            self.tokens -= as_tokens(ready);
        }
        if self.end == End::Finished {
            out.end();
        }
        Progress::Moved
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chunk is small")]
fn as_tokens(bytes: usize) -> f64 {
    bytes as f64
}

impl Stage for Limited {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        self.end = end;
        self.rest = (!chunk.is_empty()).then_some(chunk);
        self.go_on(out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        if self.rest.is_none() {
            return Progress::Moved;
        }
        if out.is_ending() {
            // A connection that is closed delivers at once what was read.
            self.due = None;
            self.rest.take().into_iter().for_each(|chunk| out.push(chunk));
            return Progress::Moved;
        }
        self.go_on(out)
    }

    fn release(&mut self) -> Vec<Chunk> {
        self.due = None;
        self.rest.take().into_iter().collect()
    }

    fn held(&self) -> usize {
        self.rest.as_ref().map_or(0, |chunk| chunk.len())
    }

    fn kept(&self) -> usize {
        self.rest.as_ref().map_or(0, Chunk::capacity)
    }

    fn make_lasting(&mut self) -> bool {
        let Some(chunk) = &mut self.rest else { return true };
        let Some(rest) = chunk.rest(0) else { return false };
        *chunk = rest.into();
        true
    }
}
