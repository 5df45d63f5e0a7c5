//! Messages that a hook replaces or drops: the length field of what goes out is set right, and the framer is notified.

use std::sync::Arc;

use bytes::Bytes;

use crate::inspect::framing::{Answered, Framer, LengthField, TooLong};

/// The parts of a direction's framer that follow what its hook does with messages.
#[derive(Debug, Default)]
pub(super) struct ReplacedMessages {
    length: Option<Arc<dyn LengthField>>,
    answered: Option<Arc<dyn Answered>>,
}

impl ReplacedMessages {
    /// Returns those of the direction that `framer` cuts.
    pub(super) fn of(framer: &dyn Framer) -> Self {
        Self { length: framer.length_field(), answered: framer.answered() }
    }

    pub(super) fn has_length(&self) -> bool {
        self.length.is_some()
    }

    /// Returns what goes out in place of `message`, with its length fields set, and lets the framer know of it.
    pub(super) fn replace(&self, message: &[u8], instead: Vec<Bytes>) -> Result<Vec<Bytes>, TooLong> {
        let instead = match &self.length {
            Some(length) => instead.into_iter().map(|bytes| length.set(message, bytes)).collect::<Result<_, _>>()?,
            None => instead,
        };
        self.notify(message, &instead);
        Ok(instead)
    }

    /// Lets the framer know that nothing goes out in place of `message`.
    pub(super) fn dropped(&self, message: &[u8]) {
        self.notify(message, &[]);
    }

    fn notify(&self, message: &[u8], instead: &[Bytes]) {
        if let Some(answered) = &self.answered {
            answered.replaced(message, instead);
        }
    }
}
