//! Lines of text.

use memchr::memchr;

use super::framer::{Broken, Cut, Framer};

/// Messages that end with a line feed, as telnet-like protocols have them. A carriage return before it stays in the message,
/// like the line feed itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines;

impl Framer for Lines {
    fn protocol(&self) -> &'static str {
        "lines"
    }

    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
        Ok(memchr(b'\n', &buffer[seen..]).map_or(Cut::MORE, |place| Cut::Message(seen + place + 1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        inspect::framing::testing::{
            Part, every_split,
            garbage::{garbage_is_harmless, holds, parts, sizes},
            messages, rest,
        },
        words::direction::Direction::ToClient,
    };

    #[test]
    fn lines_keep_their_ends_wherever_the_stream_is_split() {
        let mut expected = messages([&b"EHLO a\r\n"[..], b"\r\n", b"\n", b"MAIL FROM:<b>\n"]);
        expected.push(rest(b"more\r"));
        every_split(&Lines, b"EHLO a\r\n\r\n\nMAIL FROM:<b>\nmore\r", &expected);
    }

    #[test]
    fn lines_equal_those_that_the_standard_library_splits() {
        let text = vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..100);
        holds((text, sizes()), |(text, sizes)| {
            let mut expected = messages(text.split_inclusive(|byte| *byte == b'\n'));
            if let Some(Part::Message(last)) = expected.pop_if(|_| text.last() != Some(&b'\n')) {
                expected.push(rest(last));
            }
            assert_eq!(parts(&Lines, ToClient, &text, &sizes), expected);
        });
        garbage_is_harmless(&Lines, b"a line\r\nanother\n");
    }

    /// All calls for one line take time in proportion to its length.
    #[test]
    fn bytes_that_were_seen_are_not_scanned_again() {
        assert_eq!(Lines.cut(b"\n\nab", 2), Ok(Cut::MORE));
        assert_eq!(Lines.cut(b"\n\nab\n", 4), Ok(Cut::Message(5)));
    }
}
