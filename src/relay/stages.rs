//! The stages of a direction, with the hooks among them.

use std::{mem, pin::Pin, task::Context};

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use super::{
    hook::Hook,
    hook_stage::{Asked, HookStage},
    scratch,
    turn::no_memory,
    waiting_bytes::Held,
};
use crate::{
    hooks::{Answer, EndVerdict, Failed, Verdict},
    inspect::{
        End, Outbox, Progress, Stage, Stages,
        framing::{Framer, FramingRules, ReplacedMessages, message_stage::MessageStage},
    },
    live::shared::Shared,
    words::chunk::Chunk,
};

/// The stages of one direction, and their pending events.
#[derive(Debug, Default)]
struct DirectionStages {
    chain: Option<Stages>,
    asked: Asked,
    /// True if the stages take nothing before they are resumed.
    waits: bool,
    /// True if the stages can go on by themselves.
    has_more: bool,
    /// True if the stages were fed the stop.
    stopped: bool,
    /// Wakes the task when the pending answer is late. `None` while it has no limit, or is on no thread.
    timer: Option<Pin<Box<Sleep>>>,
    framed: Option<ReplacedMessages>,
    idle: Option<Idle>,
    /// The memory that the stages keep.
    kept: Held,
}

/// The framing of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// The hooks were not asked for framers yet.
    #[default]
    Unasked,
    /// There is a framer for the time at which a hook wants the direction.
    Idle,
    /// The framer is in its place.
    Active,
    /// Active, and the other direction as well while hooks want either of the two.
    ActiveWithOther,
    /// The direction is not framed.
    None,
}

/// A framer for the time at which a hook wants the direction.
#[derive(Debug)]
pub(super) struct Idle {
    pub framer: Box<dyn Framer>,
    pub rules: FramingRules,
    /// The number of bytes of the stream before the first that it may see.
    pub since: u64,
}

impl DirectionStages {
    /// Returns true if bytes pass without stages, and no answer is pending.
    fn is_dormant(&self) -> bool {
        self.chain.is_none() && matches!(self.asked, Asked::Nothing) && !self.waits
    }
}

/// A direction's place for stages. Uses no memory without stages and without a pending answer.
#[derive(Debug, Default)]
pub(super) struct StageSlot(Option<Box<DirectionStages>>);

impl Drop for StageSlot {
    fn drop(&mut self) {
        if let Some(stages) = self.0.take() {
            drop(stages);
            scratch::give_up_spare();
        }
    }
}

impl StageSlot {
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|stages| stages.is_dormant())
    }

    /// Keeps a framer for later, or forgets it.
    pub(super) fn set_idle(&mut self, idle: Option<Idle>) {
        if idle.is_some() || self.0.is_some() {
            self.0.get_or_insert_default().idle = idle;
            self.forget();
        }
    }

    pub(super) fn take_idle(&mut self) -> Option<Idle> {
        let idle = self.0.as_mut()?.idle.take();
        self.forget();
        idle
    }

    /// Returns the memory if nothing is in it.
    fn forget(&mut self) {
        self.0.take_if(|stages| stages.is_dormant() && stages.idle.is_none());
    }

    /// Puts another framer in its place, or takes it out. `read`: the bytes of the source so far.
    pub(super) fn set_framer(&mut self, framer: Option<MessageStage>, messages: ReplacedMessages, read: u64) {
        let framed = framer.is_some().then_some(messages);
        self.edit(|chain| chain.set_framer(framer, read));
        if let Some(stages) = &mut self.0 {
            stages.framed = framed;
        }
    }

    /// Returns true if the stages can go on by themselves: there are more messages.
    pub(super) fn has_more(&self) -> bool {
        self.0.as_ref().is_some_and(|stages| stages.has_more)
    }

    /// Returns true if stages wait that may be resumed: what holds the direction also keeps more messages from its hook.
    pub(super) fn may_go_on(&self, hook: &Hook<'_>, shared: &Shared, is_ending: bool) -> bool {
        self.waits() && !(self.has_more() && hook.is_interrupted(shared, is_ending))
    }

    /// Returns true if no stage keeps bytes.
    pub(super) fn keeps_nothing(&self) -> bool {
        self.0.as_ref().and_then(|stages| stages.chain.as_ref()).is_none_or(Stages::keeps_nothing)
    }

    /// Returns true if all that was read has passed, but what a framer has not cut.
    pub(super) fn has_passed_all(&self) -> bool {
        !self.is_asked() && self.0.as_ref().and_then(|stages| stages.chain.as_ref()).is_none_or(Stages::has_only_uncut)
    }

    /// Changes the chain of stages, if there is one, where that needs no hook.
    pub(super) fn chain_mut(&mut self) -> Option<&mut Stages> {
        self.0.as_mut()?.chain.as_mut()
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
        let chain = stages.chain.get_or_insert_default();
        chain.set_asked(stages.asked.bytes());
        edit(chain);
        // Pieces between the stages may go on now.
        stages.waits = true;
    }

    /// Shows the stages bytes behind which more may come, up to the first that they do not pass as they are. Returns its place,
    /// from which on they are to be fed; `None` if they pass all.
    pub(super) fn pass(&mut self, hook: &mut Hook<'_>, bytes: &[u8]) -> Option<usize> {
        match self.0.as_deref_mut() {
            Some(DirectionStages { chain: Some(chain), asked, framed, waits: false, .. }) => {
                chain.pass(&mut HookStage { hook, asked, framed: framed.as_ref() }, bytes)
            }
            _ => Some(0),
        }
    }

    /// Feeds the stages from the place `first` on.
    pub(super) fn feed(&mut self, hook: &mut Hook<'_>, (chunk, first): (Chunk, usize), end: End, out: &mut Outbox) -> Progress {
        if !self.is_empty() {
            return self.call(hook, out, |chain, hook, out| match chain {
                Some(chain) => chain.feed_from(first, hook, chunk, end, out),
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
        let progress = act(&mut HookStage { hook, asked: &mut asked, framed: None });
        if matches!(progress, Progress::Waiting) {
            let stages = self.0.get_or_insert_default();
            (stages.asked, stages.waits) = (asked, true);
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
            && stages.chain.as_ref().is_some_and(Stages::has_only_the_hook)
        {
            stages.chain = None;
            stages.kept = Held::default();
        }
        self.watch_due(cx);
        self.forget();
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
            out.set_now(super::waiting_bytes::now());
        }
        let framed = stages.framed.as_ref();
        let progress = act(&mut stages.chain, &mut HookStage { hook, asked: &mut stages.asked, framed }, out);
        stages.has_more = matches!(progress, Progress::Again);
        stages.waits = matches!(progress, Progress::Waiting | Progress::Again);
        if let Some(chain) = &mut stages.chain {
            // The buffer belongs to the thread, and others read into it meanwhile.
            if stages.waits && !chain.make_lasting() {
                return Progress::Failed(no_memory(chain.kept()));
            }
            stages.kept.set(chain.kept());
        }
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
