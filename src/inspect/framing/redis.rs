//! Commands and answers of Redis.

use memchr::{memchr, memmem};

use super::{
    framer::{Broken, Cut, Framer},
    spec::Framing,
};
use crate::words::direction::Both;

/// The protocol of Redis and its relatives, in versions 2 and 3 (Redis serialization protocol specification).
///
/// A message is one command or one answer, however deep it is nested; the attributes before an answer belong to it. A client
/// may send inline commands, which are lines. What follows on a full resynchronisation of a replica is not framed: the
/// snapshot that begins it has no end of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resp;

impl Framing for Resp {
    fn protocol(&self) -> &'static str {
        "resp"
    }

    fn framers(&self) -> Both<Box<dyn Framer>> {
        let reader = |has_inline| Box::new(Reader { has_inline, is_replica: false, place: Place::default() });
        Both { to_upstream: reader(true), to_client: reader(false) }
    }
}

/// The framer of one direction.
#[derive(Debug)]
struct Reader {
    /// True for the client's direction, in which a message that is no array is a line.
    has_inline: bool,
    /// True behind the answer that begins a full resynchronisation.
    is_replica: bool,
    place: Place,
}

/// The place in a message up to which it is read. Nesting needs no more than a count: a message is complete when no value is
/// missing, whatever array it belongs to.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The index of the next value's first byte.
    at: usize,
    /// The number of values that are missing, the next one included. Saturates: no message has that many.
    missing: u64,
    /// The index up to which the next value has no end of a line.
    scanned: usize,
}

impl Default for Place {
    fn default() -> Self {
        Self { at: 0, missing: 1, scanned: 0 }
    }
}

/// The number of bytes of the shortest value: its type, and the end of its line.
const SHORTEST: u64 = 3;

impl Framer for Reader {
    fn protocol(&self) -> &'static str {
        "resp"
    }

    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
        if self.is_replica {
            return Ok(Cut::Unframed);
        }
        if self.has_inline && buffer[0] != b'*' {
            return Ok(memchr(b'\n', &buffer[seen..]).map_or(Cut::MORE, |end| Cut::Message(seen + end + 1)));
        }
        // A master that prepares a snapshot keeps its replica waiting with line feeds.
        if buffer[0] == b'\n' {
            return Ok(Cut::Message(1));
        }
        if seen == 0 {
            self.place = Place::default();
        }
        while self.place.missing > 0 {
            if let Read::Until(end) = self.place.read(buffer)? {
                return Ok(self.place.more(end, buffer.len()));
            }
        }
        self.is_replica = !self.has_inline && buffer.starts_with(b"+FULLRESYNC ");
        Ok(Cut::Message(self.place.at))
    }
}

/// The outcome of reading one value, or the header of an array.
enum Read {
    Whole,
    /// The value lasts up to this index at least, and the buffer does not.
    Until(u64),
}

impl Place {
    /// Reads the next value. Moves behind it, or behind the header of an array, if the buffer has all of it.
    fn read(&mut self, buffer: &[u8]) -> Result<Read, Broken> {
        let shortest = self.at as u64 + SHORTEST;
        let Some(kind) = buffer.get(self.at) else { return Ok(Read::Until(shortest)) };
        match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {
                let from = self.scanned.max(self.at + 1);
                let Some(end) = memmem::find(&buffer[from..], b"\r\n") else {
                    // A carriage return at the end of the buffer may be half of the end.
                    self.scanned = from.max(buffer.len() - 1);
                    return Ok(Read::Until(shortest));
                };
                self.move_to(from + end + 2, 0);
            }
            b'$' | b'!' | b'=' => {
                let Some((length, begin)) = number(buffer, self.at + 1, *kind == b'$')? else { return Ok(Read::Until(shortest)) };
                let Some(length) = length else {
                    self.move_to(begin, 0);
                    return Ok(Read::Whole);
                };
                let end = length.saturating_add(begin as u64);
                let Some(end) = usize::try_from(end).ok().filter(|end| end.saturating_add(2) <= buffer.len()) else {
                    return Ok(Read::Until(end.saturating_add(2)));
                };
                if let Some(wrong) = (0..2).find(|index| buffer[end + index] != b"\r\n"[*index]) {
                    return Err(Broken::at(end + wrong, format!("CR LF behind a string of {} bytes", end - begin)));
                }
                self.move_to(end + 2, 0);
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let Some((count, begin)) = number(buffer, self.at + 1, *kind == b'*')? else { return Ok(Read::Until(shortest)) };
                let count = count.unwrap_or(0);
                match kind {
                    b'%' => self.move_to(begin, count.saturating_mul(2)),
                    // Attributes come before the value that they belong to.
                    b'|' => self.move_to(begin, count.saturating_mul(2).saturating_add(1)),
                    _ => self.move_to(begin, count),
                }
            }
            _ => return Err(Broken::at(self.at, "the type of a RESP value, one of + - : $ * _ # , ( ! = % | ~ >")),
        }
        Ok(Read::Whole)
    }

    /// Moves from a value to the next one, behind which `more` of its own are.
    fn move_to(&mut self, at: usize, more: u64) {
        *self = Self { at, missing: (self.missing - 1).saturating_add(more), scanned: at };
    }

    /// Returns the answer for a buffer of `has` bytes, whose last value lasts up to `end` at least.
    fn more(&self, end: u64, has: usize) -> Cut {
        let behind = (self.missing - 1).saturating_mul(SHORTEST);
        Cut::More { least: Some(end.saturating_add(behind).max(has as u64 + 1)) }
    }
}

/// Reads a length or count that begins at `at`, and the end of its line: -1 is none, if `may_be_null`. Returns the number and
/// the index of the first byte behind the line, if the buffer has all of it.
fn number(buffer: &[u8], at: usize, may_be_null: bool) -> Result<Option<(Option<u64>, usize)>, Broken> {
    const EXPECTED: &str = "a length of 64 bits, in digits";
    let null = b"-1\r\n";
    if may_be_null && buffer.get(at) == Some(&b'-') {
        let has = buffer[at..].iter().zip(null);
        return match has.clone().position(|(byte, wanted)| byte != wanted) {
            Some(wrong) => Err(Broken::at(at + wrong, "-1 for null, or a length")),
            None => Ok((has.len() == null.len()).then_some((None, at + null.len()))),
        };
    }
    let mut value = 0_u64;
    for (index, byte) in buffer.iter().enumerate().skip(at) {
        match byte {
            b'0'..=b'9' => {
                let next = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(byte - b'0')));
                // A row of zeros would be read again with each chunk.
                value = next.filter(|_| index - at < 20).ok_or_else(|| Broken::at(index, EXPECTED))?;
            }
            b'\r' if index > at => {
                return match buffer.get(index + 1) {
                    Some(b'\n') => Ok(Some((Some(value), index + 2))),
                    Some(_) => Err(Broken::at(index + 1, "LF behind a CR")),
                    None => Ok(None),
                };
            }
            _ => return Err(Broken::at(index, EXPECTED)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
