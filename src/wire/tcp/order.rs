//! The bytes of one direction, put in order: segments may come twice, in parts, in another order, or not at all.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Maximum bytes, and segments, that wait for one that is missing before them. Then it is given up.
const MOST_BYTES: usize = 1024 * 1024;
const MOST_SEGMENTS: usize = 1024;

/// The next part of a direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Bytes(Bytes),
    /// Bytes that the file does not have.
    Missing(u64),
    /// The end of the direction.
    End,
}

/// A segment, as it came.
#[derive(Debug)]
pub(super) struct Piece {
    /// The number of its first byte.
    pub(super) sequence: u32,
    /// The bytes that were kept.
    pub(super) bytes: Bytes,
    /// The number of bytes behind those that were not kept.
    pub(super) lost: usize,
    /// The direction ends behind it.
    pub(super) is_last: bool,
}

/// A segment that waits for those before it.
#[derive(Debug)]
struct Held {
    bytes: Bytes,
    /// Bytes that it had.
    length: u64,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The sequence number of the next byte, once one was seen.
    next: Option<u32>,
    /// The place of the next byte in the stream.
    place: u64,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// The place of the end, once it was seen.
    end: Option<u64>,
    has_ended: bool,
}

impl Order {
    /// Begins at the mark of a connection's begin. Does nothing if bytes were seen before.
    pub(super) fn begin(&mut self, sequence: u32) {
        self.next.get_or_insert(sequence.wrapping_add(1));
    }

    /// Returns true if the direction begins with this number, or has not begun.
    pub(super) fn may_begin_at(&self, sequence: u32) -> bool {
        self.next.is_none_or(|next| self.place == 0 && self.held.is_empty() && next == sequence.wrapping_add(1))
    }

    /// Returns true if the end of the direction was reached.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns true if `acknowledged` covers the end of the direction.
    pub(super) fn end_is_acknowledged(&self, acknowledged: u32) -> bool {
        // The mark of the end takes a number.
        self.has_ended && self.next.is_some_and(|next| behind(acknowledged, next) > 0)
    }

    /// Returns the number of bytes that wait for a missing one.
    pub(super) fn held(&self) -> usize {
        self.held_bytes
    }

    /// Takes a segment.
    pub(super) fn take(&mut self, segment: &Piece, out: &mut Vec<Part>) {
        let next = *self.next.get_or_insert(segment.sequence);
        if self.has_ended {
            return;
        }
        let Some(place) = self.place.checked_add_signed(behind(segment.sequence, next)) else {
            if let Some(rest) = self.since_begin(segment, next) {
                self.take(&rest, out);
            }
            return;
        };
        let length = (segment.bytes.len() + segment.lost) as u64;
        if segment.is_last {
            self.end.get_or_insert(place + length);
        }
        if length > 0 && place + length > self.place {
            self.hold(place, &segment.bytes, length);
        }
        self.deliver(out);
        while self.held_bytes > MOST_BYTES || self.held.len() > MOST_SEGMENTS {
            self.give_up(out);
        }
    }

    /// Returns the part of a segment that begins before the first byte that was seen, from that byte on.
    fn since_begin(&self, segment: &Piece, next: u32) -> Option<Piece> {
        let before = u64::try_from(behind(next, segment.sequence)).ok()?.checked_sub(self.place)?;
        let before = usize::try_from(before).ok().filter(|before| *before > 0)?;
        let kept = segment.bytes.len().min(before);
        let lost = segment.lost.checked_sub(before - kept)?;
        let bytes = segment.bytes.slice(kept..);
        let is_some = !bytes.is_empty() || lost > 0;
        let sequence = segment.sequence.wrapping_add(before as u32);
        is_some.then_some(Piece { sequence, bytes, lost, is_last: segment.is_last })
    }

    /// Takes an acknowledgement by the opposite. Bytes that it covers, and that are missing before others, do not come any
    /// more.
    pub(super) fn acknowledge(&mut self, acknowledged: u32, out: &mut Vec<Part>) {
        let Some(next) = self.next else { return };
        let Some(first) = self.held.keys().next().copied() else { return };
        if self.place.checked_add_signed(behind(acknowledged, next)).is_some_and(|place| place > first) {
            self.give_up(out);
        }
    }

    /// Skips everything that is missing.
    pub(super) fn finish(&mut self, out: &mut Vec<Part>) {
        while !self.held.is_empty() {
            self.give_up(out);
        }
        if let Some(end) = self.end.filter(|end| *end > self.place && !self.has_ended) {
            self.skip_to(end, out);
            self.deliver(out);
        }
    }

    fn hold(&mut self, place: u64, bytes: &Bytes, length: u64) {
        // A direct delivery needs no copy; what waits must not keep the memory of a whole read.
        let bytes = if place <= self.place { bytes.clone() } else { Bytes::copy_from_slice(bytes) };
        let size = bytes.len();
        let longer = self.held.get(&place).is_none_or(|other| (other.bytes.len(), other.length) < (size, length));
        if longer {
            let before = self.held.insert(place, Held { bytes, length });
            self.held_bytes += size;
            self.held_bytes -= before.map_or(0, |other| other.bytes.len());
        }
    }

