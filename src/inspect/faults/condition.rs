//! The condition of a fault: where in a stream it may strike, and how often.

use std::sync::Arc;

use crate::matching::matcher::Matcher;

/// Where a fault may strike, and how often. Each place in a stream that fits is an occurrence.
///
/// Without a matcher a stream of bytes has one occurrence, behind its first `after_bytes`; a framed direction has one at each
/// message that begins there or later. With a matcher the occurrences are the matches that end behind `after_bytes`, or the
/// messages that have one.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The probability of a strike at an occurrence, from 0 to 1.
    pub probability: f64,
    pub after_bytes: u64,
    pub matcher: Option<Arc<Matcher>>,
    /// The number of the first occurrence at which it may strike, from 1, over all connections.
    pub nth: Option<u64>,
    /// The maximum number of strikes, over all connections. With `nth` alone it is 1.
    pub times: Option<u64>,
}

impl Default for Condition {
    fn default() -> Self {
        Self { probability: 1.0, after_bytes: 0, matcher: None, nth: None, times: None }
    }
}
