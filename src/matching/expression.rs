//! Regular expressions over bytes, in time in proportion to the bytes.

use std::{fmt, ops::Range};

use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_automata::{
    Anchored, Input,
    hybrid::{
        LazyStateID,
        dfa::{self, Cache, DFA},
    },
    nfa::thompson::{self, NFA, WhichCaptures},
    util::pool::Pool,
};
use regex_syntax::{ParserBuilder, hir::Hir};

use super::{beginnings::beginnings, last_bytes::LastBytes};

/// Maximum bytes of a match that comes in several pieces.
pub const WINDOW: usize = 64 * 1024;

/// Memory limit of a compiled expression.
pub(super) const MOST_MEMORY: usize = 4 * 1024 * 1024;

/// Memory of the states that are worked out on the way, for each thread.
pub(super) const STATES: usize = 1024 * 1024;

type Caches = (Cache, Cache);

/// A regular expression. `.`, `\w` and the like mean bytes and ASCII, as in Python's `re` for bytes.
pub struct Expression {
    regex: Regex,
    /// Finds, backwards from the end, the first place from which on everything is a beginning of a match.
    beginnings: DFA,
    /// Follows a match from its first byte on.
    follower: DFA,
    caches: Pool<Caches, Box<dyn Fn() -> Caches + Send + Sync>>,
    has_assertions: bool,
    ends: LastBytes,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.regex.as_str()).finish()
    }
}

