//! Moves bytes both ways between two connected sockets until both directions have ended, and passes on the ends as they were.
//!
//! * FIN on one side is FIN on the other, after everything read was delivered; the opposite direction lives on.
//! * A side that fails (RST, or given up by the kernel) fails the other: what it sent before is delivered
//!   first, then the other side gets RST. It never gets a clean end.
//! * A side that does not take bytes stops the reading of the other. Nothing else is affected.

mod coalesce;
mod delivery;
mod failing;
mod half_close;
mod hook;
mod moving;
mod outbox;
mod peer_timeout;
mod progress_timeout;
mod pump;
mod rest;
mod scratch;
mod splice;
mod stages;
mod streak;
mod talk;
mod teardown;
mod turn;
mod yielding;

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use self::{
    half_close::Phase,
    hook::Hook,
    progress_timeout::{Over, ProgressTimeout},
    pump::Pump,
    talk::Talk,
    turn::{Ends, Fault, Turn},
};
use crate::{
    hooks::{Failed, connection_hooks::ConnectionHooks},
    io::stream::{Socket, Stream},
    live::{control::Command, shared::Shared},
    settings::config::{Coalesce, Splice, Timeouts},
    words::{
        direction::{
            Both,
            Direction::{self, ToClient, ToUpstream},
            Side, Sides,
        },
        outcome::{CloseReason, Outcome},
    },
};

pub(crate) use moving::{Detached, go_on};
pub(crate) use teardown::say_goodbye;

/// The connection that a relay carries, and its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelayContext<'a> {
    pub shared: &'a Shared,
    pub timeouts: &'a Timeouts,
    pub splice: Splice,
    pub coalesce: Coalesce,
    /// The hooks that may want to see the bytes.
    pub hooks: Option<&'a ConnectionHooks>,
    /// True if the calling thread is the lane of the hooks.
    pub on_lane: bool,
}

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

#[expect(clippy::manual_async_fn, reason = "an async fn has room for the relay twice, as its argument and as its own")]
fn carry(mut relay: Relay<'_>) -> impl Future<Output = Done> {
    async move {
        let end = poll_fn(|cx| relay.poll(cx)).await;
        match end {
            End::Finished => {
                relay.settle();
                Done::Over(Outcome::plain(CloseReason::Finished))
            }
            End::Moved => relay.detach(),
            // Boxed, so that the many relays still running have no memory for an end.
            end => Done::Over(Box::pin(teardown::finish(relay, end)).await),
        }
    }
}

/// The end of the relay itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// FIN both ways, everything delivered.
    Finished,
    /// The failed sides are noted in the relay.
    Failed,
    /// A side failed, and the other side did not take the rest of the bytes in time.
    FailedLate,
    /// `close()`: bytes that were read are delivered, and both sides have FIN.
    Closed,
    /// The server ends idle connections, and nothing was under way: both sides have FIN.
    Left,
    /// Abort now, for this reason.
    Abort(CloseReason),
    /// A hook or another stage failed.
    Refused(Failed),
    /// A stage has requested a reset, and its earlier output was written.
    Reset(Failed),
    /// No end: the relay goes on on another thread.
    Moved,
}

#[derive(Debug)]
struct Relay<'a> {
    streams: Sides<Stream>,
    pumps: Both<Pump>,
    /// The error with which each side has failed.
    failures: Sides<Option<io::Error>>,
    /// The side that failed first, once one has: its failure is the cause.
    failed_first: Side,
    closing: bool,
    talk: Talk,
    /// True once both sockets may be dropped without a forced reset.
    settled: bool,
    progress_timeout: ProgressTimeout,
    peer_timeout: peer_timeout::PeerTimeout,
    yielding: yielding::Yielding,
    refused: Option<Box<End>>,
    order: RelayContext<'a>,
}

impl<'a> Relay<'a> {
    fn new(client: Stream, upstream: Stream, order: RelayContext<'a>) -> Self {
        Self {
            streams: Sides { client, upstream },
            pumps: Both { to_upstream: Pump::new(), to_client: Pump::new() },
            failures: Sides::default(),
            failed_first: Side::Client,
            closing: false,
            talk: Talk::default(),
            settled: false,
            progress_timeout: ProgressTimeout::default(),
            peer_timeout: peer_timeout::PeerTimeout::default(),
            yielding: yielding::Yielding::default(),
            refused: None,
            order,
        }
    }

