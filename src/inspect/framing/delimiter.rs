//! Messages that end with a delimiter of the user's choice.

use std::{fmt, sync::Arc};

use memchr::memmem::Finder;

use super::framer::{Broken, Cut, Framer};
use crate::words::error::{Error, ErrorKind};

/// Messages that end with one sequence of bytes, which stays in the message.
#[derive(Clone)]
pub struct Delimited {
    /// Built once for all connections.
    delimiter: Arc<Delimiter>,
    /// The number of bytes at the end of what was seen that may begin the delimiter.
    begun: usize,
}

struct Delimiter {
    finder: Finder<'static>,
    /// For each length of a beginning of the delimiter: the length of the longest shorter beginning with which that one ends.
    /// Where the delimiter does not go on behind the one, it may behind the other (the table of Knuth, Morris and Pratt).
    borders: Box<[usize]>,
}

impl Delimiter {
    fn new(delimiter: &[u8]) -> Self {
        let mut made = Self { finder: Finder::new(delimiter).into_owned(), borders: vec![0; delimiter.len() + 1].into() };
        for length in 2..=delimiter.len() {
            made.borders[length] = made.go_on(made.borders[length - 1], delimiter[length - 1]);
        }
        made
    }

    fn bytes(&self) -> &[u8] {
        self.finder.needle()
    }

    /// Returns the number of bytes that may begin the delimiter behind `begun` such bytes and `byte`.
    fn go_on(&self, mut begun: usize, byte: u8) -> usize {
        loop {
            if self.bytes()[begun] == byte {
                return begun + 1;
            }
            if begun == 0 {
                return 0;
            }
            begun = self.borders[begun];
        }
    }
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
        Ok(Self { delimiter: Arc::new(Delimiter::new(delimiter)), begun: 0 })
    }
}

impl fmt::Debug for Delimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delimited(\"{}\")", self.delimiter.bytes().escape_ascii())
    }
}

impl Framer for Delimited {
    fn protocol(&self) -> &'static str {
        "delimited"
    }

    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
        let length = self.delimiter.bytes().len();
        let begun = if seen == 0 { 0 } else { self.begun };
        if buffer.len() - seen < length {
            // A search would read as many bytes again as the delimiter has, however few are new.
            return Ok(self.follow(buffer, seen, begun));
        }
        // A delimiter may have begun before the border between what was seen and what is new.
        let from = seen - begun;
        match self.delimiter.finder.find(&buffer[from..]) {
            Some(place) => Ok(Cut::Message(from + place + length)),
            None => Ok(self.follow(buffer, buffer.len() - (length - 1), 0)),
        }
    }
}

impl Delimited {
    /// Reads `buffer` from the index `from` on, before which `begun` bytes may begin the delimiter.
    fn follow(&mut self, buffer: &[u8], from: usize, begun: usize) -> Cut {
        self.begun = begun;
        for (index, byte) in buffer.iter().enumerate().skip(from) {
            self.begun = self.delimiter.go_on(self.begun, *byte);
            if self.begun == self.delimiter.bytes().len() {
                return Cut::Message(index + 1);
            }
        }
        Cut::MORE
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
            work::seen_bytes_are_not_read_again,
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

    /// All calls for one message take time in proportion to its length, whatever the delimiter is.
    #[test]
    fn bytes_that_were_seen_are_not_read_again() {
        for delimiter in [&b"\0"[..], b"\r\n", b"--a-twenty-byte-mark", b"aaaaaaaaaaaaaaaaaaab", b"abaabaabaabaabaabaac"] {
            let almost = [&delimiter[..delimiter.len() - 1], b"."].concat().repeat(2000 / delimiter.len());
            let message = [&almost, delimiter].concat();
            seen_bytes_are_not_read_again(&Delimited::new(delimiter).unwrap(), ToUpstream, &message, delimiter);
        }
    }

    #[test]
    fn an_empty_delimiter_is_refused_with_a_way_out() {
        let error = Delimited::new(b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("try b\"\\n\""), "{error}");
    }
}
