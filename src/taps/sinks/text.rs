//! Text, line by line.

use super::{
    inert,
    line::{Color, LineStyle, sign},
    render::{Render, Shown},
};
use crate::taps::event::EventKind;

/// Shows bytes as text, each line of it on a line of its own, with escapes for all that is no plain text.
#[derive(Debug)]
pub struct Text {
    line: LineStyle,
    truncate: Option<usize>,
}

impl Text {
    /// Returns the renderer of a style. `truncate`: maximum bytes that are shown of one read or message.
    pub fn new(line: LineStyle, truncate: Option<usize>) -> Self {
        Self { line, truncate }
    }
}

impl Render for Text {
    fn render(&mut self, event: &Shown<'_>, out: &mut Vec<u8>) {
        let EventKind::Data { direction, bytes, .. } = &event.kind else { return self.line.event(out, event) };
        let shown = self.truncate.map_or(bytes.len(), |most| most.min(bytes.len()));
        for line in bytes[..shown].split_inclusive(|byte| *byte == b'\n') {
            self.line.begin(out, event);
            self.line.colored(out, Color::of(*direction), |out| {
                out.extend([sign(*direction) as u8, b' ']);
                inert::push_text(out, line);
            });
            out.push(b'\n');
        }
        if shown < bytes.len() {
            self.line.begin(out, event);
            out.extend(format!("{} ... and {} more bytes\n", sign(*direction), bytes.len() - shown).into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;
    use crate::taps::sinks::render::tests::{event, shown};
    use crate::{taps::event::Place, words::direction::Direction};

    fn rendered(line: LineStyle, truncate: Option<usize>, bytes: &'static [u8]) -> String {
        let (direction, place) = (Direction::ToClient, Place::In);
        let kind = EventKind::Data { direction, place, offset: 0, bytes: Bytes::from_static(bytes) };
        let mut out = Vec::new();
        Text::new(line, truncate).render(&shown(&event(1, UNIX_EPOCH, kind)), &mut out);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn each_line_has_its_beginning_and_its_end_is_seen() {
        let expected = "00:00:00.000000 #1 < HTTP/1.1 200 OK\\r\\n\n00:00:00.000000 #1 < \\x1b[2J\n";
        assert_eq!(rendered(LineStyle::default(), None, b"HTTP/1.1 200 OK\r\n\x1b[2J"), expected);
    }

    #[test]
    fn a_strike_names_its_fault_and_does_nothing_to_a_terminal() {
        let kind = EventKind::Struck { direction: Direction::ToUpstream, fault: "Cut(\x1b)".into() };
        let mut out = Vec::new();
        Text::new(LineStyle::default(), None).render(&shown(&event(1, UNIX_EPOCH, kind)), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "00:00:00.000000 #1 > fault Cut(\\x1b)\n");
    }

    #[test]
    fn connections_of_a_second_listener_have_its_number() {
        let one = event(7, UNIX_EPOCH, EventKind::End { direction: Direction::ToClient, place: Place::In, offset: 0 });
        let mut out = Vec::new();
        Text::new(LineStyle::default(), None).render(&Shown { event: &one, listener: 2 }, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "00:00:00.000000 #2.7 < end\n");
    }

    #[test]
    fn long_ones_are_cut_and_colours_are_closed() {
        let expected =
            "\x1b[2m00:00:00.000000 #1\x1b[0m \x1b[32m< ab\x1b[0m\n\x1b[2m00:00:00.000000 #1\x1b[0m < ... and 1 more bytes\n";
        assert_eq!(rendered(LineStyle { color: true, utc_offset: 0 }, Some(2), b"abc"), expected);
    }
}
