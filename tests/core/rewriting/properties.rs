//! What holds for every rewriting and every stream. The fuzzer uses this file too.

use std::sync::Arc;

use bytes::Bytes;
use interpose::inspect::{
    End, Outbox, Progress, Stage,
    filters::{rewrite::Rewrite, rewrite_stage::RewriteStage},
};

/// Stands between the parts of a case: the pattern, its replacement, and the stream.
pub const PART: &[u8] = b"<PART>";

/// Panics unless a stream is rewritten alike wherever it is split. A case that is no rewriting holds.
pub fn check(case: &[u8]) {
    let mut parts = split_at_part(case);
    let (Some(pattern), Some(replacement), Some(stream)) = (parts.next(), parts.next(), parts.next()) else { return };
    if pattern.len() > 64 || replacement.len() > 64 || stream.len() > 4096 {
        return;
    }
    let expression = Rewrite::expression(pattern, replacement);
    let literals = Rewrite::literals(pattern.split(|byte| *byte == b'|').map(|old| (copy(old), copy(replacement))).collect());
    for rewrite in expression.into_iter().chain(literals) {
        let rewrite = Arc::new(rewrite);
        let whole = rewritten(&rewrite, stream, usize::MAX);
        for size in [1, 2, 3, 7] {
            let split = rewritten(&rewrite, stream, size);
            assert!(whole == split, "in pieces of {size}: {} for {}", split.escape_ascii(), whole.escape_ascii());
        }
    }
}

fn split_at_part(case: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(case);
    std::iter::from_fn(move || {
        let now = rest?;
        let at = now.windows(PART.len()).position(|bytes| bytes == PART);
        rest = at.map(|at| &now[at + PART.len()..]);
        Some(at.map_or(now, |at| &now[..at]))
    })
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Returns what goes out if `stream` comes in pieces of `size` bytes.
fn rewritten(rewrite: &Arc<Rewrite>, stream: &[u8], size: usize) -> Vec<u8> {
    let (mut stage, mut out, mut gone) = (RewriteStage::new(Arc::clone(rewrite)), Outbox::default(), Vec::new());
    let mut figures = (0, 0);
    let mut pieces = stream.chunks(size.min(stream.len().max(1))).peekable();
    if pieces.peek().is_none() {
        return gone;
    }
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_some() { End::Open } else { End::Finished };
        let mut progress = stage.feed(copy(piece).into(), end, &mut out);
        loop {
            gone.extend(std::iter::from_fn(|| out.next_piece()).flat_map(|(bytes, _)| bytes));
            let (added, dropped) = out.take_figures();
            figures = (figures.0 + added, figures.1 + dropped);
            assert!(stage.kept() <= 2 * stream.len() + 64, "it keeps {}", stage.kept());
            match progress {
                Progress::Again => progress = stage.resume(&mut out),
                Progress::Moved => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(stage.kept(), 0, "nothing is kept behind the end");
    assert_eq!(stream.len() + figures.0 - figures.1, gone.len(), "the figures are those of the bytes");
    gone
}
