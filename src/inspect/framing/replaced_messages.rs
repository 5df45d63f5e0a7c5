//! Messages that a hook or a filter replaces or drops: the length field of what goes out is set right, and the framer is notified.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    framer::{Answered, Framer},
    length_field::{LengthField, TooLong},
};

/// The parts of a direction's framer that follow what hooks and filters do with messages.
#[derive(Debug, Clone, Default)]
pub struct ReplacedMessages {
    length: Option<Arc<dyn LengthField>>,
    answered: Option<Arc<dyn Answered>>,
}

impl ReplacedMessages {
    /// Returns those of the direction that `framer` cuts.
    pub(crate) fn of(framer: &dyn Framer) -> Self {
        Self { length: framer.length_field(), answered: framer.answered() }
    }

    pub(crate) fn has_length(&self) -> bool {
        self.length.is_some()
    }

    /// Returns what goes out in place of `message`, with its length fields set, and lets the framer know of it.
    pub(crate) fn replace(&self, message: &[u8], instead: Vec<Bytes>) -> Result<Vec<Bytes>, TooLong> {
        let instead = match &self.length {
            Some(length) => instead.into_iter().map(|bytes| length.set(message, bytes)).collect::<Result<_, _>>()?,
            None => instead,
        };
        self.notify(message, &instead);
        Ok(instead)
    }

    /// Lets the framer know that nothing goes out in place of `message`.
    pub(crate) fn dropped(&self, message: &[u8]) {
        self.notify(message, &[]);
    }

    fn notify(&self, message: &[u8], instead: &[Bytes]) {
        if let Some(answered) = &self.answered {
            answered.replaced(message, instead);
        }
    }
}
