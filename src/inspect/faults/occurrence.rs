//! The occurrences of a condition in a stream that comes in pieces.

use std::sync::Arc;

use super::condition::Condition;
use crate::matching::matcher::Matcher;

/// Finds the places in one direction at which a fault may strike.
#[derive(Debug)]
pub struct Search {
    after: u64,
    matcher: Option<Arc<Matcher>>,
    /// The number of bytes of the direction so far.
    offset: u64,
    /// The last bytes, which may begin a match.
    tail: Vec<u8>,
    /// True once the only occurrence of a condition without a matcher is over.
    is_over: bool,
}

impl Search {
    /// Returns the search of a direction of which `read` bytes have passed already.
    pub fn new(condition: &Condition, read: u64) -> Self {
        let matcher = condition.matcher.clone();
        Self { after: condition.after_bytes, matcher, offset: read, tail: Vec::new(), is_over: false }
    }

    /// Returns true if it is due without another byte.
    pub fn is_due(&self) -> bool {
        !self.is_over && self.matcher.is_none() && self.offset >= self.after
    }

    /// Takes bytes up to the next occurrence. Returns the number of bytes before it; None if it takes them all.
    pub fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.is_over {
            return None;
        }
        let Some(matcher) = &self.matcher else {
            let before = usize::try_from(self.after.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            if before > bytes.len() {
                self.offset += bytes.len() as u64;
                return None;
            }
            self.offset += before as u64;
            self.is_over = true;
            return Some(before);
        };
        let joined;
        let hay = if self.tail.is_empty() {
            bytes
        } else {
            joined = [&self.tail[..], bytes].concat();
            &joined
        };
        let (kept, start) = (self.tail.len(), self.offset - self.tail.len() as u64);
        let mut from = 0;
        while let Some(found) = matcher.find(hay, from) {
            let end = found.range.end;
            if end > kept && start + end as u64 > self.after {
                self.offset = start + end as u64;
                self.tail.clear();
                return Some(end - kept);
            }
            from = end;
        }
        self.offset += bytes.len() as u64;
        let first = matcher.undecided(hay, from).last().copied().unwrap_or(hay.len());
        let first = first.max(hay.len().saturating_sub(matcher.window()));
        self.tail = hay[first..].to_vec();
        None
    }

    /// Takes a message. Returns true if it is an occurrence.
    pub fn message(&mut self, message: &[u8]) -> bool {
        let start = self.offset;
        self.offset += message.len() as u64;
        start >= self.after && self.matcher.as_ref().is_none_or(|matcher| matcher.find(message, 0).is_some())
    }

    /// Returns the bytes of memory that it keeps.
    pub fn kept(&self) -> usize {
        self.tail.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::{expression::Expression, literals::Literals};

    fn all(condition: &Condition, pieces: &[&[u8]]) -> Vec<u64> {
        let mut search = Search::new(condition, 0);
        let (mut found, mut offset) = (Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            while let Some(before) = search.next(rest) {
                found.push(offset + before as u64);
                offset += before as u64;
                rest = &rest[before..];
            }
            offset += rest.len() as u64;
        }
        found
    }

    fn every_split(condition: &Condition, bytes: &[u8], expected: &[u64]) {
        for at in 0..=bytes.len() {
            assert_eq!(all(condition, &[&bytes[..at], &bytes[at..]]), expected, "cut at {at}");
        }
        let each: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(all(condition, &each), expected, "byte by byte");
    }

    #[test]
    fn matches_end_at_the_same_places_however_the_stream_is_cut() {
        let of = |matcher| Condition { matcher: Some(Arc::new(matcher)), ..Condition::default() };
        let literals = || Matcher::Literals(Literals::new(&["GET", "aab"]).unwrap());
        every_split(&of(literals()), b"GEGET aaab GETGET", &[5, 10, 14, 17]);
        every_split(&Condition { after_bytes: 10, ..of(literals()) }, b"GEGET aaab GETGET", &[14, 17]);
        let expression = Matcher::Expression(Box::new(Expression::new(b"q[0-9]{2}").unwrap()));
        every_split(&of(expression), b"q1q12 q999", &[5, 9]);
    }

    #[test]
    fn without_a_matcher_there_is_one_occurrence_behind_the_bytes() {
        for after in [0, 1, 4, 9] {
            every_split(&Condition { after_bytes: after, ..Condition::default() }, b"012345678", &[after]);
        }
        every_split(&Condition { after_bytes: 10, ..Condition::default() }, b"012345678", &[]);
    }

    #[test]
    fn messages_are_counted_from_the_byte_on_that_was_asked_for() {
        let mut search = Search::new(&Condition { after_bytes: 4, ..Condition::default() }, 0);
        assert_eq!([b"abc", b"def", b"ghi"].map(|message| search.message(message)), [false, false, true]);
    }
}
