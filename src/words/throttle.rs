//! A limit of one log line a second for each subject.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::lock::EvenPoisoned;

const INTERVAL: Duration = Duration::from_secs(1);

/// Allows one line a second, and counts the lines that were suppressed since the last.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State { last: None, held_back: 0 }))
    }

    /// Returns the text to append to the line, or `None` if the line is to be suppressed.
    pub(crate) fn pass(&self) -> Option<String> {
        let mut state = self.0.lock().even_poisoned();
        if state.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(Instant::now());
        match std::mem::take(&mut state.held_back) {
            0 => Some(String::new()),
            count => Some(format!(" ({count} like it not shown)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_line_within_a_second_is_held_back_and_counted() {
        let throttle = Throttle::default();
        assert_eq!(throttle.pass().as_deref(), Some(""));
        assert_eq!(throttle.pass(), None);
        throttle.0.lock().unwrap().last = None;
        assert_eq!(throttle.pass().as_deref(), Some(" (1 like it not shown)"));
    }
}