impl Expression {
    /// Returns the matcher of an expression. An error is one line: its place, and what is wrong there.
    pub fn new(pattern: &[u8]) -> Result<Self, String> {
        let pattern = ascii(pattern);
        let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(&pattern).map_err(|error| wrong(&error))?;
        match hir.properties().minimum_len() {
            None => return Err(format!("{pattern} can match nothing")),
            Some(0) => return Err(format!("{pattern} matches where there is nothing; write + in place of *, or more")),
            Some(_) => {}
        }
        let too_large = || format!("it needs more than {MOST_MEMORY} bytes of memory; write it shorter");
        let regex = RegexBuilder::new(&pattern).unicode(false).size_limit(MOST_MEMORY).build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => too_large(),
            other => other.to_string().replace('\n', " "),
        })?;
        let beginnings = dfa_of(&beginnings(&hir), true).map_err(|_| too_large())?;
        let follower = dfa_of(&hir, false).map_err(|_| too_large())?;
        let made = (beginnings.clone(), follower.clone());
        let caches: Box<dyn Fn() -> Caches + Send + Sync> = Box::new(move || (made.0.create_cache(), made.1.create_cache()));
        let has_assertions = !hir.properties().look_set().is_empty();
        let ends = last_bytes(&beginnings).unwrap_or_else(|| LastBytes::of(|_| true));
        Ok(Self { regex, beginnings, follower, caches: Pool::new(caches), has_assertions, ends })
    }

    /// Returns true if a match may depend on the byte before it.
    pub fn has_assertions(&self) -> bool {
        self.has_assertions
    }

    /// Returns the number of groups, and their names.
    pub fn groups(&self) -> impl Iterator<Item = Option<&str>> {
        self.regex.capture_names()
    }

    /// Returns the first match that begins at `from` or later.
    pub fn find(&self, hay: &[u8], from: usize) -> Option<Range<usize>> {
        self.regex.find_at(hay, from).map(|found| found.range())
    }

    /// Returns the groups of the first match that begins at `from` or later.
    pub fn captures<'h>(&self, hay: &'h [u8], from: usize) -> Option<Captures<'h>> {
        self.regex.captures_at(hay, from)
    }

    /// Returns the places, at `from` or later, from which on `hay` may be the beginning of a match that it does not complete;
    /// the last first. One pass, which ends where nothing more can be one.
    pub fn undecided(&self, hay: &[u8], from: usize) -> Vec<usize> {
        let mut places = Vec::new();
        if !self.ends.may_end(&hay[from..]) {
            return places;
        }
        if self.walk_back(hay, from, &mut places).is_none() {
            places.push(from);
        }
        places
    }

    /// Returns `None` if the states do not tell.
    fn walk_back(&self, hay: &[u8], from: usize, places: &mut Vec<usize>) -> Option<()> {
        let (dfa, cache) = (&self.beginnings, &mut self.caches.get().0);
        let input = Input::new(hay).range(from..).anchored(Anchored::Yes);
        let mut state = dfa.start_state_reverse(cache, &input).ok()?;
        // A match is known one byte late.
        for at in (from..hay.len()).rev() {
            state = dfa.next_state(cache, state, hay[at]).ok()?;
            if state.is_match() && at + 1 < hay.len() {
                places.push(at + 1);
            }
            if state.is_dead() {
                return Some(());
            }
            if state.is_quit() {
                return None;
            }
        }
        if from < hay.len() && dfa.next_eoi_state(cache, state).ok()?.is_match() {
            places.push(from);
        }
        Some(())
    }

    /// Returns true if a match stays what it is, whatever follows.
    pub fn is_final(&self, hay: &[u8], found: &Range<usize>) -> bool {
        let mut caches = self.caches.get();
        self.follow(&mut caches.1, hay, found).unwrap_or(false)
    }

    /// Returns `None` if the states do not tell.
    fn follow(&self, cache: &mut Cache, hay: &[u8], found: &Range<usize>) -> Option<bool> {
        let dfa = &self.follower;
        let input = Input::new(hay).range(found.start..).anchored(Anchored::Yes);
        let mut state = dfa.start_state_forward(cache, &input).ok()?;
        for byte in &hay[found.start..] {
            state = dfa.next_state(cache, state, *byte).ok()?;
            if state.is_dead() {
                return Some(true);
            }
            if state.is_quit() {
                return None;
            }
        }
        // A state is forgotten with all others once there are too many.
        let cleared = cache.clear_count();
        let is_final = if found.end < hay.len() { self.ends(cache, state) } else { self.ends_with_next(cache, state) };
        is_final.filter(|_| cache.clear_count() == cleared)
    }

    /// Returns true if no byte goes on from a state.
    fn ends(&self, cache: &mut Cache, state: LazyStateID) -> Option<bool> {
        for byte in self.bytes() {
            if !self.follower.next_state(cache, state, byte).ok()?.is_dead() {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Returns true if every byte makes known that there is a match before it, and none goes on behind that: a match is known
    /// one byte late.
    fn ends_with_next(&self, cache: &mut Cache, state: LazyStateID) -> Option<bool> {
        let mut known = None;
        for byte in self.bytes() {
            let next = self.follower.next_state(cache, state, byte).ok()?;
            if known == Some(next) {
                continue;
            }
            if !next.is_match() || !self.ends(cache, next)? {
                return Some(false);
            }
            known = Some(next);
        }
        Some(true)
    }

    /// Returns a byte of each class that states tell from the others.
    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.follower.byte_classes().representatives(0..=255).filter_map(|unit| unit.as_u8())
    }
}

/// Returns the bytes that may be the last of a beginning. `None` if the states do not tell.
fn last_bytes(beginnings: &DFA) -> Option<LastBytes> {
    let mut cache = beginnings.create_cache();
    let mut may_end = [false; 256];
    for byte in 0..=u8::MAX {
        let hay = [byte];
        let start = beginnings.start_state_reverse(&mut cache, &Input::new(&hay).anchored(Anchored::Yes)).ok()?;
        let state = beginnings.next_state(&mut cache, start, byte).ok()?;
        may_end[usize::from(byte)] = !state.is_dead();
    }
    Some(LastBytes::of(|byte| may_end[usize::from(byte)]))
}

fn dfa_of(hir: &Hir, reverse: bool) -> Result<DFA, String> {
    let config = thompson::Config::new()
        .reverse(reverse)
        .utf8(false)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(MOST_MEMORY));
    let nfa: NFA = thompson::Compiler::new().configure(config).build_from_hir(hir).map_err(|error| error.to_string())?;
    let kind = if reverse { regex_automata::MatchKind::All } else { regex_automata::MatchKind::LeftmostFirst };
    let config = dfa::Config::new().match_kind(kind).cache_capacity(STATES).skip_cache_capacity_check(true);
    dfa::Builder::new().configure(config).build_from_nfa(nfa).map_err(|error| error.to_string())
}

