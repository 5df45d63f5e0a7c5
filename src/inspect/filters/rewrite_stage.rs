//! The stage that rewrites one direction.

use std::{mem, sync::Arc, time::Instant};

use bytes::Bytes;

use super::rewrite::{Next, Rewrite, Rewritten};
use crate::{
    inspect::{End, Outbox, Progress, Stage, framing::ReplacedMessages},
    words::{
        chunk::Chunk,
        outcome::{CloseReason, Failed},
    },
};

/// Number of rewritten bytes that go out before more are rewritten.
const ENOUGH: usize = 128 * 1024;

/// Maximum bytes of a message that was rewritten.
const MOST_MESSAGE: usize = 64 * 1024 * 1024;

/// Rewrites what it is fed. Bytes that may begin a match wait for those behind them, all others go on at once.
///
/// Messages of a framed direction are rewritten one by one: a match lies in one message, and nothing waits.
#[derive(Debug)]
pub struct RewriteStage {
    rewrite: Arc<Rewrite>,
    /// Bytes that may begin a match.
    held: Vec<u8>,
    /// The byte before those, for matches that depend on it.
    before: Option<u8>,
    /// Bytes that were not looked at yet.
    rest: Option<Chunk>,
    end: End,
    /// The instant at which `held` waits no longer.
    due: Option<Instant>,
    /// The number of matches that are still replaced.
    left: u64,
    messages: Option<ReplacedMessages>,
}

impl RewriteStage {
    /// Returns the stage of one direction of a connection.
    pub fn new(rewrite: Arc<Rewrite>) -> Self {
        let left = rewrite.count.unwrap_or(u64::MAX);
        Self { rewrite, held: Vec::new(), before: None, rest: None, end: End::Open, due: None, left, messages: None }
    }

    /// Rewrites the bytes that are there, as far as one write needs. `is_whole`: no others belong to them.
    fn go_on(&mut self, is_whole: bool, out: &mut Outbox) -> Progress {
        let Some(chunk) = self.joined() else { return self.finish(out) };
        let rewritten = self.rewritten(&chunk, usize::from(self.before.is_some()), is_whole, ENOUGH);
        self.send(chunk, rewritten, out);
        if self.rest.is_some() {
            return Progress::Again;
        }
        if !is_whole && !self.held.is_empty() {
            let due = out.now() + self.rewrite.hold;
            self.due = Some(due);
            out.wake_at(due);
        }
        self.finish(out)
    }

    fn finish(&self, out: &mut Outbox) -> Progress {
        if self.end == End::Finished {
            out.end();
        }
        Progress::Moved
    }

    /// Takes the bytes that wait, those that have come behind them, and the one before if it matters.
    fn joined(&mut self) -> Option<Chunk> {
        self.due = None;
        let held = mem::take(&mut self.held);
        match self.rest.take() {
            None if held.is_empty() => None,
            Some(chunk) if held.is_empty() && self.before.is_none() => Some(chunk),
            rest => {
                let before = self.before.as_slice();
                Some(Bytes::from([before, &held[..], rest.as_deref().unwrap_or_default()].concat()).into())
            }
        }
    }

    /// Rewrites `hay` from `from` on, until there are `enough` bytes.
    fn rewritten(&mut self, hay: &[u8], from: usize, is_whole: bool, enough: usize) -> Rewritten {
        let mut done = Rewritten { up_to: from, undecided: hay.len(), ..Rewritten::default() };
        let (mut at, window) = (from, self.rewrite.matcher.window());
        let mut undecided = if is_whole { Vec::new() } else { self.rewrite.matcher.undecided(hay, from) };
        while self.left > 0 {
            if done.bytes.len() >= enough {
                done.undecided = done.up_to;
                return done;
            }
            let found = match self.rewrite.next(hay, at, &mut undecided) {
                Next::Match(found) => found,
                Next::Undecided(first, found) => {
                    // A match that is longer than the window is one of those that there are now, or none.
                    let late = hay.len().saturating_sub(window);
                    if first >= late {
                        done.undecided = first;
                        break;
                    }
                    match found {
                        Some(found) if found.range.start < late => found,
                        _ => {
                            at = late;
                            continue;
                        }
                    }
                }
            };
            self.left -= 1;
            done.replace(&self.rewrite, hay, &found);
            at = found.range.end;
        }
        if done.matches > 0 {
            done.bytes.extend_from_slice(&hay[done.up_to..done.undecided]);
            done.up_to = done.undecided;
        }
        done
    }

