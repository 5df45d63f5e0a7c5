//! The connections of this process to itself that are remembered, and how far each has come.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use super::line::Line;

/// Maximum number of listeners of this process that one connection may pass.
pub(crate) const MOST_HOPS: u8 = 8;

#[derive(Debug, Default)]
pub(super) struct Known {
    pub ours: HashMap<Line, Passed>,
    /// Connections that have ended, and the time at which each is forgotten.
    pub ended: VecDeque<(Instant, Line)>,
}

#[derive(Debug, Default)]
pub(super) struct Passed {
    pub hops: u8,
    /// The client's connection for which this one was made: the hops of that one may become known later.
    pub client: Option<Line>,
    /// Number of `Hop`s of this connection that are held. A script's socket has one more once a connection takes it over.
    pub held: u32,
    /// The time at which the connection is forgotten; set when its last `Hop` is dropped.
    pub until: Option<Instant>,
}

impl Known {
    /// Returns the hops of a connection, counted along the chain of clients for which it was made.
    pub(super) fn passed(&self, line: &Line) -> u8 {
        let (mut line, mut steps, mut most) = (line, 0, 0);
        while steps <= MOST_HOPS
            && let Some(passed) = self.ours.get(line)
        {
            most = most.max(passed.hops.saturating_add(steps));
            let Some(client) = &passed.client else { break };
            (line, steps) = (client, steps + 1);
        }
        most
    }
}
