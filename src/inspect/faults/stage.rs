//! The stage of a fault in one direction: everything passes until it strikes.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{
    decider::Decider, effect::Effect, fault::Fault, flapped::Flapped, message::Change, occurrence::Search, own::Actions,
    random::Random, strikes::Strikes,
};
use crate::{
    inspect::{
        End, Outbox, Progress, Stage,
        filters::{
            rewrite::{Made, Rewrite},
            rewrite_stage::RewriteStage,
        },
        framing::ReplacedMessages,
    },
    words::{chunk::Chunk, lock::EvenPoisoned, outcome::Failed},
};

/// Lets everything pass until its fault strikes; then the effect has the rest of the direction, or of the message.
#[derive(Debug)]
pub struct FaultStage {
    fault: Arc<Fault>,
    strikes: Strikes,
    random: Random,
    search: Search,
    /// The effect, once it has begun.
    act: Option<Box<dyn Stage>>,
    messages: Option<ReplacedMessages>,
    decider: Option<Box<dyn Decider>>,
    choice: Choice,
    own: Option<Actions>,
}

/// The decision about whether the fault concerns the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Its decider has still to say.
    Open,
    In,
    Out,
}

impl FaultStage {
    /// Returns the stage of a direction of which `read` bytes have passed already.
    pub fn new(strikes: Strikes, random: Random, read: u64, decider: Option<Box<dyn Decider>>) -> Self {
        let fault = Arc::clone(&strikes.fault);
        let search = Search::new(&fault.condition, read);
        let asks = fault.deciders.as_ref().is_some_and(|(_, questions)| questions.chooses);
        let choice = if asks { Choice::Open } else { Choice::In };
        let own = matches!(fault.effect, Effect::Own).then(Actions::default);
        let mut stage = Self { search, random, act: None, messages: None, decider, choice, own, fault, strikes };
        if let Effect::Flap(flap) = &stage.fault.effect {
            // It strikes when it is down, not when it is put in force.
            stage.act = Some(Box::new(Flapped::new(Arc::clone(flap), stage.strikes.clone())));
        }
        if let (Effect::Message(change), Some(_)) = (&stage.fault.effect, &stage.fault.condition.matcher) {
            stage.act = Some(Box::new(stage.rewriting(change.clone())));
        }
        stage
    }

    /// Returns the stage that changes what matches, in a stream without messages.
    fn rewriting(&self, change: Change) -> RewriteStage {
        let drawn = Drawn { strikes: self.strikes.clone(), change, random: Mutex::new(self.random.clone()) };
        let matcher = self.fault.condition.matcher.clone();
        matcher.map_or_else(
            || unreachable!("it has a matcher"),
            |matcher| RewriteStage::new(Arc::new(Rewrite::made(matcher, Arc::new(drawn)))),
        )
    }

    /// Begins the effect, which is fed everything from here on.
    fn begin(&mut self, now: std::time::Instant) -> &mut dyn Stage {
        let why = format!("fault {}", self.fault.name);
        let act = self.fault.effect.begin(self.random.clone(), &why, now);
        &mut **self.act.insert(act)
    }

    /// Asks the decider, once, whether the fault concerns the connection.
    fn chooses(&mut self) -> Result<bool, Failed> {
        if self.choice == Choice::Open {
            let chosen = self.decider.as_mut().map_or(Ok(true), |decider| decider.chooses())?;
            self.choice = if chosen { Choice::In } else { Choice::Out };
        }
        Ok(self.choice == Choice::In)
    }

    /// Returns true if a message is an occurrence.
    fn fits(&mut self, message: &Chunk) -> Result<bool, Failed> {
        let (fits, asks) = (self.search.message(message), self.asks_about_messages());
        match &mut self.decider {
            Some(decider) if fits && asks => decider.matches(message),
            _ => Ok(fits),
        }
    }

    fn asks_about_messages(&self) -> bool {
        self.fault.deciders.as_ref().is_some_and(|(_, questions)| questions.matches)
    }

    fn message(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        match self.fits(&chunk) {
            Ok(true) => {}
            Ok(false) => return self.pass(chunk, end, out),
            Err(failed) => return Progress::Failed(failed),
        }
        if let (Some(own), Some(decider)) = (&mut self.own, &mut self.decider) {
            if !self.fault.occurs(&mut self.random) {
                return own.pass(chunk, end, out);
            }
            return match decider.act(&chunk) {
                Ok(acts) => {
                    if acts.is_empty() {
                        self.fault.withdraw();
                    } else {
                        self.strikes.report();
                    }
                    own.act(chunk, acts, end, &self.random, out)
                }
                Err(failed) => Progress::Failed(failed),
            };
        }
        if !self.strikes.occurs(&mut self.random) {
            return pass(chunk, end, out);
        }
        let Effect::Message(change) = &self.fault.effect else {
            let now = out.now();
            return self.begin(now).feed(chunk, end, out);
        };
        let changed = change.of(&chunk, &mut self.random);
        if let (Some(messages), Change::Drop) = (&self.messages, change) {
            messages.dropped(&chunk);
        }
        out.note_figures((changed.len(), chunk.len()));
        out.push(Bytes::from(changed));
        pass(Chunk::from(Bytes::new()), end, out)
    }
}