    /// Sends what was rewritten, and keeps the rest of the chunk.
    fn send(&mut self, mut chunk: Chunk, done: Rewritten, out: &mut Outbox) {
        let skipped = usize::from(self.before.is_some());
        let is_cut = done.bytes.len() >= ENOUGH && done.undecided == done.up_to && done.undecided < chunk.len();
        if self.rewrite.matcher.looks_behind() && done.undecided > 0 {
            self.before = Some(chunk[done.undecided - 1]);
        }
        if done.matches == 0 {
            chunk.advance(skipped);
            let first = chunk.split_to(done.undecided - skipped);
            self.keep(chunk, is_cut);
            out.push(first);
        } else {
            chunk.advance(done.undecided);
            self.keep(chunk, is_cut);
            out.note_figures((done.added, done.dropped));
            out.push(Bytes::from(done.bytes));
        }
    }

    fn keep(&mut self, rest: Chunk, is_cut: bool) {
        if is_cut {
            self.rest = Some(rest);
        } else {
            self.held.extend_from_slice(&rest);
        }
    }

    /// Rewrites a message.
    fn message(&mut self, chunk: Chunk, out: &mut Outbox) -> Progress {
        let done = self.rewritten(&chunk, 0, true, MOST_MESSAGE);
        if done.matches == 0 {
            out.push(chunk);
            return self.finish(out);
        }
        let instead = Bytes::from(done.bytes);
        if done.undecided < chunk.len() || instead.len() > MOST_MESSAGE {
            return too_long(format!("more than {MOST_MESSAGE} bytes"));
        }
        out.note_figures((done.added, done.dropped));
        let replaced = self.messages.as_ref().map_or_else(
            || Ok(vec![instead.clone()]),
            |messages| messages.replace(&chunk, if instead.is_empty() { Vec::new() } else { vec![instead.clone()] }),
        );
        match replaced {
            Ok(messages) => messages.into_iter().for_each(|message| out.push(message)),
            Err(error) => return too_long(error.to_string()),
        }
        self.finish(out)
    }
}

fn too_long(what: String) -> Progress {
    let error = format!("a filter makes of a message {what}; let it put less in its place");
    Progress::Failed(Failed { reason: CloseReason::MessageTooLong, error })
}

impl Stage for RewriteStage {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        self.end = end;
        if self.left == 0 && self.held.is_empty() {
            out.push(chunk);
            return self.finish(out);
        }
        if self.messages.is_some() && !chunk.is_partial() && !chunk.is_empty() && self.held.is_empty() {
            return self.message(chunk, out);
        }
        if !chunk.is_empty() {
            self.rest = Some(chunk);
        }
        self.go_on(end != End::Open, out)
    }

    fn passes(&mut self, bytes: &[u8]) -> bool {
        if !self.held.is_empty() || self.rest.is_some() || self.messages.is_some() {
            return false;
        }
        let matcher = &self.rewrite.matcher;
        // Where the byte before matters, it is kept of what is fed.
        self.left == 0 || !matcher.looks_behind() && matcher.undecided(bytes, 0).is_empty() && matcher.find(bytes, 0).is_none()
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        if self.rest.is_some() {
            return self.go_on(self.end != End::Open, out);
        }
        match self.due {
            Some(due) if due <= out.now() => self.go_on(true, out),
            Some(due) => {
                out.wake_at(due);
                Progress::Moved
            }
            None => Progress::Moved,
        }
    }

    fn framed(&mut self, messages: Option<&ReplacedMessages>) {
        self.messages = messages.cloned();
    }

    fn release(&mut self) -> Vec<Chunk> {
        self.before = None;
        self.joined().into_iter().collect()
    }

    fn held(&self) -> usize {
        self.held.len() + self.rest.as_ref().map_or(0, |chunk| chunk.len())
    }

    fn kept(&self) -> usize {
        self.held.capacity() + self.rest.as_ref().map_or(0, Chunk::capacity)
    }

    fn make_lasting(&mut self) -> bool {
        let Some(chunk) = &mut self.rest else { return true };
        let Some(rest) = chunk.rest(0) else { return false };
        *chunk = rest.into();
        true
    }
}

#[cfg(test)]
mod tests;
