//! Faults that come and go while others hold bytes: what is held has not passed the place behind them.

use super::*;
use crate::{
    inspect::{
        End, Outbox,
        framing::{lines::Lines, message_stage::MessageStage, spec::FramingRules},
    },
    words::direction::Direction::ToUpstream,
};

const CLOSED: Action = Action::Close(CloseReason::Fault);

fn late(delay: Duration) -> Arc<Fault> {
    let latency = Latency { delay, jitter: Duration::ZERO, distribution: Distribution::Uniform, most: SHARE };
    fault(Effect::Latency(latency), after(0))
}

fn put(book: &mut Playbook, faults: &[&Arc<Fault>]) {
    let faults: Vec<_> = faults.iter().copied().map(Arc::clone).collect();
    book.set_faults(stages_of(&faults, &place(1)));
}

/// Plays a fault that holds some of "abcdef", then has a cut come behind it. Returns the bytes that arrive.
fn cut_behind(holding: &Arc<Fault>, bytes: u64, goes: bool) -> String {
    let cut = cut(How::Fin, after(bytes));
    let mut book = book(std::slice::from_ref(holding));
    book.feed("abcdef");
    put(&mut book, &[holding, &cut]);
    if goes {
        put(&mut book, &[&cut]);
    }
    book.pass(60_000 * MS);
    let mut actions = book.take_actions();
    assert_eq!(actions.pop(), Some(CLOSED), "{holding:?}");
    let bytes = |action: Action| if let Action::Write(bytes) = action { bytes.to_vec() } else { panic!("{action:?}") };
    String::from_utf8(actions.into_iter().flat_map(bytes).collect()).unwrap()
}

#[test]
fn a_cut_that_comes_behind_held_bytes_counts_what_went_out() {
    let limit = Bandwidth { rate: 1, burst: 1 };
    let slices = Slicer { size: 1, variation: 0, delay: MS };
    for holding in [
        late(5 * MS),
        fault(Effect::Bandwidth(limit), after(0)),
        fault(Effect::Slicer(slices), after(0)),
        fault(Effect::Stall, after(2)),
        fault(Effect::CloseAfter(Duration::ZERO, How::Stall), after(1)),
    ] {
        let is_stalled = matches!(holding.effect, Effect::Stall | Effect::CloseAfter(..));
        for goes in [is_stalled, true] {
            for bytes in [3, 5, 6] {
                assert_eq!(cut_behind(&holding, bytes, goes), "abcdef"[..usize::try_from(bytes).unwrap()], "{holding:?} {goes}");
            }
        }
    }
}

#[test]
fn a_cut_that_comes_before_held_bytes_counts_them_and_waits_for_them() {
    let (late, cut) = (late(5 * MS), cut(How::Reset, after(6)));
    let mut book = book(std::slice::from_ref(&late));
    book.feed("abcd");
    put(&mut book, &[&cut, &late]);
    book.feed("efgh").pass(4 * MS).expect([]);
    book.pass(MS).expect([write(b"abcd"), write(b"ef"), Action::Reset(CloseReason::Fault)]);
}

#[test]
fn a_cut_lets_bytes_through_that_may_still_begin_a_match_behind_it() {
    let drop = fault(Effect::Message(Change::Drop), matching("GETS"));
    let mut book = book(&[cut(How::Fin, after(4)), drop]);
    book.feed("xGE").expect([write(b"x")]).feed("TS").expect([write(b"GET"), CLOSED]);
}

#[test]
fn a_delay_that_is_taken_away_lets_go_at_once_and_in_order() {
    let late = late(50 * MS);
    let mut book = book(std::slice::from_ref(&late));
    book.feed("a").pass(10 * MS).feed("b").finish("c").expect([]);
    put(&mut book, &[]);
    book.expect([write(b"a"), write(b"b"), write(b"c"), Action::Fin]);
}

#[test]
fn a_delay_that_takes_the_place_of_another_delays_what_is_held_anew() {
    let (long, short) = (late(50 * MS), late(5 * MS));
    let mut book = book(std::slice::from_ref(&long));
    book.feed("a").pass(40 * MS).feed("b");
    put(&mut book, &[&short]);
    book.pass(4 * MS).expect([]).pass(MS).expect([write(b"a"), write(b"b")]).feed("c").pass(5 * MS).expect([write(b"c")]);
}

#[test]
fn an_end_that_comes_later_comes_at_once_when_its_fault_goes() {
    let slow = fault(Effect::SlowClose(50 * MS), after(0));
    let mut book = book(std::slice::from_ref(&slow));
    book.feed("a").finish("b").expect([write(b"a"), write(b"b")]);
    put(&mut book, &[]);
    book.expect([Action::Fin]);
}

#[test]
fn an_unfinished_message_has_not_passed() {
    let framer = MessageStage::new(Box::new(Lines), FramingRules::default(), 1, ToUpstream);
    let mut book = Playbook::of(Stages::default());
    book.set_framer(Some(framer), 0).feed("ab\ncd").expect([write(b"ab\n")]);
    put(&mut book, &[&cut(How::Fin, after(4))]);
    book.feed("ef\n").expect([write(b"c"), CLOSED]);
}

#[test]
fn what_the_hook_was_asked_about_has_not_passed() {
    /// Keeps what it is fed until it is resumed twice.
    #[derive(Debug, Default)]
    struct Slow(Vec<u8>, u8);

    impl crate::inspect::Stage for Slow {
        fn feed(&mut self, chunk: crate::words::chunk::Chunk, _: End, _: &mut Outbox) -> crate::inspect::Progress {
            self.0.extend_from_slice(&chunk);
            crate::inspect::Progress::Waiting
        }

        fn resume(&mut self, out: &mut Outbox) -> crate::inspect::Progress {
            self.1 += 1;
            if self.1 < 2 {
                return crate::inspect::Progress::Waiting;
            }
            out.push(Bytes::from(std::mem::take(&mut self.0)));
            crate::inspect::Progress::Moved
        }
    }

    let mut book = Playbook::with_hook(Stages::default(), Slow::default());
    book.feed("abcdef").expect_waiting(true).edit(|stages| stages.set_asked(6));
    put(&mut book, &[&cut(How::Fin, after(4))]);
    book.expect([write(b"abcd"), CLOSED]);
}

#[test]
fn much_that_is_due_at_once_leaves_time_to_read() {
    let mut book = book(&[late(5 * MS)]);
    let much = || vec![1; 5 * 1024 * 1024];
    for _ in 0..3 {
        book.feed(much());
    }
    let lengths = |book: &mut Playbook| book.take_actions().len();
    assert_eq!((lengths(book.pass(5 * MS)), lengths(book.pass(MS)), book.pass(MS).take_actions().len()), (2, 1, 0));
    for _ in 0..3 {
        book.feed(much());
    }
    assert_eq!(book.finish("").pass(5 * MS).take_actions().len(), 4, "nothing comes behind an end");
}

#[test]
fn what_is_delayed_is_given_up_with_the_share_of_its_direction() {
    let small = Latency { delay: MS, jitter: Duration::ZERO, distribution: Distribution::Uniform, most: 1000 };
    let mut book = book(&[fault(Effect::Latency(small), after(0))]);
    book.feed(vec![1; 600]).expect_waiting(false).feed(vec![2; 600]).expect_waiting(true);
    book.pass(MS).expect([write(&[1; 600]), write(&[2; 600])]).expect_waiting(false);
}
