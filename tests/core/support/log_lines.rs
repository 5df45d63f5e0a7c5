//! What the core logs, kept for a test that runs in a process of its own.

use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Kept(Mutex<Vec<(String, Level, String)>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.target().to_owned(), record.level(), record.args().to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// Keeps every line from now on.
pub fn start() {
    log::set_logger(&KEPT).unwrap();
    log::set_max_level(LevelFilter::Trace);
}

/// The lines of one target and level so far.
pub fn of(target: &str, level: Level) -> Vec<String> {
    let kept = KEPT.0.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().filter(|line| line.0 == target && line.1 == level).map(|line| line.2.clone()).collect()
}
