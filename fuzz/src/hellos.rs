//! Fuzzes the reader of TLS hellos.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/core/hellos/properties.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::check(bytes));
