//! Writes Content-Length.

use std::ops::Range;

use bytes::Bytes;
use httparse::{EMPTY_HEADER, Status};
use memchr::{memchr, memmem};

use super::head::{MOST_FIELDS, index_in, number};
use crate::inspect::framing::length_field::{LengthField, TooLong};

/// The Content-Length of the messages that have one.
#[derive(Debug)]
pub(super) struct ContentLength;

impl LengthField for ContentLength {
    /// Returns `instead` with every Content-Length of its head set for the body behind it. No body is too long to say.
    ///
    /// It is returned as it is if it has no such field (its body is chunked, or lasts until the close), and in place of a
    /// message that came without the body of which its head speaks: a request that waits with its body, or an answer to HEAD.
    fn set(&self, message: &[u8], instead: Bytes) -> Result<Bytes, TooLong> {
        let (Some(before), Some(after)) = (Lengths::of(message), Lengths::of(&instead)) else { return Ok(instead) };
        let came_without = before.body == 0 && (before.differ_from(0) || after.body == 0);
        if came_without || after.chunked || !after.differ_from(after.body as u64) {
            return Ok(instead);
        }
        Ok(after.corrected(&instead).into())
    }
}

/// The Content-Length fields of a message, and the length that its body has.
struct Lengths {
    /// The place of each value, and the number that it says.
    values: Vec<(Range<usize>, Option<u64>)>,
    /// True if there is a Transfer-Encoding, beside which no Content-Length may stand.
    chunked: bool,
    body: usize,
}

impl Lengths {
    /// Reads a message. None if it does not begin with a head.
    fn of(message: &[u8]) -> Option<Self> {
        let start = message.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let end = start + memmem::find(&message[start..], b"\r\n\r\n")? + 4;
        let fields_at = start + memchr(b'\n', &message[start..end])? + 1;
        memmem::find(&message[start..fields_at], b"HTTP/1.")?;
        let mut space = [EMPTY_HEADER; MOST_FIELDS];
        let Ok(Status::Complete((_, fields))) = httparse::parse_headers(&message[fields_at..end], &mut space) else {
            return None;
        };
        let mut lengths = Self { values: Vec::new(), chunked: false, body: message.len() - end };
        for field in fields {
            if field.name.eq_ignore_ascii_case("content-length") {
                let at = index_in(message, field.value);
                lengths.values.push((at..at + field.value.len(), list_number(field.value)));
            }
            lengths.chunked |= field.name.eq_ignore_ascii_case("transfer-encoding");
        }
        Some(lengths)
    }

    /// Returns true if there is a field, and one that does not say `length`.
    fn differ_from(&self, length: u64) -> bool {
        self.values.iter().any(|(_, said)| *said != Some(length))
    }

    /// Returns `message`, of which these are the fields, with all of them set.
    fn corrected(&self, message: &[u8]) -> Vec<u8> {
        let length = self.body.to_string();
        let mut corrected = Vec::with_capacity(message.len() + length.len() * self.values.len());
        let mut copied = 0;
        for (place, _) in &self.values {
            corrected.extend_from_slice(&message[copied..place.start]);
            corrected.extend_from_slice(length.as_bytes());
            copied = place.end;
        }
        corrected.extend_from_slice(&message[copied..]);
        corrected
    }
}

/// Returns the number that every element of a list says.
fn list_number(value: &[u8]) -> Option<u64> {
    let mut numbers = value.split(|byte| *byte == b',').map(|element| number(element.trim_ascii()));
    let first = numbers.next()??;
    numbers.all(|other| other == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text that goes out when a hook answers `instead` of `message`.
    fn sent(message: &str, instead: &str) -> String {
        let set = ContentLength.set(message.as_bytes(), Bytes::from(instead.to_owned())).unwrap();
        String::from_utf8(set.to_vec()).unwrap()
    }

    const TWO: &str = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn a_body_of_another_length_has_its_length_in_the_head() {
        let longer = "POST /b HTTP/1.1\r\ncontent-length: 2 \r\nA: b\r\n\r\nhello, world";
        assert_eq!(sent(TWO, longer), "POST /b HTTP/1.1\r\ncontent-length: 12 \r\nA: b\r\n\r\nhello, world");
        let shorter = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
        assert_eq!(sent("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", shorter), shorter.replace("100", "0"));
        let twice = "\r\nPOST / HTTP/1.1\r\nContent-Length: 2, 2\r\nContent-Length:2\r\n\r\nfour";
        let set = "\r\nPOST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length:4\r\n\r\nfour";
        assert_eq!(sent(TWO, twice), set);
        let first = "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(sent(first, &format!("{first}body")), format!("{first}body").replace(": 0", ": 4"));
    }

    #[test]
    fn a_head_that_is_right_is_the_same_memory() {
        let instead = Bytes::from_static(b"PUT /other HTTP/1.1\r\nX: y\r\nContent-Length: 2\r\n\r\nhi");
        let set = ContentLength.set(TWO.as_bytes(), instead.clone()).unwrap();
        assert_eq!((set.as_ptr(), set.len()), (instead.as_ptr(), instead.len()));
    }

    #[test]
    fn a_list_of_equal_lengths_that_are_right_stays_as_it_is() {
        let list = TWO.replace(": 2", ": 2, 02");
        assert_eq!(sent(&list, &list), list);
    }

    #[test]
    fn a_head_that_came_without_its_body_keeps_its_length() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
        let edited = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nX: y\r\n\r\n";
        assert_eq!(sent(head, edited), edited);
        assert_eq!(sent("HTTP/1.1 200 OK\r\n\r\n", head), head);
    }

    #[test]
    fn what_has_no_length_in_its_head_is_sent_as_it_is() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let both = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n";
        let none = "HTTP/1.0 200 OK\r\n\r\nall that comes";
        for instead in [chunked, both, none, "no head", "", "\r\n", "SMTP\r\nContent-Length: 5\r\n\r\nbody"] {
            assert_eq!(sent(TWO, instead), instead);
        }
        // The body behind a head that was a message of its own.
        assert_eq!(
            sent("hi", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi"),
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi"
        );
    }
}