/// Returns a pattern in which bytes beyond ASCII are escaped, so that each means itself.
pub(super) fn ascii(pattern: &[u8]) -> String {
    let mut text = String::with_capacity(pattern.len());
    for byte in pattern {
        if byte.is_ascii() {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn wrong(error: &regex_syntax::Error) -> String {
    let (place, what) = match error {
        regex_syntax::Error::Parse(error) => (error.span().start.offset, error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span().start.offset, error.kind().to_string()),
        other => return other.to_string().replace('\n', " "),
    };
    format!("at character {}: {what}", place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_begin_a_match_is_undecided_and_nothing_else() {
        for (pattern, hay, at) in [
            ("abc", "xxab", 2),
            ("abc", "xxabc", 5),
            ("[0-9]+", "ab12", 2),
            ("[0-9]+x", "1a12", 2),
            ("[0-9]+x", "1a12b", 5),
            ("a.*b", "xxaccc\nxac", 8),
            ("(foo|bar)baz", "foba", 2),
            ("(foo|bar)baz", "xfoobar", 4),
            ("(foo|bar)baz", "xfoob", 1),
            ("a{3}", "aaaa", 2),
            ("(?i)select", "xSEL", 1),
            (r"\bfoo\b", "a foo", 2),
            (r"\bfoo\b", "a foo.", 6),
            ("foo$", "foo", 0),
            (r"\xff\xfe.", "a\u{1}", 2),
            ("[a-c]x|y", "a", 0),
            ("a(b(c)?)?d", "xabc", 1),
        ] {
            let expression = Expression::new(pattern.as_bytes()).expect(pattern);
            let places = expression.undecided(hay.as_bytes(), 0);
            assert_eq!(places.last().copied().unwrap_or(hay.len()), at, "{pattern} {hay}");
        }
    }

    #[test]
    fn a_match_is_final_where_nothing_can_change_it() {
        for (pattern, hay, is_final) in [
            ("a.*?b", "a b", true),
            ("a.*b", "a b", false),
            ("a.*b", "a b\n", true),
            ("[0-9]+", "12", false),
            ("[0-9]+?", "1", true),
            ("ab|abc", "ab", true),
            ("abc|ab", "ab", false),
            ("foo$", "foo", false),
            (r"foo\b", "foo", false),
            (r"foo\b", "foo ", true),
        ] {
            let expression = Expression::new(pattern.as_bytes()).expect(pattern);
            let found = expression.find(hay.as_bytes(), 0).expect(pattern);
            assert_eq!(expression.is_final(hay.as_bytes(), &found), is_final, "{pattern} {hay}");
        }
    }

    #[test]
    fn wrong_expressions_are_refused_in_one_line_with_the_place() {
        for (pattern, error) in [
            (&b"ab(c"[..], "at character 3: unclosed group"),
            (b"a**", "matches where there is nothing"),
            (b"x*", "matches where there is nothing; write + in place of *"),
            (b"[^\\x00-\\xff]", "can match nothing"),
            (b"(?=a)b", "at character 1: look-around"),
            (b"(a{1000}){1000}", "memory"),
            (b"\\q", "at character 1: unrecognized escape"),
        ] {
            let refused = Expression::new(pattern).expect_err(error);
            assert!(refused.contains(error) && !refused.contains('\n'), "{refused}");
        }
    }

    #[test]
    fn bytes_beyond_ascii_mean_themselves() {
        let expression = Expression::new(b"[\xc0-\xff]\x00").expect("an expression");
        assert_eq!(expression.find(b"a\xfe\x00", 0), Some(1..3));
    }
}
