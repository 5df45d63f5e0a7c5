//! When a direction is framed: from the time at which a hook or a filter first wants its messages until none does.

use super::{
    stages::{Framing, Idle},
    state::Relay,
};
use crate::{
    hooks::connection_hooks::ConnectionHooks,
    inspect::framing::{Framed, Framer, FramingRules, ReplacedMessages, message_stage::MessageStage},
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
    },
};

impl Relay<'_> {
    /// Puts the framer of a direction in its place once a hook or a filter wants its bytes, and takes it out once none does.
    pub(super) fn frame(&mut self, direction: Direction, hooks: &ConnectionHooks) {
        match self.pumps[direction].framing {
            Framing::Unasked if self.is_wanted(direction, hooks) => self.ask_for_framers(hooks),
            Framing::Idle if self.is_wanted(direction, hooks) => self.begin_framing(direction, Framing::Active),
            Framing::Active if !self.is_wanted(direction, hooks) => self.unframe(direction),
            Framing::ActiveWithOther if !Direction::ALL.into_iter().any(|either| self.is_wanted(either, hooks)) => {
                self.unframe(direction);
            }
            _ => {}
        }
    }

    /// Returns true if a hook or a filter wants the messages of a direction.
    fn is_wanted(&self, direction: Direction, hooks: &ConnectionHooks) -> bool {
        let is_filtered = self.order.shared.control.filtered.has(direction);
        hooks.interest().has(Interest::recv(direction))
            || is_filtered && (self.order.on_lane || hooks.server.hooks.frames_anywhere())
    }

    #[cold]
    fn ask_for_framers(&mut self, hooks: &ConnectionHooks) {
        let Some(Framed { framers, needs_both, rules }) = hooks.server.hooks.framing(&hooks.connection) else {
            for direction in Direction::ALL {
                if self.pumps[direction].framing == Framing::Unasked {
                    self.pumps[direction].framing = Framing::None;
                }
            }
            return;
        };
        let both = needs_both && Direction::ALL.into_iter().all(|direction| self.pumps[direction].framing == Framing::Unasked);
        for (direction, framer) in [(ToUpstream, framers.to_upstream), (ToClient, framers.to_client)] {
            if self.pumps[direction].framing == Framing::Unasked {
                self.put_aside(direction, framer.map(|framer| (framer, rules)), self.begun_at(direction));
            }
        }
        // If one of two that need each other begins in the midst, the other cannot frame either.
        let begins = |direction| !both || self.order.shared.meters[direction].ledger().read == self.begun_at(direction);
        if !(begins(ToUpstream) && begins(ToClient)) {
            Direction::ALL.into_iter().for_each(|direction| self.give_up_framing(direction));
            return;
        }
        let active = if both { Framing::ActiveWithOther } else { Framing::Active };
        for direction in Direction::ALL {
            if self.pumps[direction].framing == Framing::Idle && (both || self.is_wanted(direction, hooks)) {
                self.begin_framing(direction, active);
            }
        }
    }

    /// Returns the number of bytes that were read before the relay.
    fn begun_at(&self, direction: Direction) -> u64 {
        self.order.shared.dialogues().map_or(0, |dialogues| dialogues.consumed(direction))
    }

    /// Keeps a framer for bytes behind the first `since`.
    fn put_aside(&mut self, direction: Direction, framer: Option<(Box<dyn Framer>, FramingRules)>, since: u64) {
        self.pumps[direction].framing = if framer.is_some() { Framing::Idle } else { Framing::None };
        self.pumps[direction].stages.set_idle(framer.map(|(framer, rules)| Idle { framer, rules, since }));
    }

    fn begin_framing(&mut self, direction: Direction, active: Framing) {
        match self.pumps[direction].stages.take_idle() {
            Some(idle) if idle.since == self.order.shared.meters[direction].ledger().read => {
                self.pumps[direction].framing = active;
                self.put_in(direction, Some((idle.framer, idle.rules)));
            }
            // Bytes have passed unseen.
            _ => self.give_up_framing(direction),
        }
    }

    /// Shows hooks chunks from now on, and says that they are no messages.
    fn give_up_framing(&mut self, direction: Direction) {
        self.put_aside(direction, None, 0);
        self.order.shared.control.partial.add(direction);
    }

    /// Takes the framer out, because no hook wants the direction any more. Its bytes go on.
    fn unframe(&mut self, direction: Direction) {
        self.put_in(direction, None);
        self.give_up_framing(direction);
    }

    fn put_in(&mut self, direction: Direction, framer: Option<(Box<dyn Framer>, FramingRules)>) {
        let shared = self.order.shared;
        let messages = framer.as_ref().map_or_else(ReplacedMessages::default, |(framer, _)| ReplacedMessages::of(&**framer));
        shared.control.length_fields.set(direction, messages.has_length());
        let stage = framer.map(|(framer, rules)| MessageStage::new(framer, rules, shared.id, direction));
        if !self.pumps[direction].is_over() {
            self.pumps[direction].stages.set_framer(stage, messages, shared.meters[direction].ledger().read);
        }
    }

    /// Acts on a request for another framing, from the next byte on.
    pub(super) fn set_framing(&mut self, direction: Direction, framer: Option<(Box<dyn Framer>, FramingRules)>) {
        let (shared, is_active) = (self.order.shared, self.is_framed(direction));
        shared.control.partial.remove(direction);
        if is_active {
            self.pumps[direction].framing = if framer.is_some() { Framing::Active } else { Framing::None };
            self.put_in(direction, framer);
        } else {
            self.put_aside(direction, framer, shared.meters[direction].ledger().read);
        }
    }

    pub(super) fn is_framed(&self, direction: Direction) -> bool {
        matches!(self.pumps[direction].framing, Framing::Active | Framing::ActiveWithOther)
    }
}
