//! Faults, played by hand: bytes and time in, actions out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    bandwidth::Bandwidth,
    budget::SHARE,
    condition::Condition,
    cut::How,
    draws::Draws,
    effect::Effect,
    fault::Fault,
    latency::{Distribution, Latency},
    message::Change,
    set::{Place, stages_of},
    slicer::Slicer,
};
use crate::{
    inspect::{
        Stages,
        playbook::{Action, Later, Playbook, write},
    },
    matching::{literals::Literals, matcher::Matcher},
    taps::{
        event::{ConnectionKey, EventKind},
        transcript::Transcript,
        witness::Witnesses,
    },
    words::{
        direction::{Both, Direction},
        outcome::CloseReason,
    },
};

mod held;

const MS: Duration = Duration::from_millis(1);
const BOTH: Both<bool> = Both { to_upstream: true, to_client: true };

fn fault(effect: Effect, condition: Condition) -> Arc<Fault> {
    Arc::new(Fault::new("Test()", effect, condition, BOTH))
}

fn after(after_bytes: u64) -> Condition {
    Condition { after_bytes, ..Condition::default() }
}

fn matching(literal: &str) -> Condition {
    let matcher = Matcher::Literals(Literals::new(&[literal]).unwrap());
    Condition { matcher: Some(Arc::new(matcher)), ..Condition::default() }
}

fn place(connection: u64) -> Place {
    Place {
        draws: Arc::new(Draws::new(7)),
        connection: ConnectionKey::of(connection),
        direction: Direction::ToUpstream,
        witnesses: Witnesses::default(),
    }
}

fn book(faults: &[Arc<Fault>]) -> Playbook {
    book_of(faults, 1)
}

fn book_of(faults: &[Arc<Fault>], connection: u64) -> Playbook {
    let mut stages = Stages::default();
    stages.set_faults(stages_of(faults, &place(connection)), 0);
    let mut book = Playbook::of(stages);
    // As the relay does once the stages of a live connection were changed.
    book.wake();
    book
}

fn bytes(book: &mut Playbook) -> Vec<u8> {
    let written = book.take_actions().into_iter();
    written.flat_map(|action| if let Action::Write(bytes) = action { bytes.to_vec() } else { panic!("{action:?}") }).collect()
}

fn cut(how: How, condition: Condition) -> Arc<Fault> {
    fault(Effect::Cut(how), condition)
}

#[test]
fn a_cut_lets_exactly_the_bytes_before_it_through() {
    let closed = Action::Close(CloseReason::Fault);
    book(&[cut(How::Fin, after(3))]).feed("ab").expect([write(b"ab")]).feed("cdef").expect([write(b"c"), closed.clone()]);
    book(&[cut(How::Fin, after(2))]).feed("ab").expect([write(b"ab"), closed.clone()]);
    book(&[cut(How::Fin, after(0))]).expect([closed]);
    let reset = Action::Reset(CloseReason::Fault);
    book(&[cut(How::Reset, after(1))]).feed("ab").expect([write(b"a"), reset.clone()]);
    book(&[cut(How::Reset, matching("GET"))]).feed("xGE").feed("T /").expect([write(b"xGE"), write(b"T"), reset]);
}

#[test]
fn a_stall_after_a_time_keeps_what_comes_behind_it() {
    let mut book = book(&[fault(Effect::CloseAfter(Duration::ZERO, How::Stall), matching("x"))]);
    book.feed("axb").expect([write(b"ax")]).expect_waiting(true);
    book.set_faults(stages_of(&[], &place(1))).expect([write(b"b")]);
}

#[test]
fn an_end_that_a_black_hole_has_taken_comes_once_it_is_gone() {
    let mut book = book(&[fault(Effect::Blackhole, after(0))]);
    book.feed("a").finish("b").expect([]);
    book.set_faults(stages_of(&[], &place(1))).expect([Action::Fin]);
}

#[test]
fn corruption_flips_as_many_bits_as_it_says() {
    for connection in 1..50 {
        for bits in [1, 2, 5, 8, 9, 1 << 31] {
            let mut book = book_of(&[fault(Effect::Message(Change::Corrupt { bits }), matching("x"))], connection);
            book.feed("x");
            let flipped = bytes(&mut book)[0] ^ b'x';
            assert_eq!(u64::from(flipped.count_ones()), bits.min(8));
        }
    }
}

