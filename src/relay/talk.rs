//! The turns of a conversation, to find a message of the client that may still be without its answer.
//!
//! Bytes from the upstream after a message of the client count as its answer, unless the upstream was in the midst of a
//! longer answer when the message came: then they may be the rest of that one.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::turn::Turn;

/// How long a stream of the upstream must pause to count as quiet: a short pause is likely to be only a pause.
pub(super) const QUIET_STREAM: Duration = Duration::from_millis(250);

/// Number of turns of the upstream beyond which an answer counts as long. Heads, bodies and ends that are written apart are
/// fewer.
const LONG: u8 = 4;

/// Maximum of the count. Each message amid the turns halves it: a few short answers make an earlier long one forgotten.
const MOST: u8 = 15;

/// The unit of the clock in milliseconds. The clock wraps in 17 minutes; an old event that then seems recent causes one
/// useless wait, when the server ends idle connections.
const UNIT: u128 = 16;

/// A pause of the upstream after which its next word is the answer to the client's last, in units of the clock.
#[expect(clippy::cast_possible_truncation, reason = "16")]
const PAUSE: u16 = QUIET_STREAM.as_millis().div_ceil(UNIT) as u16;

/// The state of a conversation. Four bytes, because each connection has one. The clock is read for longer answers only.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Talk {
    /// The time at which the upstream has last spoken. Kept for longer answers only.
    last: u16,
    /// Recent turns in which the upstream has spoken.
    turns: u8,
    word: Word,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The client has said nothing since the upstream has.
    #[default]
    Answered,
    /// The client has spoken last.
    Asked,
    /// The client has spoken in the midst of an answer to an earlier message.
    AskedAmid,
    /// That answer has gone on since.
    AmidRest,
}

impl Talk {
    pub(super) fn is_unanswered(self) -> bool {
        self.word != Word::Answered
    }

    /// Records a turn of each direction.
    pub(super) fn note(&mut self, up: &Turn, down: &Turn, now: impl Fn() -> u16) {
        if up.moved {
            self.asked(&now);
        }
        if down.moved {
            // Bytes that were there already when the message went on are no answer to it. Those of a hook may be.
            self.spoken(up.moved && down.read, &now);
        }
    }

    fn asked(&mut self, now: impl Fn() -> u16) {
        if matches!(self.word, Word::Asked | Word::AskedAmid) {
            return;
        }
        let is_amid = self.turns >= LONG && now().wrapping_sub(self.last) < PAUSE;
        self.word = if is_amid { Word::AskedAmid } else { Word::Asked };
        self.turns = if is_amid { self.turns / 2 } else { 0 };
    }

    fn spoken(&mut self, was_there: bool, now: impl Fn() -> u16) {
        self.turns = MOST.min(self.turns + 1);
        let is_amid = matches!(self.word, Word::AskedAmid | Word::AmidRest);
        let mut goes_on = is_amid;
        if is_amid || self.turns >= LONG {
            let now = now();
            // The first time, the kept value is of an earlier answer.
            if (is_amid || self.turns > LONG) && now.wrapping_sub(self.last) >= PAUSE {
                (self.turns, goes_on) = (1, false);
            }
            self.last = now;
        }
        if goes_on {
            self.word = Word::AmidRest;
        } else if !was_there {
            self.word = Word::Answered;
        }
    }
}

/// Returns the time of this process's clock, in units.
pub(super) fn now() -> u16 {
    static START: OnceLock<Instant> = OnceLock::new();
    let units = START.get_or_init(Instant::now).elapsed().as_millis() / UNIT;
    let [low, high, ..] = units.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays turns: `q` the client's, `a` the upstream's, `b` both at once, `h` the client's with a hook's answer, `.` a pause.
    fn is_unanswered(turns: &str) -> bool {
        // The clock wraps on the way.
        let (mut talk, mut clock) = (Talk::default(), u16::MAX - 1);
        for turn in turns.chars() {
            let up = Turn { moved: "qbh".contains(turn), ..Turn::default() };
            let down = Turn { moved: "abh".contains(turn), read: "ab".contains(turn), ..Turn::default() };
            match turn {
                '.' => clock = clock.wrapping_add(PAUSE),
                _ => talk.note(&up, &down, || clock),
            }
        }
        talk.is_unanswered()
    }

    #[test]
    fn an_exchange_is_over_with_its_answer() {
        for over in ["", "a", "qa", "qaaaaaaaa", "qaqaqaqaqaqaqaqaqa", "qaaaqaaaqaaaqaaa", "qqqa", "ba", "h", "qhqh"] {
            assert!(!is_unanswered(over), "{over}");
        }
        for open in ["q", "qaq", "qqq", "qaaaaaq", "qaaaaa.q", "b", "qab"] {
            assert!(is_unanswered(open), "{open}");
        }
    }

    #[test]
    fn the_rest_of_an_answer_is_none_to_a_later_word() {
        for open in ["qaaaaqa", "qaaaaqaaaaaaaaaaaaaa", "qaaaaaaqqaqa", "qaaaaba", "aaaaqa", "qaaaaqa.q"] {
            assert!(is_unanswered(open), "{open}");
        }
        for over in ["qaaaaqa.a", "qaaaaq.a", "qaaaa.qa", "qaaaaqaaaa.aaaa", "qaaaaqa.aqa"] {
            assert!(!is_unanswered(over), "{over}");
        }
    }

    #[test]
    fn a_long_answer_is_forgotten_after_a_few_short_ones() {
        let long = format!("q{}", "a".repeat(1000));
        assert!(is_unanswered(&format!("{long}qa")));
        assert!(!is_unanswered(&format!("{long}qaqaqaqaqa")));
    }

    #[test]
    fn it_takes_no_more_than_the_room_that_a_relay_has_for_it() {
        assert_eq!(size_of::<Talk>(), 4);
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        assert_eq!(size_of::<crate::relay::state::Relay<'_>>(), 296);
    }
}
