//! The schedule of a link, or of a server, that goes up and down.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::words::lock::EvenPoisoned;

/// The part that is down while a schedule is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// The entrance: clients are refused, and live connections go on.
    Entrance,
    /// The server: clients are refused, and live connections are reset.
    Server,
    /// The link: bytes stand still, and go on when it is up again.
    Link,
}

/// A schedule, which all connections share.
#[derive(Debug)]
pub struct Flap {
    /// Times that it is up and down, by turns, and then from the beginning again. An even number of them.
    spans: Vec<Duration>,
    pub down: Down,
    /// When it was put in force, or was looked at first.
    began: Mutex<Option<Instant>>,
}

impl Flap {
    /// Returns a schedule that begins, up, when it is put in force. None without a time, or for an odd number of them.
    pub fn new(spans: Vec<Duration>, down: Down) -> Option<Self> {
        let total = spans.iter().try_fold(Duration::ZERO, |total, span| total.checked_add(*span))?;
        (spans.len().is_multiple_of(2) && total > Duration::ZERO).then_some(Self { spans, down, began: Mutex::new(None) })
    }

    /// Begins the schedule, because it is put in force.
    pub fn begin(&self, now: Instant) {
        *self.began.lock().even_poisoned() = Some(now);
    }

    /// Returns whether it is up, and until when.
    pub fn phase(&self, now: Instant) -> (bool, Instant) {
        let began = *self.began.lock().even_poisoned().get_or_insert(now);
        let total: u128 = self.spans.iter().map(Duration::as_nanos).sum();
        let elapsed = now.saturating_duration_since(began).as_nanos();
        let mut left = elapsed % total;
        for (number, span) in self.spans.iter().enumerate() {
            let span = span.as_nanos();
            if left < span {
                let rest = Duration::from_nanos(u64::try_from(span - left).unwrap_or(u64::MAX));
                return (number % 2 == 0, now + rest);
            }
            left -= span;
        }
        (true, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(times: &[u64]) -> Vec<Duration> {
        times.iter().map(|time| Duration::from_secs(*time)).collect()
    }

    #[test]
    fn it_is_up_and_down_by_turns_from_its_first_look_on() {
        let (start, flap) = (Instant::now(), Flap::new(seconds(&[2, 1, 0, 3]), Down::Link).unwrap());
        let at = |second: u64| {
            let (is_up, until) = flap.phase(start + Duration::from_secs(second));
            (is_up, (until - start).as_secs())
        };
        let seen: Vec<_> = (0..8).map(at).collect();
        assert_eq!(seen, [(true, 2), (true, 2), (false, 3), (false, 6), (false, 6), (false, 6), (true, 8), (true, 8)]);
        for wrong in [&[][..], &[1], &[0, 0], &[1, 2, 3]] {
            assert!(Flap::new(seconds(wrong), Down::Link).is_none(), "{wrong:?}");
        }
    }
}
