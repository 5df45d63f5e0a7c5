//! A stage that shows what passes to a tap.

use std::sync::Arc;

use super::Position;
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    taps::{
        event::{ConnectionKey, Event, EventKind, Place},
        witness::Witness,
    },
    words::{chunk::Chunk, direction::Direction},
};

/// Copies what it is fed for a witness, and lets everything pass.
#[derive(Debug)]
pub struct TapStage {
    witness: Arc<dyn Witness>,
    connection: ConnectionKey,
    direction: Direction,
    place: Place,
    /// The number of bytes that have passed.
    offset: u64,
}

impl TapStage {
    /// Returns the stage for a position.
    pub fn new(witness: Arc<dyn Witness>, Position { connection, direction, place, read, .. }: Position) -> Self {
        Self { witness, connection, direction, place, offset: read }
    }

    fn show(&mut self, bytes: &[u8]) {
        let Self { direction, place, offset, .. } = *self;
        if self.witness.is_given_up() {
            self.witness.miss(bytes.len());
        } else {
            self.put(EventKind::Data { direction, place, offset, bytes: self.witness.copy(bytes) });
        }
        self.offset += bytes.len() as u64;
    }

    fn put(&self, kind: EventKind) {
        self.witness.put(Event::now(self.connection, kind));
    }
}

impl Stage for TapStage {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        let Self { direction, place, .. } = *self;
        if !chunk.is_empty() {
            self.show(&chunk);
        }
        out.push(chunk);
        if end == End::Finished {
            self.put(EventKind::End { direction, place, offset: self.offset });
            out.end();
        }
        Progress::Moved
    }

    fn passes(&mut self, bytes: &[u8]) -> bool {
        self.show(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{
        Stages,
        playbook::{Action, Playbook, write},
    };
    use crate::taps::queue::Queue;

    const POSITION: Position = Position {
        connection: ConnectionKey { number: 7, server: 1 },
        direction: Direction::ToClient,
        place: Place::In,
        read: 0,
        changes: false,
    };

    #[test]
    fn everything_passes_and_is_seen_with_its_offset_and_its_end() {
        let queue = Arc::<Queue>::default();
        let stage = TapStage::new(queue.clone(), POSITION);
        let mut book = Playbook::of(Stages::default().before_hook(stage));
        book.feed("abc").finish("de").expect([write(b"abc"), write(b"de"), Action::Fin]);
        queue.close();
        let seen: Vec<_> = queue.take(None).into_iter().flatten().map(|event| (event.connection.number, event.kind)).collect();
        let [
            (7, EventKind::Data { offset: 0, bytes: first, .. }),
            (7, EventKind::Data { offset: 3, bytes: second, .. }),
            (7, EventKind::End { .. }),
        ] = &seen[..]
        else {
            panic!("{seen:?}")
        };
        assert_eq!((&first[..], &second[..]), (&b"abc"[..], &b"de"[..]));
    }

    #[test]
    fn everything_passes_where_nobody_looks_any_more() {
        let queue = Arc::<Queue>::default();
        queue.give_up();
        let stage = TapStage::new(queue.clone(), POSITION);
        Playbook::of(Stages::default().before_hook(stage)).finish("abc").expect([write(b"abc"), Action::Fin]);
    }
}
