//! Ends of matches that begin at the first byte, in one pass over the bytes.

use regex_automata::{
    Anchored, Input, MatchKind,
    hybrid::dfa::{self, Cache, DFA},
    nfa::thompson::{self, NFA, WhichCaptures},
    util::pool::Pool,
};
use regex_syntax::ParserBuilder;

use super::expression::{Expression, MOST_MEMORY, STATES, ascii};

/// An expression that is asked where a match that begins at the first byte may end. Unlike a search it knows all of these
/// ends, not only the preferred one.
pub struct Whole {
    expression: Expression,
    dfa: DFA,
    caches: Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>,
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.expression.fmt(f)
    }
}

impl Whole {
    /// Returns the matcher of an expression. An error is one line: its place, and what is wrong there.
    pub fn new(pattern: &[u8]) -> Result<Self, String> {
        let expression = Expression::new(pattern)?;
        let too_large = || format!("it needs more than {MOST_MEMORY} bytes of memory; write it shorter");
        let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(&ascii(pattern)).map_err(|_| too_large())?;
        let config = thompson::Config::new().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(MOST_MEMORY));
        let nfa: NFA = thompson::Compiler::new().configure(config).build_from_hir(&hir).map_err(|_| too_large())?;
        let config = dfa::Config::new().match_kind(MatchKind::All).cache_capacity(STATES).skip_cache_capacity_check(true);
        let dfa = dfa::Builder::new().configure(config).build_from_nfa(nfa).map_err(|_| too_large())?;
        let made = dfa.clone();
        let caches: Box<dyn Fn() -> Cache + Send + Sync> = Box::new(move || made.create_cache());
        Ok(Self { expression, dfa, caches: Pool::new(caches) })
    }

    /// Returns the searching matcher.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// Returns the first place that `allows` and up to which all bytes are a match.
    pub fn first_end(&self, hay: &[u8], allows: impl Fn(usize) -> bool) -> Option<usize> {
        let (dfa, cache) = (&self.dfa, &mut *self.caches.get());
        let mut state = dfa.start_state_forward(cache, &Input::new(hay).anchored(Anchored::Yes)).ok()?;
        for at in 0..=hay.len() {
            if allows(at) && dfa.next_eoi_state(cache, state).ok()?.is_match() {
                return Some(at);
            }
            state = dfa.next_state(cache, state, *hay.get(at)?).ok()?;
            if state.is_dead() || state.is_quit() {
                return None;
            }
        }
        None
    }

    /// Returns true if no match with which `hay` begins has `behind` behind it, and none will, whatever bytes follow.
    pub fn is_hopeless(&self, hay: &[u8], behind: &[u8]) -> bool {
        self.dies_before(hay, behind).unwrap_or(false)
    }

    /// Returns `None` if the states do not tell. A state is used again only behind calls that lead to the dead one: that is
    /// always in the cache, so they add none to it, and the cache is not cleared.
    fn dies_before(&self, hay: &[u8], behind: &[u8]) -> Option<bool> {
        let (dfa, cache) = (&self.dfa, &mut *self.caches.get());
        let mut state = dfa.start_state_forward(cache, &Input::new(hay).anchored(Anchored::Yes)).ok()?;
        for (at, byte) in hay.iter().enumerate() {
            let fits = || hay[at..].iter().zip(behind).all(|(one, other)| one == other);
            if at > 0 && fits() && dfa.next_eoi_state(cache, state).ok()?.is_match() {
                return Some(false);
            }
            state = dfa.next_state(cache, state, *byte).ok()?;
            if state.is_dead() {
                return Some(true);
            }
            if state.is_quit() {
                return None;
            }
        }
        // A match is known one byte late, and so is the end of all.
        if dfa.next_eoi_state(cache, state).ok()?.is_match() {
            return Some(false);
        }
        for byte in 0..=u8::MAX {
            if !dfa.next_state(cache, state, byte).ok()?.is_dead() {
                return Some(false);
            }
        }
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(pattern: &str, hay: &str) -> Vec<usize> {
        let whole = Whole::new(pattern.as_bytes()).unwrap();
        (0..=hay.len()).filter(|end| whole.first_end(hay.as_bytes(), |at| at == *end).is_some()).collect()
    }

    #[test]
    fn all_ends_of_a_match_are_known_and_not_only_the_preferred_one() {
        for (pattern, hay, expected) in [
            ("ab|abc", "abcd", &[2, 3][..]),
            ("abc|ab", "abcd", &[2, 3]),
            ("a+?", "aaab", &[1, 2, 3]),
            ("[0-9]+", "12x", &[1, 2]),
            ("[0-9]+$", "12x", &[1, 2]),
            (r"[a-z]+\b", "ab", &[1, 2]),
            ("b", "ab", &[]),
            ("(?i)id=[^;]*", "ID=1;", &[3, 4]),
        ] {
            assert_eq!(ends(pattern, hay), expected, "{pattern} {hay}");
        }
    }

    #[test]
    fn what_cannot_become_a_match_is_known_at_its_first_wrong_byte() {
        for (pattern, behind, hay, hopeless) in [
            ("id=[0-9]+", ";", "ix", true),
            ("id=[0-9]+", ";", "i", false),
            ("id=[0-9]+", ";", "id=17", false),
            ("id=[0-9]+", ";", "id=17x", true),
            ("id=[0-9]+", "; path", "id=17; p", false),
            ("id=[0-9]+", "; path", "id=17; x", true),
            ("[a-z]+", "end", "aen", false),
            ("[a-z]{2}", "", "ab1", false),
            ("[a-z]{2}", "", "a1", true),
            (".*x", "", "abc", false),
            ("a", ";", "", false),
        ] {
            let whole = Whole::new(pattern.as_bytes()).unwrap();
            assert_eq!(whole.is_hopeless(hay.as_bytes(), behind.as_bytes()), hopeless, "{pattern} {behind} {hay}");
        }
    }

    #[test]
    fn an_expression_that_backtracks_for_ever_elsewhere_takes_one_pass() {
        let whole = Whole::new(b"(a|a)*(a|a)*(a|a)*b").unwrap();
        let hay = vec![b'a'; 100_000];
        let begun = std::time::Instant::now();
        assert_eq!(whole.first_end(&hay, |_| true), None);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
