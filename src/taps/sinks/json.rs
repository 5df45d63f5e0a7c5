//! JSON lines: one object for each event (RFC 8259).

use std::{fmt::Display, io::Write};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    line::since_epoch,
    render::{Render, Shown},
};
use crate::{
    taps::event::{Event, EventKind, Place},
    words::{direction::Direction, stats::Ledger},
};

/// Writes each event as one JSON object on a line of its own. Bytes are `text` where they are UTF-8, else `base64`
/// (RFC 4648). Everything beyond ASCII is escaped.
#[derive(Debug, Default)]
pub struct JsonLines;

impl Render for JsonLines {
    fn render(&mut self, event: &Shown<'_>, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("time", &utc(event));
        object.number("listener", event.listener).number("connection", event.connection.number);
        match &event.kind {
            EventKind::Opened { client, local, changes } => {
                object.text("event", "open").text("client", &client).text("local", &local);
                if *changes {
                    object.truth("changed");
                }
            }
            EventKind::Connected { upstream, local } => {
                object.text("event", "connect").text("upstream", &upstream).text("local", &local);
            }
            EventKind::Data { direction, place, offset, bytes } => {
                object.text("event", "data");
                way(&mut object, *direction, *place);
                object.number("offset", *offset).number("length", bytes.len() as u64);
                match std::str::from_utf8(bytes) {
                    Ok(text) => object.text("text", &text),
                    Err(_) => object.text("base64", &STANDARD.encode(bytes)),
                };
            }
            EventKind::End { direction, place, .. } => {
                object.text("event", "end");
                way(&mut object, *direction, *place);
            }
            EventKind::Struck { direction, fault } => {
                object.text("event", "fault").text("direction", &direction.word()).text("fault", &fault);
            }
            EventKind::Closed { reason, error, ledgers } => {
                object.text("event", "close").text("reason", &reason);
                if let Some(error) = error {
                    object.text("error", &error);
                }
                object.ledger("to_upstream", ledgers.to_upstream).ledger("to_client", ledgers.to_client);
            }
            EventKind::Missed { events, bytes } => {
                object.text("event", "missed").number("events", *events).number("bytes", *bytes);
            }
        }
        object.end();
    }
}

fn way(object: &mut Object<'_>, direction: Direction, place: Place) {
    object.text("direction", &direction.word());
    if place == Place::Out {
        object.text("place", "out");
    }
}

/// Returns the time as RFC 3339 has it, in UTC.
fn utc(event: &Event) -> String {
    let (seconds, micros) = since_epoch(event.at);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The civil date of a day: eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// An object that is being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_first: true }
    }

    fn key(&mut self, key: &str) {
        let comma = if self.is_first { "" } else { ", " };
        self.is_first = false;
        let _ = write!(self.out, "{comma}\"{key}\": ");
    }

    fn text(&mut self, key: &str, value: &(impl Display + ?Sized)) -> &mut Self {
        self.key(key);
        self.out.push(b'"');
        for character in value.to_string().chars() {
            match character {
                '"' => self.out.extend(b"\\\""),
                '\\' => self.out.extend(b"\\\\"),
                '\n' => self.out.extend(b"\\n"),
                '\r' => self.out.extend(b"\\r"),
                '\t' => self.out.extend(b"\\t"),
                ' '..='~' => self.out.push(character as u8),
                _ => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
            }
        }
        self.out.push(b'"');
        self
    }

    fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.key(key);
        let _ = write!(self.out, "{value}");
        self
    }

    fn truth(&mut self, key: &str) {
        self.key(key);
        self.out.extend(b"true");
    }

    fn ledger(&mut self, key: &str, ledger: Ledger) -> &mut Self {
        self.key(key);
        let mut inner = Object::begin(self.out);
        for (name, count) in ledger.counters() {
            inner.number(name, count);
        }
        self.out.push(b'}');
        self
    }

    fn end(self) {
        self.out.extend(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;

    use super::*;
    use crate::{
        taps::sinks::render::tests::{event, shown},
        words::{addr::SocketName, direction::Both, outcome::CloseReason},
    };

    fn rendered(seconds: u64, kind: EventKind) -> String {
        let mut out = Vec::new();
        let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(12);
        JsonLines.render(&shown(&event(3, at, kind)), &mut out);
        String::from_utf8(out).expect("it is text")
    }

    fn data(bytes: &'static [u8]) -> EventKind {
        let (direction, place) = (Direction::ToUpstream, Place::In);
        EventKind::Data { direction, place, offset: 5, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn bytes_are_text_where_they_are_and_base64_elsewhere() {
        let begin = r#"{"time": "1970-01-01T00:00:00.000012Z", "listener": 1, "connection": 3, "event": "data", "direction": "to_upstream", "offset": 5, "#;
        let text = rendered(0, data("a\"\\\n\u{1b}ü🙂".as_bytes()));
        assert_eq!(text, format!("{begin}{}", "\"length\": 11, \"text\": \"a\\\"\\\\\\n\\u001b\\u00fc\\ud83d\\ude42\"}\n"));
        assert_eq!(rendered(0, data(b"\xff\x00")), format!("{begin}\"length\": 2, \"base64\": \"/wA=\"}}\n"));
    }

    #[test]
    fn a_close_has_its_reason_and_its_counts() {
        let counts = Ledger { read: 1, delivered: 1, ..Ledger::default() };
        let ledgers = Both { to_upstream: counts, to_client: Ledger::default() };
        let kind = EventKind::Closed { reason: CloseReason::Finished, error: None, ledgers };
        let none = r#"{"read": 0, "added": 0, "delivered": 0, "dropped": 0, "undeliverable": 0}"#;
        let some = r#"{"read": 1, "added": 0, "delivered": 1, "dropped": 0, "undeliverable": 0}"#;
        let expected = format!(
            r#"{{"time": "2026-11-27T14:20:01.000012Z", "listener": 1, "connection": 3, "event": "close", "reason": "finished", "to_upstream": {some}, "to_client": {none}}}"#
        );
        assert_eq!(rendered(1_795_789_201, kind), expected + "\n");
    }

    #[test]
    fn an_open_connection_says_if_something_may_change_what_passes() {
        let name = || SocketName::Unix(String::new());
        let opened = |changes| rendered(0, EventKind::Opened { client: name(), local: name(), changes });
        assert!(opened(true).ends_with(", \"changed\": true}\n") && !opened(false).contains("changed"));
    }

    #[test]
    fn a_strike_names_its_fault() {
        let text = rendered(0, EventKind::Struck { direction: Direction::ToClient, fault: "Cut(\"\")".into() });
        let expected = r#""event": "fault", "direction": "to_client", "fault": "Cut(\"\")"}"#;
        assert!(text.ends_with(&format!("{expected}\n")), "{text}");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        let date = |seconds| rendered(seconds, EventKind::Missed { events: 0, bytes: 0 })[10..20].to_owned();
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(951_868_800), "2000-03-01");
        assert_eq!(date(4_107_542_400), "2100-03-01");
    }
}
