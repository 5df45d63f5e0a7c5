//! The hooks as a stage, and the state of the stages of a direction.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use super::{hook::Hook, outbox::Held, turn::no_memory};
use crate::{
    hooks::{Answer, EndVerdict, Failed, Ticket, Verdict},
    inspect::{End, Outbox, Progress, Stage, Stages},
    words::chunk::Chunk,
};

/// A call of a hook whose answer is pending.
#[derive(Debug, Default)]
enum Asked {
    #[default]
    Nothing,
    /// A call about bytes, behind which lies `end`.
    Chunk { ticket: Ticket<Verdict>, bytes: Bytes, end: End, _held: Held },
    /// A call about the end.
    End(Ticket<EndVerdict>),
}

impl Asked {
    /// Returns the instant at which the pending answer is late.
    fn due(&self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Chunk { ticket, .. } => ticket.due(),
            Self::End(ticket) => ticket.due(),
        }
    }
}

/// The hooks in their place among the stages.
#[derive(Debug)]
struct HookStage<'s, 'a> {
    hook: &'s mut Hook<'a>,
    asked: &'s mut Asked,
}

impl HookStage<'_, '_> {
    /// Acts on the hook's answer to a chunk.
    fn take_answer(&mut self, answer: Result<Answer<Verdict>, Failed>, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        match answer {
            Ok(Answer::Now(verdict)) => pass(verdict, chunk, out),
            Ok(Answer::Later(ticket)) => {
                // The buffer belongs to the thread, and others read into it meanwhile.
                let Some(bytes) = chunk.rest(0) else { return Progress::Failed(no_memory(chunk.len())) };
                let held = Held::of(bytes.len());
                *self.asked = Asked::Chunk { ticket, bytes, end, _held: held };
                out.give_back(chunk);
                return Progress::Waiting;
            }
            Err(failed) => return Progress::Failed(failed),
        }
        self.ask_about_end(end, out)
    }

    fn ask_about_end(&mut self, end: End, out: &mut Outbox) -> Progress {
        if end != End::Finished {
            return Progress::Moved;
        }
        let answer = self.hook.end();
        self.take_end_answer(answer, out)
    }

