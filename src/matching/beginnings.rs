//! The beginnings of what an expression matches.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// Returns an expression that matches all beginnings, but for whole matches, of what `hir` matches: whatever more bytes could
/// make a match of, or change a match of. It may match more than that, and never less.
///
/// Assertions count as met. One at the end has its match wait for the byte behind it.
pub(super) fn beginnings(hir: &Hir) -> Hir {
    begun(hir).unwrap_or_else(Hir::fail)
}

/// Returns `None` for an expression of which nothing is a beginning.
fn begun(hir: &Hir) -> Option<Hir> {
    match hir.kind() {
        HirKind::Empty => None,
        HirKind::Look(_) => Some(Hir::empty()),
        HirKind::Literal(literal) => Some(of_literal(&literal.0)),
        HirKind::Class(Class::Unicode(class)) if !class.is_ascii() => {
            let high = regex_syntax::hir::ClassBytesRange::new(0x80, 0xff);
            let high = Hir::class(Class::Bytes(regex_syntax::hir::ClassBytes::new([high])));
            Some(repeated(high, Some(3)))
        }
        HirKind::Class(_) => Some(Hir::empty()),
        HirKind::Repetition(Repetition { max: Some(0), .. }) => None,
        HirKind::Repetition(Repetition { max, sub, .. }) => {
            let last = begun(sub)?;
            Some(Hir::concat(vec![repeated(plain(sub), max.map(|max| max - 1)), last]))
        }
        HirKind::Capture(capture) => begun(&capture.sub),
        HirKind::Alternation(subs) => {
            let begun: Vec<Hir> = subs.iter().filter_map(begun).collect();
            (!begun.is_empty()).then(|| Hir::alternation(begun))
        }
        HirKind::Concat(subs) => of_concat(subs),
    }
}

/// Halves of halves: so the expression is little larger, and not deep.
fn of_concat(subs: &[Hir]) -> Option<Hir> {
    let [first, .., _] = subs else { return subs.first().and_then(begun) };
    let (left, right) = subs.split_at((subs.len() / 2).max(1));
    let begun_left = if left.len() == 1 { begun(first) } else { of_concat(left) };
    let begun_right = of_concat(right).map(|right| Hir::concat(left.iter().map(plain).chain([right]).collect()));
    match (begun_left, begun_right) {
        (Some(left), Some(right)) => Some(Hir::alternation(vec![left, right])),
        (left, right) => left.or(right),
    }
}

fn of_literal(bytes: &[u8]) -> Hir {
    if bytes.len() <= 1 {
        return Hir::empty();
    }
    let (left, right) = bytes.split_at(bytes.len() / 2);
    Hir::alternation(vec![of_literal(left), Hir::concat(vec![Hir::literal(left), of_literal(right)])])
}

fn repeated(sub: Hir, max: Option<u32>) -> Hir {
    Hir::repetition(Repetition { min: 0, max, greedy: true, sub: Box::new(sub) })
}

/// Returns an expression without assertions and groups.
fn plain(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
        HirKind::Repetition(repetition) => Hir::repetition(repetition.with(plain(&repetition.sub))),
        HirKind::Capture(capture) => plain(&capture.sub),
        HirKind::Concat(subs) => Hir::concat(subs.iter().map(plain).collect()),
        HirKind::Alternation(subs) => Hir::alternation(subs.iter().map(plain).collect()),
    }
}