    /// Marks the relay as settled: nothing is left to pass on, so its sockets need not be aborted.
    fn settle(&mut self) {
        self.settled = true;
    }

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
        let moved = up.moved || down.moved;
        if moved {
            self.talk.note(&up, &down, talk::now);
        }
        // The cause that held the first direction may have ended since its turn.
        let let_go = held && !self.pumps.to_client.is_stalled() && self.order.hooks.is_some();
        let ended = self.end_survivors(failed_before);
        let more = up.more || down.more || discarded.more || let_go || ended;
        let failed = up.failed || down.failed || discarded.failed || (!self.is_over() && self.watch(cx));
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

    fn hook(&self, direction: Direction) -> Hook<'a> {
        let RelayContext { hooks, on_lane, splice, coalesce, .. } = self.order;
        match hooks {
            Some(hooks) if hooks.calls_here(on_lane) => {
                let opposite_stalled = self.pumps[direction.opposite()].is_stalled();
                // A lane's thread may have SIGPIPE unblocked, which a splice to a closed peer would raise.
                let splice = if on_lane { Splice::Never } else { splice };
                Hook::of((hooks, on_lane), direction, opposite_stalled, splice, coalesce)
            }
            elsewhere => Hook::native(elsewhere, direction, splice, coalesce),
        }
    }

    /// Ends a direction from outside. Bytes that have come and wait for more are read first.
    fn end_direction(&mut self, direction: Direction, cx: &mut Context<'_>) {
        if self.pumps[direction].phase == Phase::Open
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
                self.pumps[direction].edit_stages(edit);
            }
        }
        match self.order.shared.control.command()? {
            Command::Close => {
                self.closing = true;
                self.end_direction(ToUpstream, cx);
                self.end_direction(ToClient, cx);
                None
            }
            Command::Fail => {
                self.fail_alone();
                None
            }
            Command::Abort => Some(End::Abort(CloseReason::Aborted)),
            Command::Stop => Some(End::Abort(CloseReason::Stopped)),
        }
    }

    /// Moves bytes in one direction as far as possible. Records a fault before the other direction has its turn: the kernel
    /// reports an error once, and whichever call meets it first, the next read of that socket resembles an orderly end.
    fn turn(&mut self, direction: Direction, scratch: &mut [u8], cx: &mut Context<'_>) -> Turn {
        if self.refused.is_some() {
            return Turn::default();
        }
        let (shared, hook) = (self.order.shared, self.hook(direction));
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

    fn is_over(&self) -> bool {
        self.pumps.to_upstream.is_over() && self.pumps.to_client.is_over()
    }

    fn has_failed(&self) -> bool {
        self.failures.client.is_some() || self.failures.upstream.is_some()
    }

    fn end(&self) -> End {
        if self.has_failed() {
            End::Failed
        } else if self.closing && self.order.shared.control.command().is_none() {
            End::Left
        } else if self.closing {
            End::Closed
        } else {
            End::Finished
        }
    }

    /// Returns true if an end is being passed on: then silence is limited by `half_close`, else by `idle`.
    fn is_ending(&self) -> bool {
        self.pumps.to_upstream.phase != Phase::Open || self.pumps.to_client.phase != Phase::Open || self.has_failed()
    }

    fn poll_progress_timeout(&mut self, moved: bool, cx: &mut Context<'_>) -> Poll<End> {
        let ending = self.is_ending();
        let timeouts = self.order.timeouts;
        let limit = if ending { timeouts.half_close } else { timeouts.idle };
        let in_kernel = || (rest::unacknowledged(&self.streams.client), rest::unacknowledged(&self.streams.upstream));
        match self.progress_timeout.poll(limit, moved, in_kernel, cx) {
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

impl Drop for Relay<'_> {
    /// Aborts both sides unless settled: a relay dropped in the middle (a defect, a runtime that ends) has not delivered
    /// everything, so neither side may take that for an orderly end.
    fn drop(&mut self) {
        if !self.settled {
            self.streams.client.abort_on_close();
            self.streams.upstream.abort_on_close();
        }
    }
}
