//! Fuzzes the rewriting of streams: an expression, its replacement and a stream.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/core/rewriting/properties.rs"]
mod properties;

fuzz_target!(|case: &[u8]| properties::check(case));
