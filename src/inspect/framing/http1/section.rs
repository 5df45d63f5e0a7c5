//! Sections of lines: heads and trailers. Finds their ends; `head` reads what stands in them.

use std::ops::Range;

use crate::inspect::framing::framer::Broken;

/// The bytes with which an answer begins. The digit behind them is read with the rest of the line.
const ANSWER: &[u8] = b"HTTP/1.";

/// Lines up to the first empty one.
///
/// Each line ends with CR LF. RFC 9112 (2.2) lets a reader take a lone LF for the end of a line, so some do and others do not:
/// who hides a request that way is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    start: usize,
    /// The beginning of the line that is not complete.
    line: usize,
    /// The first byte that is not read.
    next: usize,
}

impl Section {
    pub(super) fn at(start: usize) -> Self {
        Self { start, line: start, next: start }
    }

    /// Returns the head of the request at the beginning of `buffer`, behind the empty lines that some clients send before it
    /// (RFC 9112, 2.2). None as long as there are only those.
    pub(super) fn of_request<'a>(place: &'a mut Option<Self>, buffer: &[u8]) -> Result<Option<&'a mut Self>, Broken> {
        let section = place.get_or_insert(Self::at(0));
        if section.next == section.start {
            let mut start = section.start;
            while buffer[start..].starts_with(b"\r\n") {
                start += 2;
            }
            *section = Self::at(start);
            match buffer[start..] {
                [] | [b'\r'] => return Ok(None),
                [first, ..] if is_token(first) => {}
                _ => return Err(Broken::at(start, "the method of a request")),
            }
        }
        Ok(Some(section))
    }

    /// Returns the head of the answer at the beginning of `buffer`.
    pub(super) fn of_answer<'a>(place: &'a mut Option<Self>, buffer: &[u8]) -> Result<&'a mut Self, Broken> {
        let section = place.get_or_insert(Self::at(0));
        let different = buffer.iter().zip(ANSWER).position(|(found, wanted)| found != wanted);
        match different {
            Some(offset) => Err(Broken::at(offset, "an answer, which begins with HTTP/1.")),
            None => Ok(section),
        }
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Reads on, and returns the index behind the empty line once it is there. Each byte is read once. `check` is given the
    /// first line as soon as that is complete: who speaks another protocol may wait for an answer behind it.
    pub(super) fn end(
        &mut self,
        buffer: &[u8],
        check: impl Fn(&[u8], Range<usize>) -> Result<(), Broken>,
    ) -> Result<Option<usize>, Broken> {
        while let Some(distance) = buffer[self.next..].iter().position(|byte| is_control(*byte)) {
            self.next += distance;
            match (buffer[self.next], buffer.get(self.next + 1)) {
                (b'\r', None) => return Ok(None),
                (b'\r', Some(b'\n')) => {}
                (b'\r', Some(_)) => return Err(Broken::at(self.next + 1, "LF behind CR")),
                (b'\n', _) => return Err(Broken::at(self.next, "CR before LF")),
                _ => return Err(Broken::at(self.next, "text without control characters")),
            }
            let (is_empty, is_first) = (self.next == self.line, self.line == self.start);
            self.next += 2;
            self.line = self.next;
            if is_empty {
                return Ok(Some(self.next));
            }
            if is_first {
                check(buffer, self.start..self.line)?;
            }
        }
        self.next = buffer.len();
        Ok(None)
    }
}

/// Returns true for a byte that names of methods and fields consist of (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}
