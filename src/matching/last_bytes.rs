//! The bytes that the beginnings of matches may end with. Most streams pause behind another one, so one look at the last byte
//! that has come spares the search for a beginning there.

use std::fmt;

/// A set of bytes.
pub(super) struct LastBytes(Box<[bool; 256]>);

impl LastBytes {
    /// Returns the set of the bytes for which `is_in` returns true.
    pub(super) fn of(is_in: impl Fn(u8) -> bool) -> Self {
        Self(Box::new(std::array::from_fn(|byte| is_in(byte as u8))))
    }

    /// Returns true if `hay` ends with one of them.
    pub(super) fn may_end(&self, hay: &[u8]) -> bool {
        hay.last().is_some_and(|last| self.0[usize::from(*last)])
    }
}

impl fmt::Debug for LastBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastBytes").field(&self.0.iter().filter(|is_in| **is_in).count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{expression::Expression, literals::Literals};

    #[test]
    fn a_byte_at_the_end_is_undecided_if_and_only_if_it_may_end_a_beginning() {
        let literals = Literals::new(&["abc", "xb"]).expect("literals");
        let expression = Expression::new(b"(ab|xy)[0-9]+z").expect("an expression");
        let class = Expression::new(b"\\bq.").expect("an expression");
        for byte in 0..=u8::MAX {
            let at_end = |hay: Vec<usize>| hay.last() == Some(&1);
            let hay = [b'-', byte];
            assert_eq!(at_end(literals.undecided(&hay, 0)), b"ax".contains(&byte), "{byte}");
            assert_eq!(at_end(expression.undecided(&hay, 0)), b"ax".contains(&byte), "{byte}");
            assert_eq!(at_end(class.undecided(&hay, 0)), byte == b'q', "{byte}");
        }
        for hay in ["-ab", "-ab0", "-ab01", "-xy7"] {
            assert_eq!(expression.undecided(hay.as_bytes(), 0).last(), Some(&1), "{hay}");
        }
        assert!(expression.undecided(b"-ab1z", 0).is_empty() && literals.undecided(b"", 0).is_empty());
    }
}
