//! The contract of what makes text of events.

use crate::taps::event::Event;

/// Renders events as text.
pub trait Render: Send {
    /// Appends the lines of an event to `out`.
    fn render(&mut self, event: &Event, out: &mut Vec<u8>);
}