    /// Acts on the hook's answer to the end.
    fn take_end_answer(&mut self, answer: Result<Answer<EndVerdict>, Failed>, out: &mut Outbox) -> Progress {
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
        let answer = self.hook.chunk(&chunk);
        self.take_answer(answer, chunk, end, out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        match mem::take(self.asked) {
            Asked::Nothing => Progress::Moved,
            Asked::Chunk { mut ticket, bytes, end, _held: held } => match ticket.poll_take() {
                Poll::Ready(Ok(verdict)) => {
                    pass(verdict, bytes.into(), out);
                    self.ask_about_end(end, out)
                }
                Poll::Ready(Err(failed)) => Progress::Failed(failed),
                Poll::Pending => {
                    *self.asked = Asked::Chunk { ticket, bytes, end, _held: held };
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

/// The stages of one direction, and their pending events.
#[derive(Debug, Default)]
struct DirectionStages {
    chain: Option<Stages>,
    asked: Asked,
    /// True if the stages take nothing before they are resumed.
    waits: bool,
    /// True if the stages were fed the stop.
    stopped: bool,
    /// Wakes the task when the pending answer is late. `None` while it has no limit, or is on no thread.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A direction's place for stages. Uses no memory without stages and without a pending answer.
#[derive(Debug, Default)]
pub(super) struct StageSlot(Option<Box<DirectionStages>>);

impl StageSlot {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns true if there are stages beside the hook.
    pub(super) fn has_chain(&self) -> bool {
        self.0.as_ref().is_some_and(|stages| stages.chain.is_some())
    }

    /// Returns true while a stage takes nothing more.
    pub(super) fn waits(&self) -> bool {
        self.0.as_ref().is_some_and(|stages| stages.waits)
    }

    /// Returns true while an answer of the hook is pending.
    pub(super) fn is_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|stages| !matches!(stages.asked, Asked::Nothing))
    }

    /// Wakes the task when the pending answer is late, if it has a limit.
    fn watch_due(&mut self, cx: &mut Context<'_>) {
        let Some(stages) = &mut self.0 else { return };
        let Some(due) = stages.asked.due() else { return };
        let timer = stages.timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        if timer.deadline().into_std() != due {
            timer.as_mut().reset(due.into());
        }
        let _ = timer.as_mut().poll(cx);
    }

    /// Prepares for another thread, which lacks this thread's timers.
    pub(super) fn leave_thread(&mut self) {
        if let Some(stages) = &mut self.0 {
            stages.timer = None;
        }
    }

    /// Returns true, once, if the stages have still to be fed the stop.
    pub(super) fn is_to_stop(&mut self) -> bool {
        self.0.as_mut().is_some_and(|stages| !mem::replace(&mut stages.stopped, true))
    }

    /// Changes the stages of a live connection.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Stages)) {
        let stages = self.0.get_or_insert_default();
        edit(stages.chain.get_or_insert_default());
        // Pieces between the stages may go on now.
        stages.waits = true;
    }

    pub(super) fn feed(&mut self, hook: &mut Hook<'_>, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if self.0.is_some() {
            return self.call(hook, out, |chain, hook, out| match chain {
                Some(chain) => chain.feed(hook, chunk, end, out),
                None => hook.feed(chunk, end, out),
            });
        }
        self.begin(hook, |hook| hook.feed(chunk, end, out))
    }

    /// Acts on the hook's answer to a chunk, without stages.
    pub(super) fn take_answer(
        &mut self,
        hook: &mut Hook<'_>,
        answer: Result<Answer<Verdict>, Failed>,
        chunk: Chunk,
        out: &mut Outbox,
    ) -> Progress {
        self.begin(hook, |hook| hook.take_answer(answer, chunk, End::Open, out))
    }

    /// Acts on the hook's answer to the end, without stages.
    pub(super) fn take_end_answer(
        &mut self,
        hook: &mut Hook<'_>,
        answer: Result<Answer<EndVerdict>, Failed>,
        out: &mut Outbox,
    ) -> Progress {
        self.begin(hook, |hook| hook.take_end_answer(answer, out))
    }

    /// Calls the hook, without stages. Needs memory only if it answers later.
    fn begin(&mut self, hook: &mut Hook<'_>, act: impl FnOnce(&mut HookStage<'_, '_>) -> Progress) -> Progress {
        let mut asked = Asked::default();
        let progress = act(&mut HookStage { hook, asked: &mut asked });
        if matches!(progress, Progress::Waiting) {
            self.0 = Some(Box::new(DirectionStages { asked, waits: true, ..DirectionStages::default() }));
        }
        progress
    }

    /// Returns false while a stage behind the hook waits, and so takes no bytes that were not read either.
    pub(super) fn takes_injected(&self) -> bool {
        self.0.as_ref().and_then(|stages| stages.chain.as_ref()).is_none_or(Stages::takes_injected)
    }

    /// Sends bytes that were not read, and that the hook does not see.
    pub(super) fn inject(&mut self, hook: &mut Hook<'_>, data: impl IntoIterator<Item = Bytes>, out: &mut Outbox) -> Progress {
        if !self.has_chain() {
            out.add_all(data);
            return Progress::Moved;
        }
        let waits = self.waits();
        self.call(hook, out, |chain, hook, out| {
            let mut progress = if waits { Progress::Waiting } else { Progress::Moved };
            if let Some(chain) = chain {
                for bytes in data {
                    progress = chain.inject(hook, bytes, out);
                    if matches!(progress, Progress::Failed(_)) {
                        break;
                    }
                }
            }
            progress
        })
    }

    /// Resumes the stages that wait, or whose time has come. Wakes the task when a pending answer is late.
    pub(super) fn resume(&mut self, hook: &mut Hook<'_>, out: &mut Outbox, cx: &mut Context<'_>) -> Progress {
        let progress = self.call(hook, out, |chain, hook, out| match chain {
            Some(chain) => chain.resume(hook, out),
            None => hook.resume(out),
        });
        if let Some(stages) = &mut self.0
            && !stages.waits
        {
            if stages.chain.as_ref().is_some_and(Stages::has_only_the_hook) {
                stages.chain = None;
            }
            if stages.chain.is_none() {
                self.0 = None;
            }
        }
        self.watch_due(cx);
        progress
    }

    fn call(
        &mut self,
        hook: &mut Hook<'_>,
        out: &mut Outbox,
        act: impl FnOnce(&mut Option<Stages>, &mut dyn Stage, &mut Outbox) -> Progress,
    ) -> Progress {
        let Some(stages) = &mut self.0 else { return Progress::Moved };
        if stages.chain.is_some() {
            out.set_now(super::outbox::now());
        }
        let progress = act(&mut stages.chain, &mut HookStage { hook, asked: &mut stages.asked }, out);
        stages.waits = matches!(progress, Progress::Waiting);
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        settings::config::{Coalesce, Splice},
        words::{direction::Direction, outcome::CloseReason},
    };

    /// Fails at its first feed.
    #[derive(Debug, Default)]
    struct FailsFirst(bool);

    impl Stage for FailsFirst {
        fn feed(&mut self, chunk: Chunk, _: End, out: &mut Outbox) -> Progress {
            out.push(chunk);
            if mem::replace(&mut self.0, true) {
                return Progress::Moved;
            }
            Progress::Failed(Failed { reason: CloseReason::Aborted, error: "the first".to_owned() })
        }
    }

    #[test]
    fn a_stage_that_fails_at_one_of_several_injected_pieces_has_failed() {
        let mut hook = Hook::native(None, Direction::ToUpstream, Splice::default(), Coalesce::default());
        let (mut slot, mut out) = (StageSlot::default(), Outbox::default());
        slot.edit(|stages| stages.insert(1, Box::<FailsFirst>::default()));
        let progress = slot.inject(&mut hook, ["one", "two"].map(Bytes::from), &mut out);
        assert!(matches!(progress, Progress::Failed(_)), "{progress:?}");
        assert_eq!(out.bytes(), 3, "nothing is fed behind it");
    }
}
