//! Fuzzes the framer that the environment variable FRAMER names, with conversations.

#![no_main]

use std::sync::{Arc, OnceLock};

use interpose::inspect::framing::Framing;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/core/framers/properties.rs"]
mod properties;

static FRAMING: OnceLock<Arc<dyn Framing>> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("FRAMER").unwrap_or_else(|_| panic!("FRAMER is not set; it is {}", properties::NAMES.join(", ")));
        let _ = FRAMING.set(properties::framing(&name));
    },
    |conversation: &[u8]| {
        if let Some(framing) = FRAMING.get() {
            properties::check(&**framing, conversation);
        }
    }
);