#[test]
fn a_cut_behind_a_delay_waits_for_the_bytes_before_it() {
    let latency = Latency { delay: 5 * MS, jitter: Duration::ZERO, distribution: Distribution::Uniform, most: SHARE };
    let faults = [fault(Effect::Latency(latency), after(0)), cut(How::Reset, after(2))];
    let mut book = book(&faults);
    book.feed("abc").pass(4 * MS).expect([]).pass(MS).expect([write(b"ab"), Action::Reset(CloseReason::Fault)]);
}

#[test]
fn a_stall_takes_nothing_more_until_it_is_taken_away_or_the_direction_is_ended() {
    let stall = fault(Effect::Stall, after(2));
    let mut stalled = book(std::slice::from_ref(&stall));
    stalled.feed("abcd").expect([write(b"ab")]).expect_waiting(true).pass(1000 * MS).expect([]).expect_waiting(true);
    stalled.set_faults(stages_of(&[], &place(1))).expect([write(b"cd")]).expect_waiting(false);
    let mut ended = book(&[stall]);
    ended.feed("abcd").take_actions();
    ended.end_from_outside().expect([]).expect_waiting(false);
}

#[test]
fn a_black_hole_takes_everything_and_gives_neither_bytes_nor_an_end() {
    let mut book = book(&[fault(Effect::Blackhole, after(1))]);
    book.feed("ab").feed("c").expect_waiting(false).finish("").pass(1000 * MS).expect([write(b"a")]);
}

#[test]
fn a_half_close_ends_one_direction() {
    book(&[fault(Effect::HalfClose, after(2))]).feed("abc").expect([write(b"ab"), Action::Fin]);
}

#[test]
fn latency_delays_bytes_and_the_end_and_keeps_their_order() {
    let steady = Latency { delay: 5 * MS, jitter: Duration::ZERO, distribution: Distribution::Uniform, most: SHARE };
    let mut late = book(&[fault(Effect::Latency(steady), after(0))]);
    late.feed("a").pass(2 * MS).finish("b").pass(2 * MS).expect([]);
    late.pass(MS).expect([write(b"a")]).pass(2 * MS).expect([write(b"b"), Action::Fin]);
    for distribution in [Distribution::Uniform, Distribution::Normal, Distribution::Pareto] {
        let uneven = Latency { delay: 20 * MS, jitter: 10 * MS, distribution, most: SHARE };
        let mut book = book(&[fault(Effect::Latency(uneven), after(0))]);
        let sent: Vec<u8> = (0..100).collect();
        for byte in &sent {
            book.feed(vec![*byte]).pass(MS);
        }
        book.pass(10_000 * MS);
        assert_eq!(bytes(&mut book), sent, "{distribution:?}");
    }
}

#[test]
fn bandwidth_lets_the_burst_out_at_once_and_then_the_rate() {
    let mut book = book(&[fault(Effect::Bandwidth(Bandwidth { rate: 1000, burst: 50 }), after(0))]);
    book.feed(vec![1; 250]).expect_waiting(true);
    assert_eq!(bytes(&mut book).len(), 50);
    book.pass(100 * MS);
    let sent = bytes(&mut book).len();
    assert!((95..=100).contains(&sent), "{sent} of 100 bytes in 100 ms");
    book.pass(110 * MS).expect_waiting(false);
    assert_eq!(bytes(&mut book).len() + sent, 200);
    book.pass(1000 * MS).finish(vec![1; 50]);
    let actions = book.take_actions();
    assert_eq!(actions.last(), Some(&Action::Fin), "a pause fills the bucket");
}

#[test]
fn who_asks_before_it_is_time_gets_nothing() {
    let late = Latency { delay: 10 * MS, jitter: Duration::ZERO, distribution: Distribution::Uniform, most: SHARE };
    for effect in [
        Effect::Bandwidth(Bandwidth { rate: 1000, burst: 1_000_000 }),
        Effect::Slicer(Slicer { size: 1_000_000, variation: 0, delay: 10 * MS }),
        Effect::Latency(late),
    ] {
        let mut book = book(&[fault(effect, after(0))]);
        book.feed(vec![1; 1_010_000]);
        book.take_actions();
        for _ in 0..9 {
            // As the relay does, which asks again before it waits.
            book.pass(MS).wake().expect([]);
        }
        assert!(!book.pass(MS).take_actions().is_empty());
    }
}

