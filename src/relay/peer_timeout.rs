//! Peers that have vanished while bytes were in flight to them: keepalive is silent then, and the kernel retransmits for a
//! quarter of an hour. A living peer acknowledges, even that it has no room.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    io::stream::Stream,
    live::control::KeepaliveChecks,
    settings::config::Timeouts,
    words::direction::{Side, Sides},
};

/// How long nothing may be acknowledged if `Timeouts::unacknowledged` sets no limit.
const LIMIT: Duration = Duration::from_secs(120);

/// Checks that are further apart than this have missed something: the machine was frozen, or this process was stopped.
const GAP: Duration = Duration::from_secs(30);

/// The state of the checks for acknowledgements.
#[derive(Debug, Default)]
pub(super) struct PeerTimeout {
    /// `None` while no acknowledgement is due from either side.
    since: Option<Box<Since>>,
    /// True if the upstream's socket has keepalive. Set at the first check: most connections end before it.
    kept_alive: bool,
}

/// The time since which each side has had bytes in flight at every check.
#[derive(Debug, Default)]
struct Since {
    sides: Sides<Option<Instant>>,
    looked: Option<Instant>,
}

impl Since {
    /// Records the time of a check. Results from before a gap do not count.
    fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|before| now.duration_since(before) > GAP) {
            *self = Self::default();
        }
        self.looked = Some(now);
    }
}

impl PeerTimeout {
    /// Runs a check: sets the upstream's keepalive the first time. Returns the sides that do not acknowledge any
    /// more.
    pub(super) fn check(
        &mut self,
        checks: &KeepaliveChecks,
        timeouts: &Timeouts,
        streams: &Sides<Stream>,
        failures: &Sides<Option<io::Error>>,
    ) -> Sides<bool> {
        if !std::mem::replace(&mut self.kept_alive, true) {
            streams.upstream.transport().inspect(|socket| socket.keep_alive());
        }
        if timeouts.unacknowledged.is_some() {
            // The kernel gives a peer up by itself: TCP_USER_TIMEOUT is set.
            return Sides::default();
        }
        let unanswered = |side: Side| match &failures[side] {
            None => streams[side].transport()?.unanswered(),
            Some(_) => None,
        };
        let unanswered = Sides { client: unanswered(Side::Client), upstream: unanswered(Side::Upstream) };
        if unanswered.client.is_none() && unanswered.upstream.is_none() {
            self.since = None;
            checks.found(false);
            return Sides::default();
        }
        let (now, since) = (Instant::now(), self.since.get_or_insert_default());
        since.look(now);
        let mut lost = |side: Side| is_lost(&mut since.sides[side], unanswered[side], now);
        checks.found(true);
        Sides { client: lost(Side::Client), upstream: lost(Side::Upstream) }
    }
}

/// Returns the error of a side that does not acknowledge any more.
pub(super) fn error() -> io::Error {
    let error = format!("nothing was acknowledged for {} s", LIMIT.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, error)
}

/// Returns true if a side is lost. `unanswered` is the time without an acknowledgement, if bytes are in flight. It may have
/// begun long before they were sent, so they must have been in flight for as long.
fn is_lost(since: &mut Option<Instant>, unanswered: Option<Duration>, now: Instant) -> bool {
    let Some(unanswered) = unanswered else {
        *since = None;
        return false;
    };
    let since = *since.get_or_insert(now);
    unanswered >= LIMIT && now.duration_since(since) >= LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every 15 s for ten minutes. Returns the time at which the peer was lost.
    fn lost_after(unanswered: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        lost_at((0..600).step_by(15), unanswered)
    }

    fn lost_at(mut looks: impl Iterator<Item = u64>, unanswered: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let (start, mut since) = (Instant::now(), Since::default());
        looks.find(|second| {
            let (unanswered, now) = (unanswered(*second).map(Duration::from_secs), start + Duration::from_secs(*second));
            since.look(now);
            is_lost(&mut since.sides.client, unanswered, now)
        })
    }

    #[test]
    fn a_machine_that_was_frozen_begins_anew() {
        let looks = (0..60).chain(600..1200).step_by(15);
        assert_eq!(lost_at(looks, Some), Some(720));
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_is_lost() {
        assert_eq!(lost_after(Some), Some(120));
        assert_eq!(lost_after(|second| (second >= 40).then(|| second - 40)), Some(165));
    }

    #[test]
    fn silence_before_the_bytes_were_sent_does_not_count() {
        assert_eq!(lost_after(|second| (second >= 40).then_some(second + 3600)), Some(165));
        assert_eq!(lost_after(|second| (second % 60 != 0).then_some(3600)), None);
    }

    #[test]
    fn a_peer_that_answers_that_it_has_no_room_is_kept() {
        assert_eq!(lost_after(|second| Some(second % 119)), None);
    }
}