impl FaultStage {
    fn pass(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        match &mut self.own {
            Some(own) => own.pass(chunk, end, out),
            None => pass(chunk, end, out),
        }
    }

    /// Returns true if a chunk is a message for this fault: one that a framer has cut, or any for a fault that asks.
    fn is_message(&self, chunk: &Chunk) -> bool {
        let asks = self.own.is_some() || self.asks_about_messages();
        !chunk.is_empty() && (asks || self.messages.is_some() && !chunk.is_partial() && !self.is_of_a_place())
    }

    /// Returns true if the fault strikes at a place of the stream, wherever the borders of messages are: exactly behind its
    /// first bytes.
    fn is_of_a_place(&self) -> bool {
        let condition = &self.fault.condition;
        let counts = condition.matcher.is_some() || condition.nth.is_some() || matches!(self.fault.effect, Effect::Message(_));
        !counts && (condition.after_bytes > 0 || condition.probability >= 1.0)
    }
}

fn pass(chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
    out.push(chunk);
    if end == End::Finished {
        out.end();
    }
    Progress::Moved
}

impl Stage for FaultStage {
    fn feed(&mut self, mut chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        match self.chooses() {
            Ok(true) => {}
            Ok(false) => return pass(chunk, end, out),
            Err(failed) => return Progress::Failed(failed),
        }
        if self.is_message(&chunk) && (self.act.is_none() || self.has_matched_bytes()) {
            return self.message(chunk, end, out);
        }
        if let Some(act) = &mut self.act {
            return act.feed(chunk, end, out);
        }
        if self.own.is_some() || self.asks_about_messages() {
            return self.pass(chunk, end, out);
        }
        while let Some(before) = self.search.next(&chunk) {
            let first = chunk.split_to(before);
            out.push(first);
            if self.strikes.occurs(&mut self.random) {
                let now = out.now();
                return self.begin(now).feed(chunk, end, out);
            }
        }
        pass(chunk, end, out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        match self.chooses() {
            Ok(true) => {}
            Ok(false) => return Progress::Moved,
            Err(failed) => return Progress::Failed(failed),
        }
        if let Some(own) = &mut self.own {
            return own.resume(&self.random, out);
        }
        let by_place = (self.messages.is_none() || self.is_of_a_place()) && !self.asks_about_messages();
        if self.act.is_none() && by_place && self.search.is_due() {
            let _ = self.search.next(&[]);
            if self.strikes.occurs(&mut self.random) {
                let now = out.now();
                self.begin(now);
            }
        }
        self.act.as_mut().map_or(Progress::Moved, |act| act.resume(out))
    }

    fn framed(&mut self, messages: Option<&ReplacedMessages>) {
        self.messages = messages.cloned();
    }

    fn release(&mut self) -> Vec<Chunk> {
        match (&mut self.act, &mut self.own) {
            (Some(act), _) => act.release(),
            (None, Some(own)) => own.release(),
            (None, None) => Vec::new(),
        }
    }

    fn held(&self) -> usize {
        self.own.as_ref().map_or(0, Actions::held) + self.act.as_ref().map_or(0, |act| act.held())
    }

    fn kept(&self) -> usize {
        let own = self.own.as_ref().map_or(0, Actions::kept);
        self.search.kept() + own + self.act.as_ref().map_or(0, |act| act.kept())
    }

    fn make_lasting(&mut self) -> bool {
        self.act.as_mut().is_none_or(|act| act.make_lasting()) && self.own.as_mut().is_none_or(Actions::make_lasting)
    }
}

impl FaultStage {
    /// Returns true if its effect is on matched bytes, where there are no messages.
    fn has_matched_bytes(&self) -> bool {
        matches!(self.fault.effect, Effect::Message(_)) && self.fault.condition.matcher.is_some()
    }
}

/// Changes matched bytes where the fault strikes.
#[derive(Debug)]
struct Drawn {
    strikes: Strikes,
    change: Change,
    random: Mutex<Random>,
}

impl Made for Drawn {
    fn put(&self, matched: &[u8], into: &mut Vec<u8>) {
        let mut random = self.random.lock().even_poisoned();
        if self.strikes.occurs(&mut random) {
            into.extend(self.change.of(matched, &mut random));
        } else {
            into.extend_from_slice(matched);
        }
    }
}
