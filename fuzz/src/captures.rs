//! Fuzzes the reader of captures, and the connections of what it reads.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/core/captures/properties.rs"]
mod properties;

fuzz_target!(|file: &[u8]| properties::check(file));
