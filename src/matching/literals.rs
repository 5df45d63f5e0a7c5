//! Literals: byte strings, of which several may be looked for at once.

use std::{fmt, ops::Range};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, Input, MatchKind};
use memchr::memmem;

use super::last_bytes::LastBytes;

/// Maximum length of all literals of a matcher together.
pub const MOST_LITERAL: usize = 64 * 1024;

/// Byte strings. Of several that begin at one place the longest is found.
#[derive(Debug)]
pub struct Literals {
    search: Search,
    beginnings: Vec<Beginnings>,
    ends: LastBytes,
}

enum Search {
    One(Box<memmem::Finder<'static>>),
    Several(AhoCorasick),
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(finder) => f.debug_tuple("One").field(&finder.needle()).finish(),
            Self::Several(several) => f.debug_tuple("Several").field(&several.patterns_len()).finish(),
        }
    }
}

impl Literals {
    /// Returns the matcher of literals, none of which may be empty or there twice. An error is the end of a sentence that
    /// begins with what they are for.
    pub fn new(literals: &[impl AsRef<[u8]>]) -> Result<Self, String> {
        let literals: Vec<&[u8]> = literals.iter().map(AsRef::as_ref).collect();
        if literals.is_empty() {
            return Err("needs at least one byte string to look for".to_owned());
        }
        if literals.iter().any(|literal| literal.is_empty()) {
            return Err("an empty byte string is everywhere; write the bytes to look for".to_owned());
        }
        let length: usize = literals.iter().map(|literal| literal.len()).sum();
        if length > MOST_LITERAL {
            return Err(format!("{length} bytes to look for are more than {MOST_LITERAL}"));
        }
        let mut sorted = literals.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("\"{}\" is there twice; keep one of the two", twice[0].escape_ascii()));
        }
        let search = match &literals[..] {
            [one] => Search::One(Box::new(memmem::Finder::new(one).into_owned())),
            several => {
                let built = AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(several);
                Search::Several(built.map_err(|error| format!("too many byte strings: {error}"))?)
            }
        };
        let ends = LastBytes::of(|byte| literals.iter().any(|literal| literal[..literal.len() - 1].contains(&byte)));
        Ok(Self { search, beginnings: literals.into_iter().map(Beginnings::of).collect(), ends })
    }

    /// Returns the first match that begins at `from` or later, and the number of its literal.
    pub fn find(&self, hay: &[u8], from: usize) -> Option<(Range<usize>, usize)> {
        match &self.search {
            Search::One(finder) => {
                let at = from + finder.find(&hay[from..])?;
                Some((at..at + finder.needle().len(), 0))
            }
            Search::Several(several) => {
                let found = several.find(Input::new(hay).range(from..))?;
                Some((found.range(), found.pattern().as_usize()))
            }
        }
    }

    /// Returns the places, at `from` or later, from which on `hay` is the beginning of a literal that it does not complete;
    /// the last first.
    pub fn undecided(&self, hay: &[u8], from: usize) -> Vec<usize> {
        let mut places: Vec<usize> = Vec::new();
        if !self.ends.may_end(&hay[from..]) {
            return places;
        }
        for beginnings in &self.beginnings {
            beginnings.all_at_end(&hay[from..], |length| places.push(hay.len() - length));
        }
        places.sort_unstable_by(|one, other| other.cmp(one));
        places
    }
}

/// The beginnings of one literal, found at the end of bytes in one pass over these.
#[derive(Debug)]
struct Beginnings {
    literal: Box<[u8]>,
    /// For each beginning of the literal: the length of the longest shorter one at its end.
    shorter: Box<[u32]>,
}

impl Beginnings {
    fn of(literal: &[u8]) -> Self {
        let mut shorter = vec![0; literal.len()];
        let mut length = 0;
        for at in 1..literal.len() {
            length = step(literal, &shorter, length, literal[at]);
            shorter[at] = length as u32;
        }
        Self { literal: literal.into(), shorter: shorter.into() }
    }

    /// Calls `each` with the lengths of the beginnings, but for the whole literal, that stand at the end of `hay`.
    fn all_at_end(&self, hay: &[u8], mut each: impl FnMut(usize)) {
        let end = &hay[hay.len().saturating_sub(self.literal.len() - 1)..];
        let mut length = end.iter().fold(0, |length, byte| step(&self.literal, &self.shorter, length, *byte));
        while length > 0 {
            each(length);
            length = self.shorter[length - 1] as usize;
        }
    }
}

fn step(literal: &[u8], shorter: &[u32], mut length: usize, byte: u8) -> usize {
    loop {
        if literal[length] == byte {
            return length + 1;
        }
        if length == 0 {
            return 0;
        }
        length = shorter[length - 1] as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undecided(literals: &[&str], hay: &str) -> usize {
        let places = Literals::new(literals).expect("literals").undecided(hay.as_bytes(), 0);
        assert!(places.is_sorted_by(|one, other| one >= other), "{places:?}");
        places.last().copied().unwrap_or(hay.len())
    }

    #[test]
    fn what_may_begin_a_literal_is_undecided_and_nothing_else() {
        for (literals, hay, at) in [
            (&["abc"][..], "xxab", 2),
            (&["abc"], "xxabc", 5),
            (&["abc"], "ab", 0),
            (&["abc"], "abd", 3),
            (&["aab"], "aaaa", 2),
            (&["abab"], "xaba", 1),
            (&["ababc"], "abab", 0),
            (&["a"], "aaa", 3),
            (&["xyz", "bcde"], "abcx", 3),
            (&["xyz", "bcxe"], "abcx", 1),
            (&["ab", "abcd"], "xab", 1),
        ] {
            assert_eq!(undecided(literals, hay), at, "{literals:?} {hay}");
        }
    }

    #[test]
    fn the_longest_of_those_that_begin_at_one_place_is_found() {
        let literals = Literals::new(&["ab", "abcd", "bc"]).expect("literals");
        assert_eq!(literals.find(b"xabcd", 0), Some((1..5, 1)));
        assert_eq!(literals.find(b"xabc", 0), Some((1..3, 0)));
        assert_eq!(literals.find(b"xabc", 2), Some((2..4, 2)));
        assert_eq!(literals.find(b"xabc", 3), None);
    }

    #[test]
    fn literals_that_cannot_be_meant_are_refused() {
        for (literals, error) in [
            (&[][..], "at least one"),
            (&["a", ""], "empty"),
            (&["a", "b", "a"], "\"a\" is there twice"),
            (&["x".repeat(MOST_LITERAL + 1).as_str()], "65537 bytes"),
        ] {
            let refused = Literals::new(literals).expect_err(error);
            assert!(refused.contains(error), "{refused}");
        }
    }
}
