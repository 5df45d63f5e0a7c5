//! The bytes of a link, or of a server, that goes up and down by a schedule.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    flap::{Down, Flap},
    strikes::Strikes,
};
use crate::{
    inspect::{End, Outbox, Progress, Stage},
    words::{
        chunk::Chunk,
        outcome::{CloseReason, Failed},
    },
};

/// Time for the entrance to be shut before connections are reset: clients often come back at once, and are to be refused.
const SHUTTING: Duration = Duration::from_millis(5);

/// The direction of a link that goes up and down, or of a server that resets its connections when it goes down. Each outage
/// that meets it is a strike.
#[derive(Debug)]
pub(super) struct Flapped {
    flap: Arc<Flap>,
    strikes: Strikes,
    /// When the server goes down; known once it was looked at.
    falls: Option<Instant>,
    /// The end of the last outage that was met.
    outage: Option<Instant>,
    kept: Vec<u8>,
    end: End,
}

impl Flapped {
    pub(super) fn new(flap: Arc<Flap>, strikes: Strikes) -> Self {
        Self { flap, strikes, falls: None, outage: None, kept: Vec::new(), end: End::Open }
    }

    /// Returns whether the link is up, and until when. Wakes the stage then, and counts an outage once.
    fn look(&mut self, out: &mut Outbox) -> (bool, Instant) {
        let (is_up, until) = self.flap.phase(out.now());
        out.wake_at(until);
        // An instant that is computed anew may differ by less than a span.
        if !is_up && self.outage.is_none_or(|outage| outage < out.now()) {
            self.outage = Some(until);
            self.strikes.count();
        }
        (is_up, until)
    }

    /// Resets the connection if the server has gone down. Returns true if it has.
    fn falls(&mut self, out: &mut Outbox) -> bool {
        let now = out.now();
        let (is_up, until) = self.flap.phase(now);
        let falls = *self.falls.get_or_insert(if is_up { until + SHUTTING } else { now });
        if falls > now {
            out.wake_at(falls);
            return false;
        }
        if self.outage.is_none() {
            self.outage = Some(falls);
            self.strikes.count();
        }
        let error = format!("fault {}", self.strikes.fault.name);
        out.reset(Failed { reason: CloseReason::Fault, error });
        true
    }

    fn pass(chunk: impl Into<Chunk>, end: End, out: &mut Outbox) -> Progress {
        out.push(chunk);
        if end == End::Finished {
            out.end();
        }
        Progress::Moved
    }
}

impl Stage for Flapped {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        let down = self.flap.down;
        if down == Down::Server && self.falls(out) {
            out.drop(chunk);
            return Progress::Moved;
        }
        if down != Down::Link {
            return Self::pass(chunk, end, out);
        }
        let (is_up, _) = self.look(out);
        if is_up || end == End::Stopped {
            return Self::pass(chunk, end, out);
        }
        self.kept.extend_from_slice(&chunk);
        self.end = end;
        Progress::Waiting
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        match self.flap.down {
            // No stage of a direction is made for it.
            Down::Entrance => return Progress::Moved,
            Down::Server => {
                self.falls(out);
                return Progress::Moved;
            }
            Down::Link => {}
        }
        let (is_up, _) = self.look(out);
        if self.kept.is_empty() && self.end == End::Open {
            return Progress::Moved;
        }
        if !is_up && !out.is_ending() {
            return Progress::Waiting;
        }
        Self::pass(Bytes::from(mem::take(&mut self.kept)), mem::take(&mut self.end), out)
    }

    fn release(&mut self) -> Vec<Chunk> {
        vec![Bytes::from(mem::take(&mut self.kept)).into()]
    }

    fn held(&self) -> usize {
        self.kept.len()
    }

    fn kept(&self) -> usize {
        self.kept.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::faults::{condition::Condition, effect::Effect, fault::Fault},
        taps::{event::ConnectionKey, witness::Witnesses},
        words::direction::{Both, Direction},
    };

    fn seconds(times: &[u64]) -> Vec<Duration> {
        times.iter().map(|time| Duration::from_secs(*time)).collect()
    }

    /// Returns the stage of a direction.
    fn flapped(flap: &Arc<Flap>) -> Flapped {
        let both = Both { to_upstream: true, to_client: true };
        let fault = Fault::new("Flap()", Effect::Flap(Arc::clone(flap)), Condition::default(), both);
        let (connection, witnesses) = (ConnectionKey::of(1), Witnesses::default());
        let strikes = Strikes { fault: Arc::new(fault), connection, direction: Direction::ToClient, witnesses };
        Flapped::new(Arc::clone(flap), strikes)
    }

    #[test]
    fn a_link_holds_bytes_and_the_end_while_it_is_down() {
        let start = Instant::now();
        let flap = Arc::new(Flap::new(seconds(&[1, 2]), Down::Link).unwrap());
        let mut stage = flapped(&flap);
        let mut out = Outbox::at(start);
        assert!(matches!(stage.feed(Bytes::from("up").into(), End::Open, &mut out), Progress::Moved));
        let mut out = Outbox::at(start + Duration::from_secs(1));
        assert!(matches!(stage.feed(Bytes::from("down").into(), End::Finished, &mut out), Progress::Waiting));
        assert!(out.bytes() == 0 && !out.has_finish());
        assert!(matches!(stage.resume(&mut out), Progress::Waiting));
        let mut out = Outbox::at(start + Duration::from_secs(3));
        assert!(matches!(stage.resume(&mut out), Progress::Moved));
        assert!(out.bytes() == 4 && out.has_finish());
    }

    #[test]
    fn each_outage_of_a_link_is_a_strike_when_it_begins() {
        let start = Instant::now();
        let flap = Arc::new(Flap::new(seconds(&[2, 3]), Down::Link).unwrap());
        let mut stage = flapped(&flap);
        let strikes = |stage: &Flapped| stage.strikes.fault.strikes();
        let mut seen = Vec::new();
        let mut wakes = Vec::new();
        for tenth in 0..=170 {
            let mut out = Outbox::at(start + Duration::from_millis(tenth * 100));
            let _ = stage.resume(&mut out);
            seen.push(strikes(&stage));
            wakes.push(out.wakes_at().map(|at| at.duration_since(start).as_millis() / 10));
        }
        let expected: Vec<u64> = (0..=170).map(|tenth| (tenth + 30) / 50).collect();
        assert_eq!(seen, expected, "one at 2, 7, 12 and 17 s");
        assert_eq!((wakes[0], wakes[25], wakes[60]), (Some(200), Some(500), Some(700)), "it wakes at each change");
    }

    #[test]
    fn a_server_that_goes_down_resets_also_if_it_is_noticed_late() {
        let start = Instant::now();
        let flap = Arc::new(Flap::new(seconds(&[1, 1]), Down::Server).unwrap());
        let mut stage = flapped(&flap);
        let mut out = Outbox::at(start);
        assert!(matches!(stage.resume(&mut out), Progress::Moved));
        assert!(!out.has_finish());
        let mut out = Outbox::at(start + Duration::from_millis(2500));
        let _ = stage.resume(&mut out);
        assert!(out.has_finish());
        assert_eq!(stage.strikes.fault.strikes(), 1);
    }
}
