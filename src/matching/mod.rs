//! Matching: literals and regular expressions, found in a stream that comes in pieces.
//!
//! A [`Matcher`](matcher::Matcher) is asked two things of the bytes that there are: where it matches, and from where on more
//! bytes might still make a match. What lies before that place is decided, and need not wait.

pub mod beginnings;
pub mod expression;
mod last_bytes;
pub mod literals;
pub mod matcher;
pub mod template;
pub mod whole;
