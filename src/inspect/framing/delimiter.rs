//! Messages that end with a delimiter of the user's choice.

use std::{fmt, sync::Arc};

use memchr::memmem::Finder;

use super::framer::{Broken, Cut, Framer};
use crate::words::error::{Error, ErrorKind};

/// Messages that end with one sequence of bytes, which stays in the message.
#[derive(Clone)]
pub struct Delimited {
    /// Built once for all connections.
    finder: Arc<Finder<'static>>,
}

impl Delimited {
    /// Returns the framing by `delimiter`, of any length but 0.
    ///
    /// A delimiter that overlaps with itself ends a message at the first place where it is complete.
    pub fn new(delimiter: &[u8]) -> Result<Self, Error> {
        if delimiter.is_empty() {
            let message = "delimited: the delimiter is empty, so no message would ever end: try b\"\\n\" or b\"\\r\\n\"";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self { finder: Arc::new(Finder::new(delimiter).into_owned()) })
    }
}

impl fmt::Debug for Delimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delimited(\"{}\")", self.finder.needle().escape_ascii())
    }
}

impl Framer for Delimited {
    fn protocol(&self) -> &'static str {
        "delimited"
    }

    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
        let length = self.finder.needle().len();
        // A delimiter may have begun before the border between what was seen and what is new.
        let from = seen.saturating_sub(length - 1);
        Ok(self.finder.find(&buffer[from..]).map_or(Cut::MORE, |place| Cut::Message(from + place + length)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        inspect::framing::testing::{
            every_split,
            garbage::{garbage_is_harmless, holds, parts, sizes},
            messages, rest,
        },
        words::direction::Direction::ToUpstream,
    };

    #[test]
    fn a_delimiter_of_any_length_is_found_across_the_edges_of_chunks() {
        let check = |delimiter: &[u8], whole: &[&[u8]], behind: &[u8]| {
            let expected = [messages(whole), vec![rest(behind)]].concat();
            every_split(&Delimited::new(delimiter).unwrap(), &[&whole.concat(), behind].concat(), &expected);
        };
        check(b"\0", &[b"a\0", b"\0"], b"b");
        check(b"\r\n", &[b"a\r\r\n", b"b\n\r\n"], b"\r");
        check(b"\r\n.\r\n", &[b"a\r\n\r\n.\r\n"], b".\r\n");
        check(b"aa", &[b"aa"], b"a");
        check(b"abab", &[b"abab"], b"ab");
        check(b"aab", &[b"aaaab", b"aab"], b"aa");
    }

    #[test]
    fn messages_equal_those_of_a_plain_search() {
        let few = |sizes| vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'\n')], sizes);
        holds((few(1..5), few(0..60), sizes()), |(delimiter, stream, sizes)| {
            let (mut expected, mut behind) = (Vec::new(), &stream[..]);
            while let Some(place) = behind.windows(delimiter.len()).position(|window| window == delimiter) {
                let (message, more) = behind.split_at(place + delimiter.len());
                expected.extend(messages([message]));
                behind = more;
            }
            expected.extend((!behind.is_empty()).then(|| rest(behind)));
            assert_eq!(parts(&Delimited::new(&delimiter).unwrap(), ToUpstream, &stream, &sizes), expected);
        });
        garbage_is_harmless(&Delimited::new(b"\r\n").unwrap(), b"one\r\ntwo\r\n");
    }

    /// All calls for one message take time in proportion to its length.
    #[test]
    fn bytes_that_were_seen_are_not_scanned_again() {
        let mut framer = Delimited::new(b"\r\n").unwrap();
        assert_eq!(framer.cut(b"\r\nab\r", 4), Ok(Cut::MORE));
        assert_eq!(framer.cut(b"\r\nab\r\n", 5), Ok(Cut::Message(6)));
    }

    #[test]
    fn an_empty_delimiter_is_refused_with_a_way_out() {
        let error = Delimited::new(b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("try b\"\\n\""), "{error}");
    }
}
