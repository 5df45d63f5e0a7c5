//! Properties: what holds for every random case. One that breaks it is made smaller while it still does, and printed.
//!
//! The cases are the same in every run. `INTERPOSE_CASES=10000` tries as many of each property, `INTERPOSE_SEED=7` others.

use std::{ops::RangeInclusive, thread};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// How a property is tried.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    pub cases: u32,
    /// Threads that try cases at the same time: most of a case is waiting.
    pub threads: u32,
}

impl Property {
    /// Panics with the smallest case that was found for which `test` panics.
    pub fn holds<S: Strategy>(self, strategy: impl Fn() -> S + Sync, test: impl Fn(S::Value) + Sync) {
        let cases = number_from("INTERPOSE_CASES").unwrap_or(self.cases).div_ceil(self.threads);
        // A case that hangs takes as long as the deadline of its peers, so the search for smaller ones has an end.
        let config = Config { cases, failure_persistence: None, max_shrink_time: 120_000, ..Config::default() };
        let try_cases = &|number| {
            let mut runner = TestRunner::new_with_rng(config.clone(), random_numbers(number));
            let tried = runner.run(&strategy(), |case| {
                test(case);
                Ok(())
            });
            tried.err().map(|error| error.to_string())
        };
        let broken = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|number| scope.spawn(move || try_cases(number))).collect();
            threads.into_iter().find_map(|thread| thread.join().unwrap())
        });
        assert!(broken.is_none(), "{}", broken.unwrap_or_default());
    }
}

/// The numbers of one thread.
fn random_numbers(thread: u32) -> TestRng {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&thread.to_le_bytes());
    seed[4..8].copy_from_slice(&number_from("INTERPOSE_SEED").unwrap_or(0).to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &seed)
}

/// Returns how often a case without random numbers is played: `INTERPOSE_ROUNDS=200` times, or once.
pub fn rounds() -> u32 {
    number_from("INTERPOSE_ROUNDS").unwrap_or(1)
}

fn number_from(variable: &str) -> Option<u32> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// Sizes from 1 to `most`: small ones are as likely as large ones.
pub fn sizes(most: usize) -> impl Strategy<Value = usize> {
    let up_to = |part: u32| -> RangeInclusive<usize> { 1..=(most >> (5 * part)).max(1) };
    prop_oneof![up_to(3), up_to(2), up_to(1), up_to(0)]
}

#[test]
fn a_property_that_does_not_hold_is_reported_with_a_small_case() {
    let failed = std::panic::catch_unwind(|| {
        let lists = || proptest::collection::vec(0..1000_u32, 0..50);
        Property { cases: 200, threads: 2 }.holds(lists, |list| assert!(list.iter().all(|number| *number < 700)));
    });
    let report = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(report.contains("minimal failing input: [\n    700,\n]"), "{report}");
}
