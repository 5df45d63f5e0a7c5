//! The hooks as a stage: asks them, and acts on their answers, also on those that come later.

use std::{mem, task::Poll, time::Instant};

use super::{hook::Hook, turn::no_memory, waiting_bytes::Held};
use crate::{
    hooks::{Answer, EndVerdict, Failed, Ticket, Verdict},
    inspect::{End, Outbox, Progress, Stage, framing::ReplacedMessages},
    words::chunk::Chunk,
};

/// A call of a hook whose answer is pending.
#[derive(Debug, Default)]
pub(super) enum Asked {
    #[default]
    Nothing,
    /// A call about bytes, behind which lies `end`.
    Chunk { ticket: Ticket<Verdict>, chunk: Chunk, end: End, _held: Held },
    /// A call about the end.
    End(Ticket<EndVerdict>),
}

impl Asked {
    /// Returns the number of bytes that the pending call is about.
    pub(super) fn bytes(&self) -> usize {
        if let Self::Chunk { chunk, .. } = self { chunk.len() } else { 0 }
    }

    /// Returns the instant at which the pending answer is late.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Chunk { ticket, .. } => ticket.due(),
            Self::End(ticket) => ticket.due(),
        }
    }
}

/// The hooks in their place among the stages.
#[derive(Debug)]
pub(super) struct HookStage<'s, 'a> {
    pub hook: &'s mut Hook<'a>,
    pub asked: &'s mut Asked,
    pub framed: Option<&'s ReplacedMessages>,
}

impl HookStage<'_, '_> {
    /// Acts on the hook's answer to a chunk.
    pub(super) fn take_answer(
        &mut self,
        answer: Result<Answer<Verdict>, Failed>,
        chunk: Chunk,
        end: End,
        out: &mut Outbox,
    ) -> Progress {
        match answer {
            Ok(Answer::Now(verdict)) => {
                if let Err(failed) = self.pass(verdict, chunk, out) {
                    return Progress::Failed(failed);
                }
            }
            Ok(Answer::Later(ticket)) => {
                // The buffer belongs to the thread, and others read into it meanwhile.
                let Some(bytes) = chunk.rest(0) else { return Progress::Failed(no_memory(chunk.len())) };
                let held = Held::of(bytes.len());
                let kept = Chunk::from(bytes);
                let kept = if chunk.is_partial() { kept.into_partial() } else { kept };
                *self.asked = Asked::Chunk { ticket, chunk: kept, end, _held: held };
                out.give_back(chunk);
                return Progress::Waiting;
            }
            Err(failed) => return Progress::Failed(failed),
        }
        self.ask_about_end(end, out)
    }

    /// Acts on a verdict. The length field of what goes out in place of a message is set.
    fn pass(&self, verdict: Verdict, chunk: Chunk, out: &mut Outbox) -> Result<(), Failed> {
        match (verdict, self.framed) {
            (Verdict::Replace(instead), Some(messages)) if !chunk.is_partial() => {
                let instead = messages.replace(&chunk, instead).map_err(|too_long| self.hook.refuse_answer(too_long))?;
                out.drop(chunk);
                out.add_all(instead);
            }
            (Verdict::Drop, Some(messages)) if !chunk.is_partial() => {
                messages.dropped(&chunk);
                out.drop(chunk);
            }
            (verdict, _) => pass(verdict, chunk, out),
        }
        if self.framed.is_some() && self.hook.is_to_pause() {
            out.pause();
        }
        Ok(())
    }

    fn ask_about_end(&mut self, end: End, out: &mut Outbox) -> Progress {
        if end != End::Finished {
            return Progress::Moved;
        }
        let answer = self.hook.end();
        self.take_end_answer(answer, out)
    }

    /// Acts on the hook's answer to the end.
    pub(super) fn take_end_answer(&mut self, answer: Result<Answer<EndVerdict>, Failed>, out: &mut Outbox) -> Progress {
        match answer {
            Ok(Answer::Now(verdict)) => pass_end(verdict, out),
            Ok(Answer::Later(ticket)) => {
                *self.asked = Asked::End(ticket);
                Progress::Waiting
            }
            Err(failed) => Progress::Failed(failed),
        }
    }
}

impl Stage for HookStage<'_, '_> {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if chunk.is_empty() {
            return self.ask_about_end(end, out);
        }
        if self.framed.is_some() {
            self.hook.set_partial(chunk.is_partial());
        }
        let answer = self.hook.chunk(&chunk);
        self.take_answer(answer, chunk, end, out)
    }

    fn passes(&mut self, _: &[u8]) -> bool {
        !self.hook.chunks && self.framed.is_none() && matches!(self.asked, Asked::Nothing)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        match mem::take(self.asked) {
            Asked::Nothing => Progress::Moved,
            Asked::Chunk { mut ticket, chunk, end, _held: held } => match ticket.poll_take() {
                Poll::Ready(Ok(verdict)) => match self.pass(verdict, chunk, out) {
                    Ok(()) => self.ask_about_end(end, out),
                    Err(failed) => Progress::Failed(failed),
                },
                Poll::Ready(Err(failed)) => Progress::Failed(failed),
                Poll::Pending => {
                    *self.asked = Asked::Chunk { ticket, chunk, end, _held: held };
                    Progress::Waiting
                }
            },
            Asked::End(mut ticket) => match ticket.poll_take() {
                Poll::Ready(Ok(verdict)) => pass_end(verdict, out),
                Poll::Ready(Err(failed)) => Progress::Failed(failed),
                Poll::Pending => {
                    *self.asked = Asked::End(ticket);
                    Progress::Waiting
                }
            },
        }
    }
}

fn pass(verdict: Verdict, chunk: Chunk, out: &mut Outbox) {
    match verdict {
        Verdict::Pass => out.push(chunk),
        Verdict::Drop => out.drop(chunk),
        Verdict::Replace(instead) => {
            out.drop(chunk);
            out.add_all(instead);
        }
    }
}

fn pass_end(verdict: EndVerdict, out: &mut Outbox) -> Progress {
    if let EndVerdict::Pass(last) = verdict {
        out.add_all(last);
        out.end();
    }
    Progress::Moved
}