#[test]
fn a_slicer_cuts_pieces_with_pauses_between_them() {
    let mut book_of_two = book(&[fault(Effect::Slicer(Slicer { size: 2, variation: 0, delay: MS }), after(0))]);
    book_of_two.feed("abcde").expect([write(b"ab")]).pass(MS).expect([write(b"cd")]).pass(MS).expect([write(b"e")]);
    book_of_two.expect_waiting(false).pass(MS).finish("").expect([Action::Fin]);
    let mut at_once = book(&[fault(Effect::Slicer(Slicer { size: 2, variation: 0, delay: Duration::ZERO }), after(0))]);
    at_once.feed("abcde").expect([write(b"ab"), write(b"cd"), write(b"e")]);
    let mut varied = book(&[fault(Effect::Slicer(Slicer { size: 10, variation: 9, delay: Duration::ZERO }), after(0))]);
    let sent: Vec<u8> = (0..=255).cycle().take(5000).collect();
    varied.feed(sent.clone());
    let lengths: Vec<usize> = varied.take_actions().iter().map(|a| if let Action::Write(b) = a { b.len() } else { 0 }).collect();
    assert!(lengths.iter().all(|length| (1..=19).contains(length)) && lengths.iter().max() > lengths.iter().min());
    assert_eq!(lengths.iter().sum::<usize>(), sent.len());
}

#[test]
fn ends_that_are_slow_or_come_by_themselves() {
    let mut slow = book(&[fault(Effect::SlowClose(5 * MS), after(0))]);
    slow.feed("a").finish("b").expect([write(b"a"), write(b"b")]).pass(4 * MS).expect([]).pass(MS).expect([Action::Fin]);
    let mut timed = book(&[fault(Effect::CloseAfter(5 * MS, How::Fin), after(0))]);
    timed.pass(3 * MS).feed("a").pass(MS).expect([write(b"a")]).pass(MS).expect([Action::Close(CloseReason::Fault)]);
    let mut behind = book(&[fault(Effect::CloseAfter(5 * MS, How::Reset), after(1))]);
    behind.pass(50 * MS).feed("ab").expect([write(b"ab")]).pass(5 * MS).expect([Action::Reset(CloseReason::Fault)]);
}

#[test]
fn matched_bytes_are_changed_however_the_stream_is_cut() {
    for (change, expected) in [
        (Change::Drop, "say: !"),
        (Change::Duplicate, "say: hellohello!"),
        (Change::Truncate { keep: 2 }, "say: he!"),
        (Change::Corrupt { bits: 0 }, "say: hello!"),
    ] {
        for at in 0..=11 {
            let (first, second) = "say: hello!".split_at(at);
            let mut book = book(&[fault(Effect::Message(change.clone()), matching("hello"))]);
            book.feed(first).finish(second);
            let mut written = book.take_actions();
            assert_eq!(written.pop(), Some(Action::Fin));
            let written: Vec<u8> = written
                .iter()
                .flat_map(|action| if let Action::Write(bytes) = action { bytes.to_vec() } else { vec![] })
                .collect();
            assert_eq!(String::from_utf8(written).unwrap(), expected, "{change:?} cut at {at}");
        }
    }
}

#[test]
fn the_rest_of_a_stream_is_dropped_or_cut_short_and_its_end_comes() {
    let drop = fault(Effect::Message(Change::Drop), after(2));
    book(&[drop]).feed("abc").feed("d").finish("e").expect([write(b"ab"), Action::Fin]);
    let truncate = fault(Effect::Message(Change::Truncate { keep: 1 }), after(2));
    book(&[truncate]).feed("abcd").feed("e").finish("").expect([write(b"abc"), Action::Fin]);
    let corrupt = fault(Effect::Message(Change::Corrupt { bits: 1 }), after(1));
    let mut corrupted = book(&[corrupt]);
    corrupted.feed("abc");
    let got = bytes(&mut corrupted);
    assert_eq!((got[0], got[2], (got[1] ^ b'b').count_ones()), (b'a', b'c', 1));
}

