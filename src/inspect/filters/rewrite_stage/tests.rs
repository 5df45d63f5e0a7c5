use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    inspect::{
        Stages,
        framing::{ByteOrder, FramingRules, LengthPrefixed, Lines, message_stage::MessageStage},
        playbook::{Action, Playbook, write},
    },
    words::direction::Direction,
};

fn literal(pairs: &[(&'static str, &'static str)]) -> Rewrite {
    let pairs = pairs.iter().map(|(old, new)| (Bytes::from_static(old.as_bytes()), Bytes::from_static(new.as_bytes())));
    Rewrite::literals(pairs.collect()).expect("literals")
}

fn expression(pattern: &str, replacement: &str) -> Rewrite {
    Rewrite::expression(pattern.as_bytes(), replacement.as_bytes()).expect(pattern)
}

fn book(rewrite: Rewrite) -> Playbook {
    Playbook::of(Stages::default().before_hook(RewriteStage::new(Arc::new(rewrite))))
}

fn bytes(actions: Vec<Action>) -> Vec<u8> {
    let bytes = actions.into_iter().map(|action| match action {
        Action::Write(bytes) => bytes,
        Action::Fin => Bytes::new(),
        other => panic!("{other:?}"),
    });
    bytes.collect::<Vec<_>>().concat()
}

/// Returns what goes out if `input` comes in pieces that end at `cuts`.
fn split(rewrite: &Arc<Rewrite>, input: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut book = Playbook::of(Stages::default().before_hook(RewriteStage::new(Arc::clone(rewrite))));
    let mut at = 0;
    for cut in cuts {
        if *cut > at && *cut < input.len() {
            book.feed(Bytes::copy_from_slice(&input[at..*cut]));
            at = *cut;
        }
    }
    book.finish(Bytes::copy_from_slice(&input[at..]));
    let actions = book.take_actions();
    assert_eq!(actions.last(), Some(&Action::Fin));
    bytes(actions)
}

#[test]
fn bytes_that_cannot_begin_a_match_go_on_at_once() {
    let mut book = book(literal(&[("secret", "******")]));
    book.feed("no s").expect([write(b"no ")]);
    book.feed("uch thing").expect([write(b"such thing")]);
    book.feed("a sec").expect([write(b"a ")]).feed("ret!").expect([write(b"******!")]);
    book.finish("se").expect([write(b"se"), Action::Fin]);
}

#[test]
fn bytes_that_may_begin_a_match_wait_no_longer_than_they_are_held() {
    let mut book = book(literal(&[("secret", "x")]));
    let (part, hold) = (Duration::from_millis(1), HOLD_OF_TEST);
    book.feed("is").expect([write(b"i")]).pass(hold - part).expect([]).pass(part).expect([write(b"s")]);
    // Each read lets them wait anew.
    book.feed("se").pass(hold - part).feed("cre").expect([]).pass(hold - part).feed("t.").expect([write(b"x.")]);
    book.pass(2 * hold).expect([]);
}

const HOLD_OF_TEST: Duration = crate::inspect::filters::rewrite::HOLD;

#[test]
fn what_may_still_grow_waits_and_what_is_final_does_not() {
    let mut book = book(expression("[0-9]+", "N"));
    book.feed("a12").expect([write(b"a")]).feed("3b").expect([write(b"Nb")]).feed("4").pass(HOLD_OF_TEST).expect([write(b"N")]);
    let mut lazy = book_of_lazy();
    lazy.feed("a<b").expect([write(b"a")]).feed(">c").expect([write(b"c")]).feed("<d>").expect([]);
    lazy.finish("e").expect([write(b"e"), Action::Fin]);
}

#[test]
fn only_so_many_matches_are_replaced_as_were_asked_for() {
    let mut book = book(Rewrite { count: Some(2), ..literal(&[("a", "bb")]) });
    book.feed("aXa").expect([write(b"bbXbb")]).feed("aaa").expect([write(b"aaa")]).finish("").expect([Action::Fin]);
}

#[test]
fn what_was_put_in_place_is_not_looked_at_again() {
    book(literal(&[("a", "b"), ("b", "a")])).finish("abba").expect([write(b"baab"), Action::Fin]);
    book(literal(&[("a", "aa")])).finish("aa").expect([write(b"aaaa"), Action::Fin]);
}

#[test]
fn an_assertion_sees_the_bytes_on_both_sides_also_in_other_reads() {
    let rewrite = Arc::new(expression(r"\bcat\b|^dog|(?m)$x", "-"));
    for (input, expected) in [("cat cats", "- cats"), ("dog dog", "- dog"), ("bobcat", "bobcat"), ("a cat", "a -")] {
        for first in 0..input.len() {
            for second in first..input.len() {
                assert_eq!(split(&rewrite, input.as_bytes(), &[first, second]), expected.as_bytes(), "{input} {first} {second}");
            }
        }
    }
}

#[test]
fn a_match_that_is_longer_than_the_window_is_none_and_memory_is_bounded() {
    let window = crate::matching::expression::WINDOW;
    let mut book = book(expression("(?s)<.+>", "-"));
    let mut input = b"<".to_vec();
    input.extend(std::iter::repeat_n(b'x', 4 * window));
    for piece in input.chunks(1000) {
        book.feed(Bytes::copy_from_slice(piece));
        assert!(book.kept() <= 2 * (window + 1000), "{}", book.kept());
    }
    book.finish(">");
    input.push(b'>');
    assert!(bytes(book.take_actions()) == input);
}

