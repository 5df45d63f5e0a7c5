//! The bounds of time limits.

use std::time::Duration;

use super::error::{Error, ErrorKind};

/// The longest limit that any clock can add to its current time.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Refuses a time limit that would end everything at once, or that no clock can represent.
pub(crate) fn check(name: &str, limit: Duration) -> Result<(), Error> {
    let wrong = |why: &str| Err(Error::new(ErrorKind::Config, format!("{name}: {why}, or None for no limit")));
    match limit {
        limit if limit > LONGEST => wrong("more than 100 years cannot be counted; give less"),
        Duration::ZERO => wrong("0 seconds would end every connection; give more"),
        _ => Ok(()),
    }
}
