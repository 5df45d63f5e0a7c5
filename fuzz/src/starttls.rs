//! Fuzzes the detector of TLS that begins behind plaintext.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/core/starttls/properties.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::check(bytes));