    fn give_up(&mut self, out: &mut Vec<Part>) {
        if let Some(first) = self.held.keys().next().copied() {
            if first > self.place {
                self.skip_to(first, out);
            }
            self.deliver(out);
        }
    }

    fn skip_to(&mut self, place: u64, out: &mut Vec<Part>) {
        out.push(Part::Missing(place - self.place));
        self.advance(place - self.place);
    }

    fn advance(&mut self, bytes: u64) {
        self.place += bytes;
        self.next = self.next.map(|next| next.wrapping_add(bytes as u32));
    }

    /// Returns all parts that follow each other from the next byte on.
    fn deliver(&mut self, out: &mut Vec<Part>) {
        while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() <= self.place) {
            let place = *entry.key();
            let held = entry.remove();
            self.held_bytes -= held.bytes.len();
            let seen = self.place - place;
            let Some(new) = held.length.checked_sub(seen).filter(|new| *new > 0) else { continue };
            let kept = held.bytes.slice(held.bytes.len().min(usize::try_from(seen).unwrap_or(usize::MAX))..);
            let missing = new - kept.len() as u64;
            if !kept.is_empty() {
                self.advance(kept.len() as u64);
                out.push(Part::Bytes(kept));
            }
            if missing > 0 {
                self.skip_to(self.place + missing, out);
            }
        }
        if !self.has_ended && self.end.is_some_and(|end| end <= self.place) {
            self.has_ended = true;
            out.push(Part::End);
        }
    }
}

/// Returns how far `sequence` is behind `other`, in numbers that go round.
fn behind(sequence: u32, other: u32) -> i64 {
    i64::from(sequence.wrapping_sub(other).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u32 = u32::MAX - 3;

    fn take(order: &mut Order, place: u32, bytes: &'static str, out: &mut Vec<Part>) {
        order.take(&piece(place, Bytes::from_static(bytes.as_bytes())), out);
    }

    fn piece(place: u32, bytes: Bytes) -> Piece {
        Piece { sequence: BEGIN.wrapping_add(1).wrapping_add(place), bytes, lost: 0, is_last: false }
    }

    fn text(parts: &[Part]) -> String {
        let text = |part: &Part| match part {
            Part::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Part::Missing(bytes) => format!("<{bytes}>"),
            Part::End => "|".to_owned(),
        };
        parts.iter().map(text).collect()
    }

    fn begun() -> (Order, Vec<Part>) {
        let mut order = Order::default();
        order.begin(BEGIN);
        (order, Vec::new())
    }

    #[test]
    fn segments_in_any_order_twice_and_in_parts_are_one_stream() {
        let segments = [(0, "abc"), (3, "def"), (1, "bcde"), (6, "g"), (0, "a"), (4, "efghij")];
        for first in 0..segments.len() {
            for step in [1, 5] {
                let (mut order, mut out) = begun();
                for number in 0..segments.len() {
                    let (place, bytes) = segments[(first + number * step) % segments.len()];
                    take(&mut order, place, bytes, &mut out);
                }
                assert_eq!((text(&out).as_str(), order.held()), ("abcdefghij", 0));
            }
        }
    }

    #[test]
    fn what_is_missing_is_given_up_when_it_is_acknowledged_or_the_file_ends() {
        let (mut order, mut out) = begun();
        take(&mut order, 4, "efg", &mut out);
        order.acknowledge(BEGIN.wrapping_add(1).wrapping_add(4), &mut out);
        assert_eq!(text(&out), "");
        order.acknowledge(BEGIN.wrapping_add(1).wrapping_add(7), &mut out);
        assert_eq!(text(&out), "<4>efg");
        order.take(&Piece { lost: 2, is_last: true, ..piece(20, Bytes::from_static(b"z")) }, &mut out);
        order.finish(&mut out);
        assert_eq!(text(&out), "<4>efg<13>z<2>|");
        assert!(!order.end_is_acknowledged(BEGIN.wrapping_add(24)) && order.end_is_acknowledged(BEGIN.wrapping_add(25)));
    }

    #[test]
    fn a_direction_seen_from_its_middle_begins_with_its_first_segment() {
        let (mut order, mut out) = (Order::default(), Vec::new());
        take(&mut order, 5, "fg", &mut out);
        take(&mut order, 3, "defgh", &mut out);
        take(&mut order, 0, "abc", &mut out);
        assert_eq!(text(&out), "fgh");
    }

    #[test]
    fn no_more_waits_than_may() {
        let (mut order, mut out) = begun();
        for number in 1..=MOST_SEGMENTS as u32 + 1 {
            take(&mut order, number * 2, "x", &mut out);
        }
        assert_eq!(text(&out), "<2>x");
        let bytes = Bytes::from(vec![1; MOST_BYTES]);
        let (mut order, mut out) = begun();
        order.take(&piece(1, bytes.clone()), &mut out);
        assert_eq!((out.len(), order.held()), (0, MOST_BYTES));
        order.take(&piece(1 + MOST_BYTES as u32, bytes), &mut out);
        assert_eq!((out.len(), order.held()), (3, 0));
    }
}
