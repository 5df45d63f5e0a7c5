//! A gate: what passes stops before it, and its source meets backpressure, until it is opened again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Filter, Position};
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    taps::event::Place,
    words::{
        chunk::Chunk,
        direction::{Both, Direction},
    },
};

/// Two gates, one for each direction of all connections of a server. Both are open at first.
#[derive(Debug, Default)]
pub struct Gate(Both<AtomicBool>);

impl Gate {
    /// Shuts or opens the gate of a direction. Connections notice it with the next bytes, or when they are woken.
    pub fn shut(&self, direction: Direction, is_shut: bool) {
        self.0[direction].store(is_shut, Ordering::Release);
    }

    /// Returns true while a direction is shut.
    pub fn is_shut(&self, direction: Direction) -> bool {
        self.0[direction].load(Ordering::Acquire)
    }
}

/// A filter that has a gate for each connection.
#[derive(Debug)]
pub struct Gated(pub Arc<Gate>);

impl Filter for Gated {
    fn stage(&self, at: Position) -> Option<Box<dyn Stage>> {
        let stage = || Box::new(GateStage { gate: Arc::clone(&self.0), direction: at.direction, kept: None });
        (at.place == Place::In).then(|| stage() as Box<dyn Stage>)
    }
}

/// Keeps what comes while the gate is shut: one read, because nothing is read before that goes on.
#[derive(Debug)]
struct GateStage {
    gate: Arc<Gate>,
    direction: Direction,
    kept: Option<(Chunk, End)>,
}

impl GateStage {
    fn pass(chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        out.push(chunk);
        if end == End::Finished {
            out.end();
        }
        Progress::Moved
    }
}

impl Stage for GateStage {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        if self.gate.is_shut(self.direction) && end != End::Stopped {
            self.kept = Some((chunk, end));
            return Progress::Waiting;
        }
        Self::pass(chunk, end, out)
    }

    fn passes(&mut self, _: &[u8]) -> bool {
        self.kept.is_none() && !self.gate.is_shut(self.direction)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        match self.kept.take() {
            Some(kept) if self.gate.is_shut(self.direction) => {
                self.kept = Some(kept);
                Progress::Waiting
            }
            Some((chunk, end)) => Self::pass(chunk, end, out),
            None => Progress::Moved,
        }
    }

    fn release(&mut self) -> Vec<Chunk> {
        self.kept.take().map(|(chunk, _)| chunk).into_iter().collect()
    }

    fn held(&self) -> usize {
        self.kept.as_ref().map_or(0, |(chunk, _)| chunk.len())
    }

    fn kept(&self) -> usize {
        self.kept.as_ref().map_or(0, |(chunk, _)| chunk.len())
    }

    fn make_lasting(&mut self) -> bool {
        let Some((chunk, _)) = &mut self.kept else { return true };
        let Some(rest) = chunk.rest(0) else { return false };
        let kept = Chunk::from(rest);
        *chunk = if chunk.is_partial() { kept.into_partial() } else { kept };
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

    fn gated(direction: Direction) -> (Arc<Gate>, Playbook) {
        let gate = Arc::<Gate>::default();
        let stage = GateStage { gate: Arc::clone(&gate), direction, kept: None };
        (gate, Playbook::of(Stages::default().before_hook(stage)))
    }

    #[test]
    fn nothing_passes_while_it_is_shut_and_all_of_it_afterwards() {
        for direction in Direction::ALL {
            let (gate, mut book) = gated(direction);
            book.feed("a").expect([write(b"a")]);
            gate.shut(direction, true);
            book.feed("b").expect_waiting(true).wake().expect([]).expect_waiting(true);
            assert_eq!(book.kept(), 1);
            gate.shut(direction, false);
            book.wake().expect([write(b"b")]).expect_waiting(false).finish("c").expect([write(b"c"), Action::Fin]);
        }
    }

    #[test]
    fn an_end_stops_before_it_too() {
        let (gate, mut book) = gated(Direction::ToUpstream);
        gate.shut(Direction::ToUpstream, true);
        book.finish("a").expect([]);
        gate.shut(Direction::ToUpstream, false);
        book.wake().expect([write(b"a"), Action::Fin]);
    }

    #[test]
    fn the_other_direction_is_not_held() {
        let (gate, mut book) = gated(Direction::ToClient);
        gate.shut(Direction::ToUpstream, true);
        book.feed("a").expect([write(b"a")]);
    }

    #[test]
    fn a_direction_that_is_ended_from_outside_keeps_nothing_back() {
        let (gate, mut book) = gated(Direction::ToUpstream);
        gate.shut(Direction::ToUpstream, true);
        book.stop("a").expect([write(b"a")]);
    }
}
