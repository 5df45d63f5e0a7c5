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
    /// The actions that wait for their time, or until the effect that has begun takes more.
    left: VecDeque<Act>,
    /// The end behind them.
    end: End,
    /// The effect that has begun, which is fed everything.
    begun: Option<Box<dyn Stage>>,
    /// The instant before which nothing of `left` is carried out.
    until: Option<Instant>,
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
        out.note_figures((self.waiting(), message.len()));
        self.go_on(random, out)
    }

    /// Lets a chunk through that nobody decides about.
    pub fn pass(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if let Some(begun) = &mut self.begun {
            return begun.feed(chunk, end, out);
        }
        out.push(chunk);
        if end == End::Finished {
            out.end();
        }
        Progress::Moved
    }

    /// Carries out the actions that are left, as far as it is time and the effect that has begun takes them.
    fn go_on(&mut self, random: &Random, out: &mut Outbox) -> Progress {
        loop {
            if let Some(until) = self.until.filter(|until| *until > out.now() && !out.is_ending()) {
                out.wake_at(until);
                return Progress::Waiting;
            }
            self.until = None;
            let Some(act) = self.left.pop_front() else { break };
            let progress = match act {
                Act::Pass | Act::Drop => continue,
                Act::Wait(time) => {
                    self.until = out.now().checked_add(time);
                    continue;
                }
                Act::Send(bytes) => self.pass(Chunk::from(bytes), End::Open, out),
                Act::Begin { effect, name } => {
                    let kept = self.begun.as_mut().map(|begun| begun.release()).unwrap_or_default();
                    let is_fed = kept.iter().any(|chunk| !chunk.is_empty());
                    for chunk in kept.into_iter().rev().filter(|chunk| !chunk.is_empty()) {
                        self.left.push_front(Act::Send(chunk.rest(0).unwrap_or_else(|| Bytes::from_owner(chunk))));
                    }
                    let begun = effect.begin(random.clone(), &format!("fault {name}"), out.now());
                    let begun = self.begun.insert(begun);
                    if is_fed { Progress::Moved } else { begun.resume(out) }
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
            let progress = begun.resume(out);
            if !matches!(progress, Progress::Moved) {
                return progress;
            }
        }
        self.go_on(random, out)
    }

    /// Returns the bytes that are kept.
    pub fn release(&mut self) -> Vec<Chunk> {
        let mut kept = self.begun.as_mut().map(|begun| begun.release()).unwrap_or_default();
        kept.extend(self.left.drain(..).filter_map(|act| if let Act::Send(bytes) = act { Some(bytes.into()) } else { None }));
        self.until = None;
        kept
    }

    /// Returns the number of bytes that have not passed.
    pub fn held(&self) -> usize {
        self.waiting() + self.begun.as_ref().map_or(0, |begun| begun.held())
    }

    /// Returns the bytes of memory that are kept.
    pub fn kept(&self) -> usize {
        self.waiting() + self.begun.as_ref().map_or(0, |begun| begun.kept())
    }

    fn waiting(&self) -> usize {
        self.left.iter().map(|act| if let Act::Send(bytes) = act { bytes.len() } else { 0 }).sum()
    }

    pub fn make_lasting(&mut self) -> bool {
        self.begun.as_mut().is_none_or(|begun| begun.make_lasting())
    }
}
