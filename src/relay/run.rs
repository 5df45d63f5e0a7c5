//! Carries a relay: the turns of both directions, the requests from outside, and the time limits, until an end.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use super::{
    half_close::Phase,
    hook::Hook,
    progress_timeout::Over,
    rest, scratch,
    stages::Framing,
    state::{End, Relay, RelayContext},
    talk, teardown,
    thread_change::Detached,
    turn::{Ends, Fault, Turn},
};
use crate::{
    io::stream::{Socket, Stream},
    live::{control::Demand, shared::Edit},
    settings::config::Splice,
    words::{
        direction::{
            Both,
            Direction::{self, ToClient, ToUpstream},
        },
        outcome::{CloseReason, Outcome},
    },
};

/// The result of a relay.
#[derive(Debug)]
pub(crate) enum Done {
    /// The connection is over.
    Over(Outcome),
    /// The connection goes on: on the lane if it was not there, else on a thread of the native runtime.
    Migrate(Box<Detached>),
}

/// Relays between two streams of this thread's runtime until the connection is over, and ends both sockets
/// accordingly, or until it belongs on another thread.
pub(crate) fn run(client: Stream, upstream: Stream, order: RelayContext<'_>) -> impl Future<Output = Done> {
    let mut relay = Relay::new(client, upstream, order);
    if let Some(stages) = order.hooks.and_then(|hooks| hooks.server.hooks.stages(&hooks.connection)) {
        let Both { to_upstream, to_client } = stages;
        relay.pumps.to_upstream.edit_stages(|none| *none = to_upstream);
        relay.pumps.to_client.edit_stages(|none| *none = to_client);
    }
    carry(relay)
}

/// Continues a relay that was moved to this thread.
pub(crate) async fn go_on(detached: Box<Detached>, order: RelayContext<'_>) -> Done {
    // A statement of its own: in a match around the wait, the future would have room for the relay twice.
    let relay = match detached.attach(order) {
        Ok(relay) => relay,
        Err(outcome) => return Done::Over(outcome),
    };
    carry(relay).await
}

#[expect(clippy::manual_async_fn, reason = "an async fn has room for the relay twice, as its argument and as its own")]
fn carry(mut relay: Relay<'_>) -> impl Future<Output = Done> {
    async move {
        let end = loop {
            match poll_fn(|cx| relay.poll(cx)).await {
                End::TlsBegins => {
                    // Boxed, as the end below.
                    if let Err(end) = Box::pin(relay.begin_tls()).await {
                        break end;
                    }
                }
                end => break end,
            }
        };
        match end {
            End::Finished => {
                relay.settle();
                Done::Over(Outcome::plain(CloseReason::Finished))
            }
            End::Moved => match relay.detach() {
                Ok(detached) => Done::Migrate(detached),
                Err(outcome) => Done::Over(outcome),
            },
            // Boxed, so that the many relays still running have no memory for an end.
            end => Done::Over(Box::pin(teardown::finish(relay, end)).await),
        }
    }
}

