//! Rewriting of streams: wherever they are split, they are rewritten alike.

use std::fs;

use proptest::{collection::vec, prelude::*, sample::select};

use crate::support::property::Property;

mod properties;

use properties::{PART, check};

const PIECES: [&str; 14] =
    ["a", "b", "[ab]", ".", "a+", "b?", "(ab|b)", "(?:a|ab)", "a.*?b", r"\b", "$", "^", r"[^a\n]{2,3}", "b*"];
const WORDS: [&str; 6] = ["a", "b", "ab", "ba", "\n", " "];

#[test]
fn samples_are_rewritten_alike_wherever_they_are_split() {
    let samples = fs::read_dir("tests/core/rewriting/samples").expect("samples");
    let count = samples.map(|sample| check(&fs::read(sample.expect("a sample").path()).expect("it can be read"))).count();
    assert!(count >= 4, "{count} samples");
}

#[test]
fn random_streams_are_rewritten_alike_wherever_they_are_split() {
    let cases = || {
        (vec(select(&PIECES[..]), 1..5), vec(select(&WORDS[..]), 0..40)).prop_map(|(pattern, words)| {
            [pattern.concat().as_bytes(), PART, b"<\\g<0>>", PART, words.concat().as_bytes()].concat()
        })
    };
    Property { cases: 400, threads: 2 }.holds(cases, |case| check(&case));
}
