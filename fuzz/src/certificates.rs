//! Fuzzes the reader of certificates.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/core/certificates/properties.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::check(bytes));
