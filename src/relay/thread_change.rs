//! Relays that change their thread, because other hooks are wanted.
//!
//! All state moves: bytes read and not delivered, the ends that were seen, the failures, the side that spoke last, and the
//! time without progress. A socket that cannot be moved fails both sides: neither may take a lost relay for an orderly end.

use std::{io, mem};

use super::{
    half_close::Phase,
    peer_timeout::PeerTimeout,
    progress_timeout::ProgressTimeout,
    pump::Pump,
    state::{Relay, RelayContext},
    talk::Talk,
};
use crate::{
    io::stream::{Stream, Unregistered},
    words::{
        direction::{Both, Direction, Side, Sides},
        interest::Interest,
        outcome::Outcome,
    },
};

/// Both sides and the state between them, registered with no runtime. The drop is an abort.
#[derive(Debug)]
pub(crate) struct Detached {
    streams: Sides<Unregistered>,
    pumps: Both<Pump>,
    failures: Sides<Option<io::Error>>,
    failed_first: Side,
    closing: bool,
    talk: Talk,
    progress_timeout: ProgressTimeout,
    peer_timeout: PeerTimeout,
}

impl Detached {
    /// Registers both sides with this thread's runtime. Aborts both if that fails.
    pub(super) fn attach(self, order: RelayContext<'_>) -> Result<Relay<'_>, Outcome> {
        let Self { streams, pumps, failures, failed_first, closing, talk, progress_timeout, peer_timeout } = self;
        match (streams.client.attach(), streams.upstream.attach()) {
            (Ok(client), Ok(upstream)) => {
                let mut relay = Relay::new(client, upstream, order);
                (relay.pumps, relay.failures, relay.failed_first) = (pumps, failures, failed_first);
                (relay.closing, relay.talk) = (closing, talk);
                (relay.progress_timeout, relay.peer_timeout) = (progress_timeout, peer_timeout);
                Ok(relay)
            }
            (mut client, mut upstream) => {
                let registered = [client.as_mut().ok(), upstream.as_mut().ok()];
                registered.into_iter().flatten().for_each(|stream| stream.abort_on_close());
                Err(lost(client.err().or(upstream.err())))
            }
        }
    }
}

fn lost(error: Option<io::Error>) -> Outcome {
    Outcome::from_registering(&error.unwrap_or_else(|| io::ErrorKind::Other.into()))
}

impl Relay<'_> {
    /// Returns true if the relay belongs on another thread: on the lane while a hook wants to see a direction that is still
    /// read, and off it once no hook does. A relay that ends on its lane stays there, because a move costs more than an end.
    pub(super) fn is_misplaced(&self) -> bool {
        let Some(hooks) = self.order.hooks else { return false };
        let interest = hooks.interest();
        if self.order.on_lane {
            return !interest.needs_lane();
        }
        interest.needs_lane() && interest.on_lane().has(self.of_interest())
    }

    /// Returns the hooks that may still be called.
    fn of_interest(&self) -> Interest {
        let asked = |direction: &Direction| match self.pumps[*direction].phase() {
            Phase::Open => Interest::recv(*direction).with(Interest::EOF).with(Interest::STAGES),
            _ => Interest::NONE,
        };
        Direction::ALL.iter().map(asked).fold(Interest::NONE, Interest::with)
    }

    /// Takes the sides off this thread's runtime. Aborts both if that fails.
    pub(super) fn detach(mut self) -> Result<Box<Detached>, Outcome> {
        for direction in Direction::ALL {
            if let Some(hooks) = self.order.hooks.filter(|_| self.is_framed(direction)) {
                self.frame(direction, hooks);
            }
            if let Err(failed) = self.pumps[direction].leave_thread() {
                return Err(failed.into());
            }
        }
        self.progress_timeout.leave_thread();
        let take = |stream: &mut Stream| mem::replace(stream, Stream::nowhere()).detach();
        let streams = match (take(&mut self.streams.client), take(&mut self.streams.upstream)) {
            (Ok(client), Ok(upstream)) => Sides { client, upstream },
            (client, upstream) => return Err(lost(client.err().or(upstream.err()))),
        };
        // Nothing is left to abort here: the detached sides abort themselves when dropped.
        self.settle();
        Ok(Box::new(Detached {
            streams,
            pumps: mem::take(&mut self.pumps),
            failures: mem::take(&mut self.failures),
            failed_first: self.failed_first,
            closing: self.closing,
            talk: self.talk,
            progress_timeout: mem::take(&mut self.progress_timeout),
            peer_timeout: mem::take(&mut self.peer_timeout),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::Shutdown,
        sync::Arc,
    };

    use super::*;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    use crate::relay::splice::Splicer;
    use crate::{
        io::stream::pair::pair,
        live::{
            registry::Registry,
            shared::{Shared, SideNames},
        },
        relay::run::{Done, go_on},
        settings::config::{Coalesce, Splice, Timeouts},
        words::{addr::SocketName, outcome::CloseReason},
    };

    fn shared() -> Arc<Shared> {
        let name = || SocketName::Unix(String::new());
        Registry::new(Arc::default()).enter(SideNames { peer: name(), local: name() })
    }

    fn order<'a>(shared: &'a Shared, timeouts: &'a Timeouts) -> RelayContext<'a> {
        let (splice, coalesce) = (Splice::default(), Coalesce::default());
        RelayContext { shared, timeouts, splice, coalesce, hooks: None, on_lane: false }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test]
    async fn bytes_that_cannot_move_are_a_failure_of_this_process() {
        let (shared, timeouts) = (shared(), Timeouts::default());
        for bytes in [usize::MAX, 10] {
            let mut relay = Relay::new(Stream::nowhere(), Stream::nowhere(), order(&shared, &timeouts));
            relay.pumps.to_client = Pump::holding(Splicer::holding(b"held", bytes));
            let outcome = relay.detach().unwrap_err();
            assert_eq!(outcome.reason, CloseReason::InternalError);
            assert!(outcome.error.unwrap().contains("bytes"));
        }
    }

    #[tokio::test]
    async fn bytes_in_front_of_a_socket_move_along_and_are_delivered_first() {
        let (shared, timeouts) = (shared(), Timeouts::default());
        let order = RelayContext { splice: Splice::Always, coalesce: Coalesce::Always, ..order(&shared, &timeouts) };
        let ((mut client, mut sender), (upstream, mut receiver)) = (pair(), pair());
        client.unread("before".into());
        sender.write_all(b"after").unwrap();
        for end in [&sender, &receiver] {
            end.shutdown(Shutdown::Write).unwrap();
        }
        let detached = Relay::new(client, upstream, order).detach().unwrap();
        let Done::Over(outcome) = go_on(detached, order).await else { panic!("it does not end") };
        assert_eq!(outcome.reason, CloseReason::Finished);
        let mut all = String::new();
        receiver.read_to_string(&mut all).unwrap();
        assert_eq!(all, "beforeafter");
        assert_eq!(shared.meters.to_upstream.ledger().delivered, 11);
    }

    #[tokio::test]
    async fn the_end_of_a_server_that_is_left_moves_along() {
        let (shared, timeouts) = (shared(), Timeouts::default());
        let order = order(&shared, &timeouts);
        let mut relay = Relay::new(Stream::nowhere(), Stream::nowhere(), order);
        relay.closing = true;
        relay.pumps.to_upstream.end();
        relay.pumps.to_client.end();
        let detached = relay.detach().unwrap();
        let Done::Over(outcome) = go_on(detached, order).await else { panic!("it does not end") };
        assert_eq!(outcome.reason, CloseReason::Closed);
    }
}
