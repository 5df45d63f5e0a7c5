//! The contract of what makes text of events.

use std::ops::Deref;

use crate::taps::event::Event;

/// An event, and the number of its server in the output.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    pub event: &'a Event,
    pub listener: u64,
}

impl Deref for Shown<'_> {
    type Target = Event;

    fn deref(&self) -> &Event {
        self.event
    }
}

/// Renders events as text.
pub trait Render: Send {
    /// Appends the lines of an event to `out`.
    fn render(&mut self, event: &Shown<'_>, out: &mut Vec<u8>);
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use super::Shown;
    use crate::taps::event::{ConnectionKey, Event, EventKind};

    /// Returns an event of a connection of the only server.
    pub(in super::super) fn event(number: u64, at: SystemTime, kind: EventKind) -> Event {
        Event { connection: ConnectionKey::of(number), at, kind }
    }

    /// Returns the event as the first server's.
    pub(in super::super) fn shown(event: &Event) -> Shown<'_> {
        Shown { event, listener: 1 }
    }
}
