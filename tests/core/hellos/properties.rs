//! What holds for the first bytes of every client, be they a hello or not. The fuzzer uses this file too.

use interpose::wire::hello::{ClientHello, MOST, reader::Reader, refusal::Refusal};

/// Returns what is found in bytes that come in pieces of these sizes, in a circle, and the number of those that were needed.
pub fn read(bytes: &[u8], sizes: &[usize]) -> (Result<Option<ClientHello>, Refusal>, usize) {
    let (mut reader, mut taken) = (Reader::default(), 0);
    for size in sizes.iter().cycle() {
        let piece = &bytes[taken..(taken + size).min(bytes.len())];
        taken += piece.len();
        match reader.push(piece) {
            Ok(None) if taken < bytes.len() => {}
            found => return (found, taken),
        }
    }
    unreachable!("sizes are in a circle")
}

/// Panics unless the bytes are read alike in whatever pieces they come, and within the bounds.
pub fn check(bytes: &[u8]) {
    let (whole, _) = read(bytes, &[bytes.len().max(1)]);
    for sizes in [&[1][..], &[3], &[5, 4, 1], &[7, 1000]] {
        let (split, taken) = read(bytes, sizes);
        assert_eq!(split, whole, "in pieces of {sizes:?}");
        assert!(taken <= MOST + sizes.iter().max().unwrap(), "it waits for more than {MOST} bytes");
    }
    if let Ok(Some(hello)) = whole {
        // All lists of it are parts of the message.
        let protocols: usize = hello.alpn().map(|name| name.len() + 1).sum();
        let listed = 2 * (hello.cipher_suites.len() + hello.versions.len()) + protocols;
        assert!(listed <= bytes.len(), "it keeps {listed} bytes of {}", bytes.len());
        if let Some(name) = &hello.server_name {
            let name = name.as_str();
            assert!((1..=253).contains(&name.len()) && name.is_ascii() && !name.ends_with('.'), "{name:?}");
            assert_eq!(name, name.to_ascii_lowercase());
        }
        let print = hello.ja4();
        assert!(print.len() == 36 && print.is_ascii(), "{print}");
    }
}