#[test]
fn it_strikes_the_nth_time_and_so_often_over_all_connections() {
    let drop = |condition| fault(Effect::Message(Change::Drop), condition);
    let dropped = |fault: &Arc<Fault>| -> String {
        (1..=3)
            .map(|connection| {
                let mut book = book_of(std::slice::from_ref(fault), connection);
                book.finish("axbxc");
                let last = book.take_actions();
                let text = |action: &Action| if let Action::Write(bytes) = action { bytes.to_vec() } else { b";".to_vec() };
                String::from_utf8(last.iter().flat_map(text).collect()).unwrap()
            })
            .collect()
    };
    let third = drop(Condition { nth: Some(3), ..matching("x") });
    assert_eq!(dropped(&third), "axbxc;abxc;axbxc;");
    assert_eq!(third.strikes(), 1);
    assert_eq!(dropped(&drop(Condition { times: Some(3), ..matching("x") })), "abc;abxc;axbxc;");
    assert_eq!(dropped(&drop(Condition { nth: Some(2), times: Some(2), ..matching("x") })), "axbc;abxc;axbxc;");
}

#[test]
fn what_is_drawn_depends_on_the_seed_the_connection_the_direction_and_the_fault_alone() {
    let draws = |seed, connection, direction| -> Vec<Vec<u8>> {
        let faults = [fault(Effect::Message(Change::Drop), Condition { probability: 0.5, ..matching("x") })];
        let mut stages = Stages::default();
        let connection = ConnectionKey::of(connection);
        let place = Place { draws: Arc::new(Draws::new(seed)), connection, direction, witnesses: Witnesses::default() };
        stages.set_faults(stages_of(&faults, &place), 0);
        let mut book = Playbook::of(stages);
        (0..40)
            .map(|_| {
                book.feed("x-");
                bytes(&mut book)
            })
            .collect()
    };
    let first = draws(7, 1, Direction::ToUpstream);
    assert_eq!(first, draws(7, 1, Direction::ToUpstream));
    for other in [draws(8, 1, Direction::ToUpstream), draws(7, 2, Direction::ToUpstream), draws(7, 1, Direction::ToClient)] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_fault_that_stays_keeps_its_state_when_others_come_and_go() {
    let (cut, other) = (cut(How::Fin, after(4)), fault(Effect::SlowClose(MS), after(0)));
    let mut book = book(std::slice::from_ref(&cut));
    book.feed("ab").expect([write(b"ab")]);
    let both = [Arc::clone(&other), Arc::clone(&cut)];
    book.set_faults(stages_of(&both, &place(1))).feed("c").expect([write(b"c")]);
    book.set_faults(stages_of(&[cut], &place(1))).feed("de");
    book.expect([write(b"d"), Action::Close(CloseReason::Fault)]);
}

#[test]
fn faults_stand_behind_the_other_stages() {
    let mut stages = Stages::default().after_hook(Later(MS));
    stages.set_faults(stages_of(&[cut(How::Fin, after(1))], &place(1)), 0);
    stages.set_filters((Vec::new(), vec![Box::new(Later(MS))]));
    let mut book = Playbook::of(stages);
    book.feed(Bytes::from_static(b"ab")).expect([]).pass(2 * MS).expect([write(b"a"), Action::Close(CloseReason::Fault)]);
}

#[test]
fn each_strike_is_reported_and_nothing_else() {
    let record = Arc::new(Transcript::new(usize::MAX));
    let witnesses: Witnesses = Arc::new([record.clone()]);
    let matcher = Some(Arc::new(Matcher::Literals(Literals::new(&["x"]).unwrap())));
    let faults =
        [fault(Effect::Message(Change::Drop), Condition { matcher, nth: Some(2), times: Some(2), ..Condition::default() })];
    let mut stages = Stages::default();
    stages.set_faults(stages_of(&faults, &Place { witnesses, ..place(4) }), 0);
    Playbook::of(stages).feed("axb").feed("xcxdx").expect([write(b"axb"), write(b"cdx")]);
    let seen: Vec<_> = record.events(0).1.into_iter().map(|event| (event.connection.number, event.kind)).collect();
    let [(4, EventKind::Struck { direction: Direction::ToUpstream, fault: one }), (4, EventKind::Struck { fault: two, .. })] =
        &seen[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!((&**one, &**two), ("Test()", "Test()"));
}
