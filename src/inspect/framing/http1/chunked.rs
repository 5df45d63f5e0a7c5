//! Chunked bodies (RFC 9112, section 7.1).

use super::{head, section::Section};
use crate::inspect::framing::framer::{Broken, Cut};

/// The maximum number of digits of a chunk's size: those of 64 bits.
const MOST_DIGITS: u8 = 16;

/// The bytes that stand at least behind a chunk's data: its CR LF, and a last chunk with no trailers.
const LEAST_BEHIND: u64 = 2 + 5;

/// A chunked body, of which the bytes before `next` have been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    next: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the digits of a size.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind the digits, where blanks may stand.
    Blank {
        size: u64,
    },
    /// In the extensions of a chunk, which nobody reads.
    Extension {
        size: u64,
    },
    /// Between CR and LF behind a size.
    SizeEnd {
        size: u64,
    },
    /// In the data, which ends before `next`.
    Data,
    /// Between CR and LF behind the data.
    DataEnd,
    Trailers(Section),
}

const NO_SIZE: State = State::Size { size: 0, digits: 0 };

impl Chunks {
    pub(super) fn at(start: usize) -> Self {
        Self { next: start, state: NO_SIZE }
    }

    /// Reads on. Each byte outside of the data is read once, and those of the data not at all.
    pub(super) fn read(&mut self, buffer: &[u8]) -> Result<Cut, Broken> {
        loop {
            if let State::Trailers(lines) = &mut self.state {
                let Some(end) = lines.end(buffer, |_, _| Ok(()))? else { return Ok(Cut::MORE) };
                head::read_trailers(buffer, lines.start(), end)?;
                return Ok(Cut::Message(end));
            }
            let Some(byte) = buffer.get(self.next) else { return Ok(Cut::More { least: self.least() }) };
            self.state = match (self.state, byte) {
                (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => self.digit(size, digits, *byte)?,
                (State::Size { digits: 0, .. }, _) => return Err(self.expected("the size of a chunk in hexadecimal digits")),
                (State::Size { size, .. } | State::Blank { size }, b' ' | b'\t') => State::Blank { size },
                (State::Size { size, .. } | State::Blank { size }, b';') => State::Extension { size },
                (State::Size { size, .. } | State::Blank { size } | State::Extension { size }, b'\r') => State::SizeEnd { size },
                (State::Size { .. } | State::Blank { .. }, _) => {
                    return Err(self.expected("; or CR LF behind the size of a chunk"));
                }
                (State::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => State::Extension { size },
                (State::Extension { .. }, b'\n') => return Err(self.expected("CR before LF")),
                (State::Extension { .. }, _) => return Err(self.expected("text without control characters")),
                (State::SizeEnd { size: 0 }, b'\n') => State::Trailers(Section::at(self.next + 1)),
                (State::SizeEnd { size }, b'\n') => self.data(size),
                (State::Data, b'\r') => State::DataEnd,
                (State::Data, _) => return Err(self.expected("CR LF behind the data of a chunk")),
                (State::DataEnd, b'\n') => NO_SIZE,
                (State::SizeEnd { .. } | State::DataEnd, _) => return Err(self.expected("LF behind CR")),
                (State::Trailers(_), _) => unreachable!("read above"),
            };
            self.next = self.next.saturating_add(1);
        }
    }

    fn digit(&self, size: u64, digits: u8, digit: u8) -> Result<State, Broken> {
        if digits == MOST_DIGITS {
            return Err(self.expected("a chunk size of at most 16 digits"));
        }
        let value = (digit as char).to_digit(16).map_or(0, u64::from);
        Ok(State::Size { size: size << 4 | value, digits: digits + 1 })
    }

    /// Skips the data of a chunk. A size that no memory holds ends at the end of what an index can say, which is never reached.
    fn data(&mut self, size: u64) -> State {
        self.next = self.next.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        State::Data
    }

    /// Returns a lower bound of the length of the message, as long as a chunk's data is incomplete.
    fn least(&self) -> Option<u64> {
        matches!(self.state, State::Data).then(|| (self.next as u64).saturating_add(LEAST_BEHIND))
    }

    fn expected(&self, expected: &'static str) -> Broken {
        Broken::at(self.next, expected)
    }
}