impl<'a> Relay<'a> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let polled = self.poll_once(cx);
        if let (true, Some(hooks)) = (self.order.on_lane, self.order.hooks) {
            hooks.server.hooks.turn_over();
        }
        polled
    }

    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.yielding.waits(cx) {
            return Poll::Pending;
        }
        if let Some(end) = self.obey(cx) {
            return Poll::Ready(end);
        }
        if let Some(end) = self.refused.take() {
            return Poll::Ready(*end);
        }
        if self.is_misplaced() {
            return Poll::Ready(End::Moved);
        }
        let held = self.pumps.to_client.is_stalled() || self.order.shared.has_injected_enough(ToClient);
        let failed_before = self.failed_sides();
        let (up, down, discarded) = scratch::with_buffer(|scratch| {
            let up = self.turn(ToUpstream, scratch, cx);
            if up.moved {
                self.pumps.to_client.opposite_moved(&mut self.streams.upstream);
            }
            let mut down = self.turn(ToClient, scratch, cx);
            down.more |= down.moved && self.pumps.to_upstream.opposite_moved(&mut self.streams.client);
            (up, down, self.discard(scratch, cx))
        });
        if let Some(end) = self.refused.take() {
            return Poll::Ready(*end);
        }
        if self.tls_begins() && self.is_ready_for_tls() {
            return Poll::Ready(End::TlsBegins);
        }
        let moved = up.moved || down.moved;
        if moved {
            self.talk.note(&up, &down, talk::now);
        }
        // The cause that held the first direction may have ended since its turn.
        let let_go = held && !self.pumps.to_client.is_stalled() && self.order.hooks.is_some();
        let ended = self.end_survivors(failed_before);
        let more = up.more || down.more || discarded.more || let_go || ended;
        let failed = up.failed || down.failed || discarded.failed || (!self.is_over() && (self.check_peers() | self.watch(cx)));
        if self.is_over() {
            return Poll::Ready(self.end());
        }
        let more = more || failed;
        let lets_others = self.order.on_lane && self.yielding.lets_others(more, [&up, &down], cx);
        if more && !lets_others {
            // After a failure the pumps have new duties, and no socket may wake the task for them.
            cx.waker().wake_by_ref();
        }
        if !moved {
            self.rest(cx);
        }
        self.poll_progress_timeout(moved, cx)
    }

    fn hook(&mut self, direction: Direction) -> Hook<'a> {
        let RelayContext { hooks, on_lane, splice, coalesce, .. } = self.order;
        match hooks {
            Some(hooks) if hooks.calls_here(on_lane) => {
                // Asked here, because most servers have no framing, and this is each turn.
                if self.pumps[direction].framing != Framing::None {
                    self.frame(direction, hooks);
                }
                let opposite_stalled = self.pumps[direction.opposite()].is_stalled();
                // A lane's thread may have SIGPIPE unblocked, which a splice to a closed peer would raise.
                let splice = if on_lane { Splice::Never } else { splice };
                Hook::of((hooks, on_lane), direction, opposite_stalled, splice, coalesce)
            }
            elsewhere => {
                if let Some(hooks) =
                    elsewhere.filter(|_| self.is_framed(direction) || self.order.shared.control.filtered.has(direction))
                {
                    self.frame(direction, hooks);
                }
                Hook::native(elsewhere, direction, splice, coalesce)
            }
        }
    }

    /// Ends a direction from outside. Bytes that have come and wait for more are read first.
    fn end_direction(&mut self, direction: Direction, cx: &mut Context<'_>) {
        if self.pumps[direction].phase() == Phase::Open
            && self.streams[direction.source()].raw().is_some_and(Socket::clear_low_water)
        {
            scratch::with_buffer(|scratch| self.turn(direction, scratch, cx));
        }
        self.pumps[direction].end();
    }

    /// Acts on the requests from outside. Returns the end that they demand, if any.
    fn obey(&mut self, cx: &mut Context<'_>) -> Option<End> {
        // Registered again each time, and before the requests are read: a request takes the waker, and another may follow.
        self.order.shared.control.register(cx);
        for direction in self.order.shared.control.ended.iter() {
            self.end_direction(direction, cx);
        }
        for direction in self.order.shared.control.edited.iter() {
            for edit in self.order.shared.take_edits(direction) {
                match edit {
                    Edit::Stages(edit) => self.pumps[direction].edit_stages(edit),
                    Edit::Framing(framer) => self.set_framing(direction, framer),
                }
            }
        }
        match self.order.shared.control.demand()? {
            Demand::Close => {
                self.closing = true;
                self.end_direction(ToUpstream, cx);
                self.end_direction(ToClient, cx);
                self.order.shared.control.set_closes();
                None
            }
            Demand::Fail => {
                self.fail_alone();
                None
            }
            Demand::Abort(reason) => Some(End::Abort(reason)),
        }
    }

    /// Moves bytes in one direction as far as possible. Records a fault before the other direction has its turn: the kernel
    /// reports an error once, and whichever call meets it first, the next read of that socket resembles an orderly end.
    fn turn(&mut self, direction: Direction, scratch: &mut [u8], cx: &mut Context<'_>) -> Turn {
        if self.refused.is_some() {
            return Turn::default();
        }
        let (shared, mut hook) = (self.order.shared, self.hook(direction));
        hook.tls_begins = self.tls_begins();
        let (source, destination) = self.streams.ends_mut(direction);
        let ends = Ends { source, destination, direction, shared, hook, received: 0 };
        let mut turn = self.pumps[direction].turn(ends, scratch, cx);
        match turn.fault.take() {
            None => {}
            Some(Fault::Source(error)) => turn.failed = self.side_failed(direction.source(), error),
            Some(Fault::Destination(error)) => turn.failed = self.side_failed(direction.source().opposite(), error),
            Some(Fault::Hook(failed)) => self.refused = Some(Box::new(End::Refused(failed))),
            Some(Fault::Reset(failed)) => self.refused = Some(Box::new(End::Reset(failed))),
        }
        turn
    }

    fn poll_progress_timeout(&mut self, moved: bool, cx: &mut Context<'_>) -> Poll<End> {
        let ending = self.is_ending();
        let timeouts = self.order.timeouts;
        let limit = if ending { timeouts.half_close } else { timeouts.idle };
        let in_kernel = || (rest::unacknowledged(&self.streams.client), rest::unacknowledged(&self.streams.upstream));
        // A hook that takes its time has its own limit; silence is what the peers do.
        let asked = !ending && (self.pumps.to_upstream.stages.is_asked() || self.pumps.to_client.stages.is_asked());
        match self.progress_timeout.poll(limit, moved || asked, in_kernel, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Over::Look) => {
                self.streams.client.ignore_readiness();
                self.streams.upstream.ignore_readiness();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Over::End) if !ending => Poll::Ready(End::Abort(CloseReason::IdleTimeout)),
            // A failure stays the cause.
            Poll::Ready(Over::End) if self.has_failed() => Poll::Ready(End::FailedLate),
            Poll::Ready(Over::End) => Poll::Ready(End::Abort(CloseReason::HalfCloseTimeout)),
        }
    }
}
