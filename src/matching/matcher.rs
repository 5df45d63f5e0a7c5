//! A matcher: literals, or an expression.

use std::ops::Range;

use super::{
    expression::{Expression, WINDOW},
    literals::{Literals, MOST_LITERAL},
};

/// Finds places in a stream that comes in pieces.
#[derive(Debug)]
pub enum Matcher {
    Literals(Literals),
    Expression(Box<Expression>),
}

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub range: Range<usize>,
    /// The number of the literal.
    pub which: usize,
}

impl Matcher {
    /// Returns the first match that begins at `from` or later.
    pub fn find(&self, hay: &[u8], from: usize) -> Option<Found> {
        match self {
            Self::Literals(literals) => literals.find(hay, from).map(|(range, which)| Found { range, which }),
            Self::Expression(expression) => expression.find(hay, from).map(|range| Found { range, which: 0 }),
        }
    }

    /// Returns the places, at `from` or later, from which on more bytes might still make a match, or a longer one; the last
    /// first.
    pub fn undecided(&self, hay: &[u8], from: usize) -> Vec<usize> {
        match self {
            Self::Literals(literals) => literals.undecided(hay, from),
            Self::Expression(expression) => expression.undecided(hay, from),
        }
    }

    /// Returns true if a match that begins where `hay` is undecided stays what it is all the same.
    pub fn is_final(&self, hay: &[u8], found: &Found) -> bool {
        match self {
            Self::Literals(_) => false,
            Self::Expression(expression) => expression.is_final(hay, &found.range),
        }
    }

    /// Returns true if a match may depend on the byte before it.
    pub fn looks_behind(&self) -> bool {
        matches!(self, Self::Expression(expression) if expression.has_assertions())
    }

    /// Returns the maximum number of bytes that are kept because they are undecided.
    pub fn window(&self) -> usize {
        match self {
            Self::Literals(_) => MOST_LITERAL,
            Self::Expression(_) => WINDOW,
        }
    }
}
