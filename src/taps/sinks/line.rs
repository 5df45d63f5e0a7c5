//! The beginning of a line: when, which connection, and which way; and the lines of events without bytes.

use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{inert, render::Shown};
use crate::{taps::event::EventKind, words::direction::Direction};

/// How lines are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineStyle {
    /// True if they may have colours.
    pub color: bool,
    /// Seconds that local time is ahead of UTC.
    pub utc_offset: i64,
}

/// A colour of a terminal (SGR, ECMA-48).
#[derive(Debug, Clone, Copy)]
pub(super) enum Color {
    Upstream,
    Client,
    Dim,
    Bold,
}

const RESET: &[u8] = b"\x1b[0m";

impl Color {
    fn code(self) -> &'static [u8] {
        match self {
            Self::Upstream => b"\x1b[36m",
            Self::Client => b"\x1b[32m",
            Self::Dim => b"\x1b[2m",
            Self::Bold => b"\x1b[1m",
        }
    }

    pub(super) fn of(direction: Direction) -> Self {
        match direction {
            Direction::ToUpstream => Self::Upstream,
            Direction::ToClient => Self::Client,
        }
    }
}

/// Returns the sign of a direction: towards the upstream, or back.
pub(super) fn sign(direction: Direction) -> char {
    match direction {
        Direction::ToUpstream => '>',
        Direction::ToClient => '<',
    }
}

impl LineStyle {
    /// Appends what `write` writes, in a colour.
    pub(super) fn colored(self, out: &mut Vec<u8>, color: Color, write: impl FnOnce(&mut Vec<u8>)) {
        if self.color {
            out.extend(color.code());
        }
        write(out);
        if self.color {
            out.extend(RESET);
        }
    }

    /// Appends `14:20:01.123456 #1 `, or `#2.1` for the second server of the output.
    pub(super) fn begin(self, out: &mut Vec<u8>, event: &Shown<'_>) {
        let (seconds, micros) = since_epoch(event.at);
        let of_day = (seconds + self.utc_offset).rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        self.colored(out, Color::Dim, |out| {
            let _ = write!(out, "{hour:02}:{minute:02}:{second:02}.{micros:06} #");
            // The connections of a second listener have numbers of their own.
            if event.listener > 1 {
                let _ = write!(out, "{}.", event.listener);
            }
            let _ = write!(out, "{}", event.connection.number);
        });
        out.push(b' ');
    }

    /// Appends the line of an event that has no bytes.
    pub(super) fn event(self, out: &mut Vec<u8>, event: &Shown<'_>) {
        self.begin(out, event);
        match &event.kind {
            EventKind::Opened { client, local, .. } => {
                self.colored(out, Color::Bold, |out| out.extend(b"open"));
                let _ = write!(out, " {client} to {local}");
            }
            EventKind::Connected { upstream, local } => {
                let _ = write!(out, "connected {local} to {upstream}");
            }
            EventKind::Data { .. } => {}
            EventKind::End { direction, .. } => {
                self.colored(out, Color::of(*direction), |out| {
                    let _ = write!(out, "{} end", sign(*direction));
                });
            }
            EventKind::Struck { direction, fault } => {
                self.colored(out, Color::Bold, |out| {
                    let _ = write!(out, "{} fault", sign(*direction));
                });
                out.push(b' ');
                inert::push_text(out, fault.as_bytes());
            }
            EventKind::Closed { reason, error, ledgers } => {
                self.colored(out, Color::Bold, |out| out.extend(b"closed"));
                let (up, down) = (ledgers.to_upstream.delivered, ledgers.to_client.delivered);
                let _ = write!(out, " {reason}, > {up} bytes, < {down} bytes");
                if let Some(error) = error {
                    out.extend(b": ");
                    inert::push_text(out, error.as_bytes());
                }
            }
            EventKind::Missed { events, bytes } => {
                let _ = write!(out, "... {events} events with {bytes} bytes were left out here");
            }
        }
        out.push(b'\n');
    }
}

/// Returns the seconds since 1970 and the microseconds behind them.
pub(super) fn since_epoch(at: SystemTime) -> (i64, u32) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_micros())
}
