//! What holds for all bytes that are read as a certificate. The fuzzer uses this file too.

use interpose::{wire::certificate::Certificate, words::error::printable};

/// Maximum characters that one byte becomes: an escape has ten, and separators stand between the parts.
const MOST_OF_A_BYTE: usize = 16;

/// Panics unless what is read of the bytes is bounded by them, and does nothing to a terminal.
pub fn check(bytes: &[u8]) {
    let Some(found) = Certificate::read(bytes) else { return };
    assert_eq!(Certificate::read(bytes).as_ref(), Some(&found));
    let texts = found.names.iter().chain([&found.subject, &found.issuer]);
    let shown: usize = texts.clone().map(String::len).sum();
    assert!(shown <= MOST_OF_A_BYTE * bytes.len(), "it keeps {shown} bytes of {}", bytes.len());
    assert!(found.names.len() <= 256, "it has {} names", found.names.len());
    for text in texts {
        assert_eq!(&printable(text), text);
    }
}
