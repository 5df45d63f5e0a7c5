//! Faults that leave something to a decider, played by hand.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;

use super::{
    super::{
        budget::SHARE,
        condition::Condition,
        cut::How,
        draws::Draws,
        effect::Effect,
        fault::Fault,
        latency::{Distribution, Latency},
        set::{Place, stages_of},
    },
    Act, Decider, Deciders, Questions,
};
use crate::{
    inspect::{
        Stages,
        playbook::{Action, Playbook, write},
    },
    taps::{event::ConnectionKey, witness::Witnesses},
    words::{
        chunk::Chunk,
        direction::{Both, Direction},
        outcome::{CloseReason, Failed},
    },
};

const MS: Duration = Duration::from_millis(1);
const BOTH: Both<bool> = Both { to_upstream: true, to_client: true };

/// A decider that chooses odd connections and messages that begin with `x`, and has the same actions for each of these.
#[derive(Debug, Clone, Default)]
struct Scripted {
    acts: Vec<Act>,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    connection: u64,
    fails: bool,
}

impl Deciders for Scripted {
    fn of(&self, connection: u64, _: Direction) -> Box<dyn Decider> {
        Box::new(Self { connection, ..self.clone() })
    }
}

impl Decider for Scripted {
    fn chooses(&mut self) -> Result<bool, Failed> {
        Ok(!self.connection.is_multiple_of(2))
    }

    fn matches(&mut self, message: &Chunk) -> Result<bool, Failed> {
        if self.fails {
            return Err(Failed { reason: CloseReason::CallbackError, error: "asked".to_owned() });
        }
        Ok(message.starts_with(b"x"))
    }

    fn act(&mut self, message: &Chunk) -> Result<Vec<Act>, Failed> {
        self.asked.lock().unwrap().push(message.to_vec());
        Ok(if message.starts_with(b"x") { self.acts.clone() } else { Vec::new() })
    }
}

fn begin(effect: Effect) -> Act {
    Act::Begin { effect, name: "Inner()".to_owned() }
}

fn place(connection: u64) -> Place {
    let connection = ConnectionKey::of(connection);
    Place { draws: Arc::new(Draws::new(7)), connection, direction: Direction::ToUpstream, witnesses: Witnesses::default() }
}

fn book(fault: Fault, connection: u64) -> Playbook {
    let mut stages = Stages::default();
    stages.set_faults(stages_of(&[Arc::new(fault)], &place(connection)), 0);
    let mut book = Playbook::of(stages);
    book.wake();
    book
}

fn own(acts: Vec<Act>, condition: Condition) -> Playbook {
    let scripted = Scripted { acts, ..Scripted::default() };
    let fault = Fault::new("Own()", Effect::Own, condition, BOTH);
    book(fault.decided_by(Arc::new(scripted), Questions::default()), 1)
}

fn sends(bytes: &'static str) -> Act {
    Act::Send(Bytes::from(bytes))
}

#[test]
fn actions_are_carried_out_in_their_order_and_what_comes_behind_waits_too() {
    let mut book = own(vec![Act::Drop, sends("a"), Act::Wait(5 * MS), sends("b"), Act::Pass], Condition::default());
    book.feed("1").expect([write(b"1")]);
    book.feed("x").expect([write(b"a")]).expect_waiting(true).pass(4 * MS).expect([]);
    book.pass(MS).expect([write(b"b"), write(b"x")]).expect_waiting(false).finish("2").expect([write(b"2"), Action::Fin]);
}

#[test]
fn an_effect_begins_at_its_place_and_keeps_what_is_left() {
    let stall = begin(Effect::Stall);
    let acts = vec![Act::Drop, sends("a"), stall, sends("b"), sends("c")];
    let mut stalled = own(acts, Condition::default());
    stalled.feed("x").expect([write(b"a")]).expect_waiting(true).pass(1000 * MS).expect([]);
    assert!(stalled.kept() >= 2);
    stalled.set_faults(stages_of(&[], &place(1))).expect([write(b"b"), write(b"c")]).expect_waiting(false);
    let reset = begin(Effect::Cut(How::Reset));
    let mut reset = own(vec![Act::Drop, sends("a"), reset, Act::Pass], Condition::default());
    reset.feed("x").expect([write(b"a"), Action::Reset(CloseReason::Fault)]);
}

#[test]
fn another_effect_takes_the_place_of_the_first() {
    let latency = |delay| Latency { delay, jitter: Duration::ZERO, distribution: Distribution::Uniform, most: SHARE };
    let late = |delay| begin(Effect::Latency(latency(delay)));
    let mut book = own(vec![late(50 * MS), late(2 * MS), Act::Pass], Condition::default());
    book.feed("x").pass(MS).expect([]).pass(MS).expect([write(b"x")]);
    book.feed("1").pass(MS).expect([]).pass(MS).expect([write(b"1")]);
}

#[test]
fn only_what_has_acted_counts_as_a_strike() {
    let scripted = Scripted { acts: vec![Act::Drop], ..Scripted::default() };
    let condition = Condition { times: Some(1), ..Condition::default() };
    let fault = Fault::new("Own()", Effect::Own, condition, BOTH).decided_by(Arc::new(scripted.clone()), Questions::default());
    let mut book = book(fault, 1);
    book.feed("1").feed("x").feed("x").expect([write(b"1"), write(b"x")]);
    assert_eq!(*scripted.asked.lock().unwrap(), [b"1", b"x"], "not asked once it has struck so often");
}

#[test]
fn a_fault_concerns_the_connections_that_its_decider_chooses() {
    let made = || {
        let asks = Questions { chooses: true, matches: false };
        Fault::new("Cut()", Effect::Cut(How::Fin), Condition::default(), BOTH).decided_by(Arc::new(Scripted::default()), asks)
    };
    book(made(), 1).expect([Action::Close(CloseReason::Fault)]);
    book(made(), 2).feed("x").finish("").expect([write(b"x"), Action::Fin]);
}

#[test]
fn a_fault_strikes_the_messages_that_its_decider_chooses() {
    let made = |fails, effect| {
        let asks = Questions { chooses: false, matches: true };
        let condition = Condition { nth: Some(2), ..Condition::default() };
        Fault::new("F()", effect, condition, BOTH).decided_by(Arc::new(Scripted { fails, ..Scripted::default() }), asks)
    };
    let reset = Action::Reset(CloseReason::Fault);
    book(made(false, Effect::Cut(How::Reset)), 1).feed("x").feed("1").feed("x").expect([write(b"x"), write(b"1"), reset]);
    let failed = Action::Fail(CloseReason::CallbackError);
    book(made(true, Effect::Cut(How::Reset)), 1).feed("1").expect([failed]);
}
