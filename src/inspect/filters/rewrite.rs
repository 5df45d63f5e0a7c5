//! A filter that puts other bytes in place of those that match.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::matching::{
    expression::Expression,
    literals::Literals,
    matcher::{Found, Matcher},
    template::Template,
};

/// Default of how long bytes that may begin a match wait for those behind them: longer than a segment that was lost and is
/// sent again takes.
pub const HOLD: Duration = Duration::from_millis(250);

/// Other bytes in place of those that match.
#[derive(Debug)]
pub struct Rewrite {
    pub(super) matcher: Arc<Matcher>,
    pub(super) instead: Instead,
    /// How long bytes that may begin a match wait for those behind them.
    pub hold: Duration,
    /// The maximum number of matches of each direction of a connection that are replaced.
    pub count: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Instead {
    /// Bytes for each literal; the first for an expression.
    Fixed(Vec<Bytes>),
    Template(Template),
    Made(Arc<dyn Made>),
}

/// Makes what stands in place of matched bytes.
pub trait Made: Send + Sync + fmt::Debug {
    /// Appends it.
    fn put(&self, matched: &[u8], into: &mut Vec<u8>);
}

impl Rewrite {
    /// Returns the filter that replaces literals, all at once: what is put in place of one is not looked at again.
    pub fn literals(pairs: Vec<(Bytes, Bytes)>) -> Result<Self, String> {
        let (old, new): (Vec<Bytes>, Vec<Bytes>) = pairs.into_iter().unzip();
        Ok(Self::of(Matcher::Literals(Literals::new(&old)?), Instead::Fixed(new)))
    }

    /// Returns the filter that replaces what an expression matches.
    pub fn expression(pattern: &[u8], replacement: &[u8]) -> Result<Self, String> {
        let expression = Expression::new(pattern).map_err(|error| format!("pattern: {error}"))?;
        let template = Template::new(replacement, &expression).map_err(|error| format!("replacement: {error}"))?;
        let instead = template.fixed().map_or(Instead::Template(template), |fixed| Instead::Fixed(vec![fixed]));
        Ok(Self::of(Matcher::Expression(Box::new(expression)), instead))
    }

    /// Returns one whose replacements are made at each match.
    pub fn made(matcher: Arc<Matcher>, made: Arc<dyn Made>) -> Self {
        Self { matcher, instead: Instead::Made(made), hold: HOLD, count: None }
    }

    fn of(matcher: Matcher, instead: Instead) -> Self {
        Self { matcher: Arc::new(matcher), instead, hold: HOLD, count: None }
    }

    /// Appends what stands in place of a match in `hay`.
    pub(super) fn put(&self, hay: &[u8], found: &Found, into: &mut Vec<u8>) {
        match (&self.instead, &*self.matcher) {
            (Instead::Made(made), _) => made.put(&hay[found.range.clone()], into),
            (Instead::Fixed(fixed), _) => into.extend_from_slice(&fixed[found.which]),
            (Instead::Template(template), Matcher::Expression(expression)) => {
                if let Some(captures) = expression.captures(hay, found.range.start) {
                    template.expand(&captures, into);
                }
            }
            (Instead::Template(_), Matcher::Literals(_)) => {}
        }
    }

    /// Returns the next match in `hay`, from `from` on, that no byte behind `hay` can change; or the place from which on a
    /// match may begin. `undecided`: such places, the last first, of which those before `from` are removed.
    pub(super) fn next(&self, hay: &[u8], from: usize, undecided: &mut Vec<usize>) -> Next {
        let found = self.matcher.find(hay, from);
        while undecided.pop_if(|place| *place < from).is_some() {}
        let undecided = undecided.last().copied().unwrap_or(hay.len());
        match found {
            Some(found) if found.range.start < undecided => Next::Match(found),
            Some(found) if found.range.start == undecided && self.matcher.is_final(hay, &found) => Next::Match(found),
            found => Next::Undecided(undecided, found),
        }
    }
}

/// The beginning of bytes.
#[derive(Debug)]
pub(super) enum Next {
    Match(Found),
    /// The first place from which on more bytes may make a match, and the match there is if none come.
    Undecided(usize, Option<Found>),
}

/// Bytes that were rewritten: what goes out, up to which index of those that came.
#[derive(Default)]
pub(super) struct Rewritten {
    pub bytes: Vec<u8>,
    pub up_to: usize,
    /// Index of the first byte that waits for those behind it. All bytes in between wait for their turn.
    pub undecided: usize,
    pub matches: u64,
    /// Number of bytes that did not come from the source.
    pub added: usize,
    /// Number of bytes of the source that go no further.
    pub dropped: usize,
}

impl fmt::Debug for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewritten").field("bytes", &self.bytes.len()).field("up_to", &self.up_to).finish_non_exhaustive()
    }
}

impl Rewritten {
    pub(super) fn replace(&mut self, rewrite: &Rewrite, hay: &[u8], found: &Found) {
        let Range { start, end } = found.range;
        self.bytes.extend_from_slice(&hay[self.up_to..start]);
        let before = self.bytes.len();
        rewrite.put(hay, found, &mut self.bytes);
        self.added += self.bytes.len() - before;
        self.dropped += end - start;
        self.up_to = end;
        self.matches += 1;
    }
}
