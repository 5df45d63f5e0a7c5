//! The effect that a decider chooses for each message.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use super::{decider::Act, random::Random};
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::chunk::Chunk,
};

/// Carries out the actions of a decider, in their order.
#[derive(Debug, Default)]
pub(super) struct Actions {
    /// The actions that wait until the effect that has begun takes more.
    left: VecDeque<Act>,
    /// The end behind them.
    end: End,
    /// The effect that has begun, which is fed everything.
    begun: Option<Box<dyn Stage>>,
    /// The instant before which nothing more is due.
    floor: Option<Instant>,
}

impl Actions {
    /// Acts on a message. Nothing else is fed before this has returned [`Progress::Moved`].
    pub fn act(&mut self, message: Chunk, acts: Vec<Act>, end: End, random: &Random, out: &mut Outbox) -> Progress {
        if acts.is_empty() {
            return self.pass(message, end, out);
        }
        self.end = end;
        for act in acts {
            match act {
                Act::Pass => self.left.push_back(Act::Send(Bytes::copy_from_slice(&message))),
                Act::Drop => {}
                act => self.left.push_back(act),
            }
        }
        let sent = self.left.iter().map(|act| if let Act::Send(bytes) = act { bytes.len() } else { 0 }).sum();
        out.note_figures((sent, message.len()));
        self.go_on(random, out)
    }

    /// Lets a chunk through that nobody decides about.
    pub fn pass(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if let Some(begun) = &mut self.begun {
            return floored(self.floor, out, |out| begun.feed(chunk, end, out));
        }
        floored(self.floor, out, |out| {
            out.push(chunk);
            if end == End::Finished {
                out.end();
            }
            Progress::Moved
        })
    }

    /// Carries out the actions that are left, as far as the effect that has begun takes them.
    fn go_on(&mut self, random: &Random, out: &mut Outbox) -> Progress {
        while let Some(act) = self.left.pop_front() {
            let progress = match act {
                Act::Pass | Act::Drop => continue,
                Act::Send(bytes) => self.pass(Chunk::from(bytes), End::Open, out),
                Act::Wait(time) => {
                    let now = out.now();
                    let from = self.floor.map_or(now, |floor| floor.max(now));
                    self.floor = from.checked_add(time).or(self.floor);
                    continue;
                }
                Act::Begin { effect, name } => {
                    let now = out.now();
                    let kept = self.begun.as_mut().map(|begun| begun.release()).unwrap_or_default();
                    let begun = effect.begin(random.clone(), &format!("fault {name}"), now);
                    let begun = self.begun.insert(begun);
                    floored(self.floor, out, |out| {
                        if kept.is_empty() { begun.resume(out) } else { begun.feed(Chunk::from(kept), End::Open, out) }
                    })
                }
            };
            if !matches!(progress, Progress::Moved) {
                return progress;
            }
        }
        match std::mem::take(&mut self.end) {
            End::Open => Progress::Moved,
            end => self.pass(Chunk::from(Bytes::new()), end, out),
        }
    }

    pub fn resume(&mut self, random: &Random, out: &mut Outbox) -> Progress {
        if let Some(begun) = &mut self.begun {
            let progress = floored(self.floor, out, |out| begun.resume(out));
            if !matches!(progress, Progress::Moved) {
                return progress;
            }
        }
        self.go_on(random, out)
    }

    /// Returns the bytes that are kept.
    pub fn release(&mut self) -> Bytes {
        let mut kept = self.begun.as_mut().map(|begun| begun.release()).unwrap_or_default().to_vec();
        for act in self.left.drain(..) {
            if let Act::Send(bytes) = act {
                kept.extend_from_slice(&bytes);
            }
        }
        kept.into()
    }

    /// Returns the bytes of memory that are kept.
    pub fn kept(&self) -> usize {
        let left: usize = self.left.iter().map(|act| if let Act::Send(bytes) = act { bytes.len() } else { 0 }).sum();
        left + self.begun.as_ref().map_or(0, |begun| begun.kept())
    }

    pub fn make_lasting(&mut self) -> bool {
        self.begun.as_mut().is_none_or(|begun| begun.make_lasting())
    }
}

/// Calls `act`, whose output is due not before `floor`.
fn floored<T>(floor: Option<Instant>, out: &mut Outbox, act: impl FnOnce(&mut Outbox) -> T) -> T {
    let before = out.raise_floor(floor);
    let done = act(out);
    out.set_floor(before);
    done
}
