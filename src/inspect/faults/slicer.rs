//! Small pieces, with pauses.

use std::time::{Duration, Instant};

use super::random::Random;
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// Pieces of `size` bytes, up to `variation` more or fewer, and at least 1, each `delay` behind the one before.
#[derive(Debug, Clone)]
pub struct Slicer {
    pub size: u64,
    pub variation: u64,
    pub delay: Duration,
}

/// Cuts what it is fed into pieces, each of which is written apart.
#[derive(Debug)]
pub struct Sliced {
    slicer: Slicer,
    random: Random,
    rest: Option<Chunk>,
    end: End,
    /// The instant of the next piece.
    next: Option<Instant>,
}

impl Sliced {
    pub(super) fn new(slicer: Slicer, random: Random) -> Self {
        Self { slicer, random, rest: None, end: End::Open, next: None }
    }

    fn length(&mut self) -> usize {
        let Slicer { size, variation, .. } = self.slicer;
        let drawn = if variation == 0 { 0 } else { self.random.below(2 * variation + 1) };
        usize::try_from((size + drawn).saturating_sub(variation).max(1)).unwrap_or(usize::MAX)
    }

    /// Sends the next piece, if it is time.
    fn go_on(&mut self, out: &mut Outbox) -> Progress {
        let now = out.now();
        if self.rest.is_some()
            && let Some(next) = self.next.filter(|next| *next > now)
        {
            out.wake_at(next);
            return Progress::Waiting;
        }
        if let Some(mut chunk) = self.rest.take() {
            let length = self.length().min(chunk.len());
            if length < chunk.len() {
                self.rest = Some({
                    let first = chunk.split_to(length);
                    out.push(first);
                    chunk
                });
            } else {
                out.push(chunk);
            }
            self.next = (!self.slicer.delay.is_zero()).then(|| now + self.slicer.delay);
            if self.rest.is_some() {
                // Written before the next one, or they would go out together.
                out.pause();
                return match self.next {
                    Some(next) => {
                        out.wake_at(next);
                        Progress::Waiting
                    }
                    None => Progress::Again,
                };
            }
        }
        if self.end == End::Finished {
            out.end();
        }
        Progress::Moved
    }
}

impl Stage for Sliced {
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
            self.rest.take().into_iter().for_each(|chunk| out.push(chunk));
            return Progress::Moved;
        }
        self.go_on(out)
    }

    fn release(&mut self) -> Vec<Chunk> {
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
