//! What holds for each plaintext dialogue, be there a hello in it or not. The fuzzer uses this file too.

use interpose::wire::{hello::MOST, starttls::detector::Detector};

/// What has become of a client's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub passed: Vec<u8>,
    pub kept: Vec<u8>,
    pub has_hello: bool,
}

/// Splits bytes into words, of the client and of its server: each begins with a byte of which the highest bit is the server's,
/// and the others are the length.
fn words(mut bytes: &[u8]) -> Vec<(bool, &[u8])> {
    let mut words = Vec::new();
    while let Some((head, rest)) = bytes.split_first() {
        let (word, behind) = rest.split_at(usize::from(head & 127).min(rest.len()));
        words.push((head & 128 != 0, word));
        bytes = behind;
    }
    words
}

/// Plays a dialogue whose words come in pieces of these sizes, in a circle.
pub fn play(bytes: &[u8], sizes: &[usize]) -> Outcome {
    let (mut detector, mut outcome, mut sizes) = (Detector::default(), Outcome::default(), sizes.iter().cycle());
    // Of a client whose hello is whole no more is read before it is known what becomes of that.
    let mut unread = Vec::new();
    for (is_server, mut word) in words(bytes) {
        while !word.is_empty() {
            let (piece, behind) = word.split_at(word.len().min(*sizes.next().unwrap()));
            word = behind;
            let plain = if is_server { detector.server(piece) } else { 0 };
            outcome.passed.extend(outcome.kept.drain(..plain));
            if !is_server {
                unread.extend(piece);
            } else if !word.is_empty() {
                // Nothing of the client is read within words of its server.
                continue;
            }
            if detector.is_plain() {
                // What came behind a hello that was refused.
                unread.splice(..0, outcome.kept.drain(..));
            }
            if !detector.holds_hello() && !unread.is_empty() {
                outcome.kept.extend(&unread);
                let plain = detector.client(&std::mem::take(&mut unread));
                outcome.passed.extend(outcome.kept.drain(..plain));
            }
            let is_kept = detector.is_in_doubt() || detector.has_hello();
            assert_eq!(outcome.kept.is_empty(), !is_kept, "bytes are kept for a hello, and only for one");
            assert!(detector.holds_hello() || outcome.kept.len() <= MOST, "it waits for more than {MOST} bytes");
        }
    }
    outcome.kept.extend(unread);
    outcome.has_hello = detector.has_hello();
    outcome
}

/// Panics unless the dialogue comes out alike in whatever pieces it comes, and no byte of the client is lost.
pub fn check(bytes: &[u8]) {
    let whole = play(bytes, &[128]);
    let sent: Vec<u8> =
        words(bytes).into_iter().filter(|(is_server, _)| !is_server).flat_map(|(_, word)| word.to_vec()).collect();
    assert!([&whole.passed[..], &whole.kept].concat() == sent, "bytes are lost, or have changed places");
    for sizes in [&[1][..], &[3], &[5, 4, 1], &[7, 100]] {
        assert!(play(bytes, sizes) == whole, "in pieces of {sizes:?}");
    }
}
