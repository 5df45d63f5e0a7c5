//! Idle connections of a stopping server: those in which nothing is under way are ended in order, without a drain.

use std::{task::Context, time::Duration};

use super::{half_close::Phase, state::Relay, talk::QUIET_STREAM};
use crate::{
    io::stream::{Socket, Stream},
    words::direction::{Direction, Sides},
};

/// How long neither side of a connection at rest has sent anything.
const QUIET: Duration = Duration::from_millis(20);

/// An upstream that has spoken this much later than the client counts as still speaking.
const STREAM: Duration = Duration::from_millis(100);

/// How long the client's last message may have no answer.
const ANSWER: Duration = Duration::from_secs(1);

impl Relay<'_> {
    /// Ends both directions, if that was requested and nothing is under way: bytes held here, injected, unread or
    /// unacknowledged, an end that a hook withholds, a message without an answer.
    pub(super) fn rest(&mut self, cx: &Context<'_>) {
        let Some(still) = self.order.shared.control.take_leave() else { return };
        if self.closing || !self.is_at_rest(still) {
            return;
        }
        self.closing = true;
        Direction::ALL.into_iter().for_each(|direction| _ = self.pumps[direction].end());
        cx.waker().wake_by_ref();
    }

    fn is_at_rest(&self, still: Duration) -> bool {
        let Sides { client, upstream } = &self.streams;
        let has_none = |direction: &Direction| match self.pumps[*direction].phase() {
            Phase::Open => self.pumps[*direction].holds_nothing() && !self.streams[direction.source()].has_unread(),
            Phase::Ended => true,
            Phase::Withheld | Phase::Ending | Phase::Cut => false,
        };
        let injected = || Direction::ALL.into_iter().any(|direction| self.order.shared.has_injected(direction));
        let spoken = last_data(client).or_else(|| last_data(upstream).map(|last| (last.1, last.0)));
        // Between Unix sockets, or where the system reports no times, only deliveries since the server began to end idle
        // connections count.
        let (upstream_spoke, client_spoke) = spoken.unwrap_or((still, still));
        !self.has_failed()
            && is_quiet(client_spoke, upstream_spoke, self.talk.is_unanswered())
            && Direction::ALL.iter().all(has_none)
            && !injected()
            && unacknowledged(client) == 0
            && unacknowledged(upstream) == 0
    }
}

/// Returns true if a peer that has got its end need not be read any more: it has all the data, and is silent.
pub(super) fn is_silent(stream: &Stream) -> bool {
    // FIN counts as one byte, and its acknowledgement may be delayed.
    unacknowledged(stream) <= 1 && last_data(stream).is_none_or(|(_, received)| received >= QUIET)
}

/// Returns the number of bytes that the peer's kernel has not acknowledged; 0 without a socket.
pub(super) fn unacknowledged(stream: &Stream) -> usize {
    stream.transport().map_or(0, Socket::unacknowledged)
}

fn last_data(stream: &Stream) -> Option<(Duration, Duration)> {
    stream.transport()?.last_data()
}

/// Returns true if both sides are quiet. `client` and `upstream`: the time since each has sent something, or was connected;
/// `asked`: a message of the client may have no answer yet.
fn is_quiet(client: Duration, upstream: Duration, asked: bool) -> bool {
    let least = if asked {
        ANSWER
    } else if client >= upstream + STREAM {
        QUIET_STREAM
    } else {
        QUIET
    };
    client.min(upstream) >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_not_taken_for_rest() {
        for (client, upstream, asked, quiet) in [
            (5000, 5000, false, true),
            (25, 24, false, true),
            (25, 20, false, true),
            (15, 14, false, false),
            // A message without an answer.
            (25, 25, true, false),
            (25, 5000, true, false),
            (990, 5000, true, false),
            (1000, 5000, true, true),
            // An answer that goes on for longer than the question.
            (5000, 25, false, false),
            (5000, 240, false, false),
            (5000, 250, false, true),
        ] {
            let of = Duration::from_millis;
            assert_eq!(is_quiet(of(client), of(upstream), asked), quiet, "{client} ms, {upstream} ms, {asked}");
        }
    }
}
