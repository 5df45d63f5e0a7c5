//! Hexadecimal dumps.

use std::io::Write;

use super::{
    inert,
    line::{Color, LineStyle, sign},
    render::{Render, Shown},
};
use crate::{taps::event::EventKind, words::direction::Direction};

/// How a dump is written.
#[derive(Debug, Clone, Copy)]
pub struct HexdumpStyle {
    /// The lines.
    pub line: LineStyle,
    /// Bytes of a line, from 1.
    pub width: usize,
    /// Maximum bytes that are shown of one read or message.
    pub truncate: Option<usize>,
}

/// Shows bytes as hexadecimal digits and as text, with offsets that go on over the whole stream.
#[derive(Debug)]
pub struct Hexdump(HexdumpStyle);

impl Hexdump {
    /// Returns the renderer of a style.
    pub fn new(style: HexdumpStyle) -> Self {
        Self(style)
    }

    fn row(&self, out: &mut Vec<u8>, offset: u64, row: &[u8], color: Color) {
        let Self(HexdumpStyle { line, width, .. }) = self;
        line.colored(out, Color::Dim, |out| {
            let _ = write!(out, "  {offset:08x} ");
        });
        line.colored(out, color, |out| {
            for (at, byte) in row.iter().enumerate() {
                out.extend(if at > 0 && at % 8 == 0 { &b"  "[..] } else { b" " });
                inert::push_hex(out, *byte);
            }
        });
        for at in row.len()..*width {
            out.extend(if at > 0 && at % 8 == 0 { &b"    "[..] } else { b"   " });
        }
        out.extend(b"  |");
        out.extend(row.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'.' }));
        out.extend(b"|\n");
    }

    fn data(&self, out: &mut Vec<u8>, event: &Shown<'_>, direction: Direction, offset: u64, bytes: &[u8]) {
        let Self(HexdumpStyle { line, width, truncate }) = *self;
        line.begin(out, event);
        line.colored(out, Color::of(direction), |out| {
            let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
            let _ = write!(out, "{} {} {unit} at {offset}", sign(direction), bytes.len());
        });
        out.push(b'\n');
        let shown = truncate.map_or(bytes.len(), |most| most.min(bytes.len()));
        for (number, row) in bytes[..shown].chunks(width).enumerate() {
            self.row(out, offset + (number * width) as u64, row, Color::of(direction));
        }
        if shown < bytes.len() {
            let _ = writeln!(out, "  ... and {} more bytes", bytes.len() - shown);
        }
    }
}

impl Render for Hexdump {
    fn render(&mut self, event: &Shown<'_>, out: &mut Vec<u8>) {
        match &event.kind {
            EventKind::Data { direction, offset, bytes, .. } => self.data(out, event, *direction, *offset, bytes),
            _ => self.0.line.event(out, event),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::taps::sinks::render::tests::{event, shown};
    use crate::{
        taps::{event::Place, sinks::inert::tests::is_inert},
        words::{direction::Both, outcome::CloseReason, stats::Ledger},
    };

    const STYLE: HexdumpStyle = HexdumpStyle { line: LineStyle { color: false, utc_offset: 3600 }, width: 16, truncate: None };

    fn rendered(style: HexdumpStyle, kind: EventKind) -> String {
        let mut out = Vec::new();
        let at = UNIX_EPOCH + Duration::from_micros(86_399_000_001);
        Hexdump::new(style).render(&shown(&event(7, at, kind)), &mut out);
        String::from_utf8(out).expect("it is text")
    }

    fn data(offset: u64, bytes: &[u8]) -> EventKind {
        let (direction, place) = (Direction::ToUpstream, Place::In);
        EventKind::Data { direction, place, offset, bytes: Bytes::copy_from_slice(bytes) }
    }

    #[test]
    fn bytes_are_shown_with_their_place_in_the_stream() {
        let expected = "00:59:59.000001 #7 > 20 bytes at 4090\n  \
            00000ffa  2a 31 0d 0a 24 34 0d 0a  50 49 4e 47 0d 0a 00 ff  |*1..$4..PING....|\n  \
            0000100a  41 42 43 44                                       |ABCD|\n";
        assert_eq!(rendered(STYLE, data(4090, b"*1\r\n$4\r\nPING\r\n\x00\xffABCD")), expected);
    }

    #[test]
    fn long_ones_are_cut_and_say_so() {
        let style = HexdumpStyle { width: 4, truncate: Some(2), ..STYLE };
        let expected = "00:59:59.000001 #7 > 5 bytes at 0\n  00000000  61 62        |ab|\n  ... and 3 more bytes\n";
        assert_eq!(rendered(style, data(0, b"abcde")), expected);
    }

    #[test]
    fn ends_and_reasons_have_a_line_of_their_own() {
        let (direction, place) = (Direction::ToClient, Place::In);
        assert_eq!(rendered(STYLE, EventKind::End { direction, place, offset: 0 }), "00:59:59.000001 #7 < end\n");
        let ledgers = Both { to_upstream: Ledger { delivered: 3, ..Ledger::default() }, to_client: Ledger::default() };
        let error = Some("bad\x1b[2J".to_owned());
        let closed = EventKind::Closed { reason: CloseReason::Refused, error, ledgers };
        assert_eq!(rendered(STYLE, closed), "00:59:59.000001 #7 closed refused, > 3 bytes, < 0 bytes: bad\\x1b[2J\n");
        let missed = EventKind::Missed { events: 2, bytes: 30 };
        assert_eq!(rendered(STYLE, missed), "00:59:59.000001 #7 ... 2 events with 30 bytes were left out here\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_inert(bytes in vec(any::<u8>(), 1..100), width in 1_usize..40) {
            let style = HexdumpStyle { width, ..STYLE };
            prop_assert!(is_inert(rendered(style, data(0, &bytes)).as_bytes()));
        }
    }
}
