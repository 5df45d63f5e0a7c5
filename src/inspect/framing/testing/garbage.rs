//! Properties of framers, with random streams. A case that breaks one is made smaller while it still does.

use std::fmt::Debug;

use proptest::{collection::vec, prelude::*, sample::Index, test_runner};

use super::{Part, parts_of_turns};
use crate::{
    inspect::framing::spec::Framing,
    words::direction::{Both, Direction},
};

/// Panics with the smallest case that was found for which `test` panics. The cases are the same in every run;
/// `INTERPOSE_CASES=10000` tries as many.
#[track_caller]
pub(crate) fn holds<S: Strategy>(strategy: S, test: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let cases = std::env::var("INTERPOSE_CASES").map_or(256, |cases| cases.parse().expect("a number"));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let random_numbers = test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = test_runner::TestRunner::new_with_rng(config, random_numbers);
    let tried = runner.run(&strategy, |case| {
        test(case);
        Ok(())
    });
    assert!(tried.is_ok(), "{}", tried.err().map(|error| error.to_string()).unwrap_or_default());
}

/// Returns the parts of a stream of one direction that comes in pieces of these sizes, one after another and from the
/// beginning again.
pub(crate) fn parts(framing: &dyn Framing, direction: Direction, stream: &[u8], sizes: &[usize]) -> Vec<Part> {
    let mut places: Vec<usize> = Vec::new();
    for size in sizes.iter().cycle().take(stream.len()) {
        places.push(places.last().unwrap_or(&0) + size);
    }
    let Both { to_upstream, to_client } = parts_of_turns(framing, &[(direction, stream)], &places);
    if direction == Direction::ToUpstream { to_upstream } else { to_client }
}

/// Returns sizes of pieces, at least one.
pub(crate) fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1..20_usize, 1..8)
}

/// Expects of random bytes, and of `sample` with a few bytes changed, that no framer panics, that the pieces in which they
/// come change nothing, and that each byte up to a fault is in a part.
#[track_caller]
pub(crate) fn garbage_is_harmless(framing: &dyn Framing, sample: &[u8]) {
    let nearly = vec((any::<Index>(), any::<u8>()), 0..4).prop_map(|changes| {
        let mut stream = sample.to_vec();
        changes.into_iter().for_each(|(place, byte)| stream[place.index(sample.len())] = byte);
        stream
    });
    holds((prop_oneof![vec(any::<u8>(), 0..60), nearly], sizes()), |(stream, sizes)| {
        for direction in Direction::ALL {
            let whole = parts(framing, direction, &stream, &[stream.len().max(1)]);
            assert_eq!(parts(framing, direction, &stream, &sizes), whole);
            let lengths = whole.iter().map(|part| match part {
                Part::Message(bytes) | Part::Rest(bytes) => bytes.len(),
                Part::Broken(..) => 0,
            });
            let (cut, broken) = (lengths.sum::<usize>(), matches!(whole.last(), Some(Part::Broken(..))));
            assert!(cut == stream.len() || broken && cut < stream.len(), "{cut} of {} bytes", stream.len());
        }
    });
}