#[test]
fn many_bytes_out_of_few_are_made_as_they_are_taken() {
    let new: &'static str = Box::leak("y".repeat(10_000).into_boxed_str());
    let mut book = book(literal(&[("x", new)]));
    book.finish("x".repeat(1000));
    let actions = book.take_actions();
    let longest = actions.iter().map(|action| if let Action::Write(bytes) = action { bytes.len() } else { 0 }).max();
    assert!(longest.is_some_and(|longest| longest < ENOUGH + 10_000), "{longest:?}");
    assert_eq!(bytes(actions).len(), 10_000_000);
}

#[test]
fn a_stage_that_is_taken_out_hands_on_what_it_keeps() {
    let mut stage = RewriteStage::new(Arc::new(literal(&[("secret", "x")])));
    let mut out = Outbox::default();
    assert!(matches!(stage.feed(Bytes::from("a secre").into(), End::Open, &mut out), Progress::Moved));
    let released: Vec<_> = stage.release().iter().map(|bytes| bytes.to_vec()).collect();
    assert_eq!((released, stage.held(), stage.kept()), (vec![b"secre".to_vec()], 0, 0));
}

#[test]
fn the_figures_say_what_came_and_what_went() {
    let mut stage = RewriteStage::new(Arc::new(literal(&[("ab", "xyz")])));
    let mut out = Outbox::default();
    assert!(matches!(stage.feed(Bytes::from("1ab2ab3").into(), End::Finished, &mut out), Progress::Moved));
    assert_eq!(out.take_figures(), (6, 4));
}

fn framed(rewrite: Rewrite, framer: impl crate::inspect::framing::Framer + 'static) -> Playbook {
    let mut book = book(rewrite);
    let framer = MessageStage::new(Box::new(framer), FramingRules::default(), 1, Direction::ToUpstream);
    book.set_framer(Some(framer), 0);
    book
}

#[test]
fn messages_are_rewritten_one_by_one_and_nothing_waits() {
    let mut book = framed(literal(&[("end\nbegin", "never"), ("secret", "x")]), Lines);
    book.feed("end\nbegin\nsecr").expect([write(b"end\nbegin\n")]);
    book.feed("et\ns\n").expect([write(b"x\n"), write(b"s\n")]);
    book.finish("sec").expect([write(b"sec"), Action::Fin]);
    let mut whole = framed(expression("^a|b$", "-"), Lines);
    whole.feed("aab\n").expect([write(b"-ab\n")]);
}

#[test]
fn the_length_field_of_a_message_says_its_new_length() {
    let framer = LengthPrefixed::new(2, 0, ByteOrder::Big, 0).expect("a field");
    let mut book = framed(literal(&[("secret", "x")]), framer);
    book.feed(&b"\0\x08a secret\0\x01b"[..]).expect([write(b"\0\x03a x"), write(b"\0\x01b")]);
    let long: &'static str = Box::leak("y".repeat(70_000).into_boxed_str());
    let mut book = framed(literal(&[("b", long)]), framer);
    book.feed(&b"\0\x01b"[..]).expect([Action::Fail(CloseReason::MessageTooLong)]);
}

#[test]
fn wherever_a_stream_is_split_its_rewriting_is_that_of_the_whole() {
    let rules = || prop_oneof![Just(0_usize), Just(1), Just(2), Just(3), Just(4), Just(5), Just(6), Just(7), Just(8),];
    let expressions = ["a+b", "(a|bc)+?c", "a.*?c", "(?s)b[^c]*", r"\ba", "c$|ab", "(?m)^a", "abc|ab|b", "[ab]{2,4}"];
    let made: Vec<_> = expressions.iter().map(|pattern| (Arc::new(expression(pattern, r"<\g<0>>")), *pattern)).collect();
    let inputs = proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c'), Just(b'\n'), Just(b' ')], 0..40);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let cases = (rules(), inputs, proptest::collection::vec(0_usize..40, 0..6));
    let checked = runner.run(&cases, |(number, input, mut cuts)| {
        cuts.sort_unstable();
        let (rewrite, pattern) = &made[number];
        let regex = regex::bytes::RegexBuilder::new(pattern).unicode(false).build().expect("an expression");
        let expected = regex.replace_all(&input, &b"<$0>"[..]);
        prop_assert_eq!(split(rewrite, &input, &cuts), &expected[..], "{}", pattern);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn wherever_a_stream_is_split_its_literals_are_those_of_the_whole() {
    let sets: [&[(&str, &str)]; 5] = [
        &[("aab", "1")],
        &[("abab", "2"), ("ba", "3")],
        &[("a", "4"), ("ab", "5"), ("abc", "6")],
        &[("abc", ""), ("bca", "7"), ("c", "8")],
        &[("aaaa", "b")],
    ];
    let made: Vec<_> = sets.iter().map(|pairs| Arc::new(literal(pairs))).collect();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let inputs = proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')], 0..30);
    let checked = runner.run(&(0_usize..5, inputs, proptest::collection::vec(0_usize..30, 0..6)), |(number, input, mut cuts)| {
        cuts.sort_unstable();
        let expected = plainly(sets[number], &input);
        prop_assert_eq!(split(&made[number], &input, &cuts), expected, "{:?}", sets[number]);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

/// Replaces as a reader would: at each place the longest that begins there.
fn plainly(pairs: &[(&str, &str)], input: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < input.len() {
        let begins = pairs.iter().filter(|(old, _)| input[at..].starts_with(old.as_bytes()));
        match begins.max_by_key(|(old, _)| old.len()) {
            Some((old, new)) => {
                out.extend_from_slice(new.as_bytes());
                at += old.len();
            }
            None => {
                out.push(input[at]);
                at += 1;
            }
        }
    }
    out
}

fn book_of_lazy() -> Playbook {
    book(expression("(?s)<.*?>", ""))
}
