//! Moves bytes both ways between two connected sockets until both directions have ended, and makes the ends true.
//!
//! * FIN on one side is FIN on the other, after everything read was delivered; the opposite direction lives on.
//! * A side that fails (RST, or given up by the kernel) fails the other: what it sent before is delivered
//!   first, then the other side gets RST. It never gets a clean end.
//! * A side that does not take bytes stops the reading of the other. Nothing else is affected.

mod ending;
mod pump;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use self::pump::{BUFFER, Ends, Fault, Phase, Pump, Turn};
use crate::{
    config::Timeouts,
    io::stream::Stream,
    outcome::{CloseReason, Outcome},
    registry::{Command, Shared},
};

thread_local! {
    /// What this thread's relays read into. Nothing stays in it between two polls.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Relays until the connection is over, and ends both sockets accordingly.
pub(crate) async fn run(client: Stream, upstream: Stream, shared: &Shared, timeouts: &Timeouts) -> Outcome {
    let mut relay = Relay::new(client, upstream, shared, timeouts);
    let end = poll_fn(|cx| relay.poll(cx)).await;
    match end {
        End::Finished => {
            relay.settled = true;
            Outcome::plain(CloseReason::Finished)
        }
        // Boxed: what an end needs in memory is not kept by the many that still run.
        end => Box::pin(ending::finish(relay, end)).await,
    }
}

/// How the relay proper ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// FIN both ways, everything delivered.
    Finished,
    /// The failed sides are noted in the relay.
    Failed,
    /// The same, and the other side did not take what was left in time.
    FailedLate,
    /// `close()`: what was read is delivered and both sides have FIN.
    Closed,
    /// Abort now, for this reason.
    Abort(CloseReason),
}

#[derive(Debug)]
struct Relay<'a> {
    client: Stream,
    upstream: Stream,
    to_upstream: Pump,
    to_client: Pump,
    /// Why a side failed. The first to fail is the cause.
    client_failure: Option<io::Error>,
    upstream_failure: Option<io::Error>,
    client_failed_first: bool,
    closing: bool,
    /// The end was passed on to both sides in order, or as an abort that was seen to.
    settled: bool,
    patience: Patience,
    shared: &'a Shared,
    timeouts: &'a Timeouts,
}

impl<'a> Relay<'a> {
    fn new(client: Stream, upstream: Stream, shared: &'a Shared, timeouts: &'a Timeouts) -> Self {
        Self {
            client,
            upstream,
            to_upstream: Pump::new(),
            to_client: Pump::new(),
            client_failure: None,
            upstream_failure: None,
            client_failed_first: false,
            closing: false,
            settled: false,
            patience: Patience::default(),
            shared,
            timeouts,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = self.obey(cx) {
            return Poll::Ready(end);
        }
        let (up, down, discarded) = SCRATCH.with_borrow_mut(|scratch| {
            if scratch.is_empty() {
                scratch.resize(BUFFER, 0);
            }
            (self.turn_to_upstream(scratch, cx), self.turn_to_client(scratch, cx), self.discard(scratch, cx))
        });
        let (moved, more) = (up.moved || down.moved, up.more || down.more || discarded.more);
        let failed = up.failed || down.failed || discarded.failed || (!self.is_over() && self.watch(cx));
        if self.is_over() {
            return Poll::Ready(self.end());
        }
        if more || failed {
            // After a failure the pumps have new duties, and no socket may wake the task for them.
            cx.waker().wake_by_ref();
        }
        self.poll_patience(moved, cx)
    }

    /// What the outside asked for.
    fn obey(&mut self, cx: &Context<'_>) -> Option<End> {
        // Anew each time, and before the look: a command takes the waker with it, and another may follow.
        self.shared.control.register(cx);
        match self.shared.control.command()? {
            Command::Close => {
                self.closing = true;
                self.to_upstream.end();
                self.to_client.end();
                None
            }
            Command::Abort => Some(End::Abort(CloseReason::Aborted)),
            Command::Stop => Some(End::Abort(CloseReason::Stopped)),
        }
    }

    // A fault is noted before the other direction has its turn. The kernel tells an error once: whichever call meets
    // it first, the next read of that socket looks like an orderly end.

    fn turn_to_upstream(&mut self, scratch: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let ends = Ends { source: &mut self.client, destination: &mut self.upstream, meter: &self.shared.to_upstream };
        let mut turn = self.to_upstream.turn(ends, scratch, cx);
        match turn.fault.take() {
            None => {}
            Some(Fault::Source(error)) => turn.failed = self.client_failed(error),
            Some(Fault::Destination(error)) => turn.failed = self.upstream_failed(error),
        }
        turn
    }

    fn turn_to_client(&mut self, scratch: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let ends = Ends { source: &mut self.upstream, destination: &mut self.client, meter: &self.shared.to_client };
        let mut turn = self.to_client.turn(ends, scratch, cx);
        match turn.fault.take() {
            None => {}
            Some(Fault::Source(error)) => turn.failed = self.upstream_failed(error),
            Some(Fault::Destination(error)) => turn.failed = self.client_failed(error),
        }
        turn
    }

    /// Reads, and gives up, what a side still sends to one that has failed. A side that is blocked in sending
    /// would not take what is left for it. No progress in the sense of a time limit.
    fn discard(&mut self, scratch: &mut [u8], cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::default();
        if self.client_failure.is_some() && self.upstream_failure.is_none() && !self.to_upstream.is_over() {
            turn = self.to_client.discard(&mut self.upstream, &self.shared.to_client, scratch, cx);
            if let Some(Fault::Source(error)) = turn.fault.take() {
                turn.failed = self.upstream_failed(error);
            }
        } else if self.upstream_failure.is_some() && self.client_failure.is_none() && !self.to_client.is_over() {
            turn = self.to_upstream.discard(&mut self.client, &self.shared.to_upstream, scratch, cx);
            if let Some(Fault::Source(error)) = turn.fault.take() {
                turn.failed = self.client_failed(error);
            }
        }
        turn
    }

    /// Looks for the failure of a side that is not being read.
    fn watch(&mut self, cx: &mut Context<'_>) -> bool {
        let mut failed = false;
        if !self.to_upstream.is_reading()
            && self.client_failure.is_none()
            && let Poll::Ready(error) = self.client.poll_failure(cx)
        {
            failed |= self.client_failed(error);
        }
        if !self.to_client.is_reading()
            && self.upstream_failure.is_none()
            && let Poll::Ready(error) = self.upstream.poll_failure(cx)
        {
            failed |= self.upstream_failed(error);
        }
        failed
    }

    /// Nothing more reaches the client. What it sent before is still read and delivered, then the upstream is aborted.
    fn client_failed(&mut self, error: io::Error) -> bool {
        self.client_failed_first |= self.upstream_failure.is_none();
        self.to_upstream.failed_source |= !is_behind_fin(&error);
        self.client_failure.get_or_insert(error);
        self.to_client.cut(&self.shared.to_client);
        true
    }

    /// The mirror of [`client_failed`](Self::client_failed).
    fn upstream_failed(&mut self, error: io::Error) -> bool {
        self.to_client.failed_source |= !is_behind_fin(&error);
        self.upstream_failure.get_or_insert(error);
        self.to_upstream.cut(&self.shared.to_upstream);
        true
    }

    fn is_over(&self) -> bool {
        self.to_upstream.is_over() && self.to_client.is_over()
    }

    fn end(&self) -> End {
        if self.client_failure.is_some() || self.upstream_failure.is_some() {
            End::Failed
        } else if self.closing {
            End::Closed
        } else {
            End::Finished
        }
    }

    /// Whether an end is being passed on: then silence is bounded by `half_close`, else by `idle`.
    fn is_ending(&self) -> bool {
        self.to_upstream.phase != Phase::Open
            || self.to_client.phase != Phase::Open
            || self.client_failure.is_some()
            || self.upstream_failure.is_some()
    }

    fn poll_patience(&mut self, moved: bool, cx: &mut Context<'_>) -> Poll<End> {
        let ending = self.is_ending();
        let limit = if ending { self.timeouts.half_close } else { self.timeouts.idle };
        let in_kernel = || (self.client.unacknowledged(), self.upstream.unacknowledged());
        match self.patience.poll(limit, moved, in_kernel, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if !ending => Poll::Ready(End::Abort(CloseReason::IdleTimeout)),
            // A failure stays the cause.
            Poll::Ready(()) if self.client_failure.is_some() || self.upstream_failure.is_some() => Poll::Ready(End::FailedLate),
            Poll::Ready(()) => Poll::Ready(End::Abort(CloseReason::HalfCloseTimeout)),
        }
    }
}

impl Drop for Relay<'_> {
    /// A relay that is dropped in the middle (a defect, a runtime that ends) has not delivered everything:
    /// neither side may take that for an orderly end.
    fn drop(&mut self) {
        if !self.settled {
            self.client.abort_on_close();
            self.upstream.abort_on_close();
        }
    }
}

/// Whether a peer had ended its direction in order before it failed: then that end is still to be read, and true.
/// The kernel tells a reset behind a FIN as EPIPE, another as ECONNRESET. (Behind our own FIN as well it is
/// ECONNRESET again: then nothing of ours is left for the peer, and the end that it may hide is given as a reset.)
fn is_behind_fin(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Looks at the kernel's buffers within one limit.
const LOOKS: u32 = 4;

/// A bound on the time without progress. Costs nothing, not even a look at the clock, while there is no limit.
#[derive(Debug, Default)]
struct Patience {
    timer: Option<Box<Timer>>,
}

#[derive(Debug)]
struct Timer {
    limit: Duration,
    /// When something last moved.
    since: Instant,
    /// Bytes in the kernel on their way to the client and to the upstream, when last looked at.
    in_kernel: Option<(usize, usize)>,
    sleep: Pin<Box<Sleep>>,
}

impl Patience {
    /// `moved` says whether this turn made progress; `in_kernel` tells what the kernel has still to deliver. That
    /// is asked now and then: a slow reader empties the kernel's buffer long before it takes more from us.
    fn poll(
        &mut self,
        limit: Option<Duration>,
        moved: bool,
        in_kernel: impl Fn() -> (usize, usize),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(limit) = limit else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = match &mut self.timer {
            Some(timer) if timer.limit == limit => {
                if moved {
                    timer.since = Instant::now();
                    timer.in_kernel = None;
                }
                timer
            }
            timer => {
                let since = Instant::now();
                let sleep = Box::pin(sleep_until(since + limit / LOOKS));
                timer.insert(Box::new(Timer { limit, since, in_kernel: None, sleep }))
            }
        };
        // The timer is not moved with every byte: when it fires, it is set anew. It fires four times a limit, to see
        // whether the kernel delivers.
        while timer.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let waiting = in_kernel();
            if timer.in_kernel.replace(waiting).is_some_and(|before| before != waiting) {
                timer.since = now;
            }
            if timer.since + limit <= now {
                return Poll::Ready(());
            }
            timer.sleep.as_mut().reset((timer.since + limit).min(now + limit / LOOKS));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Polls the patience once a second for `seconds`, with progress where `moves` says so.
    async fn lasts(limit: Option<u64>, seconds: u64, moves: impl Fn(u64) -> bool) -> Option<u64> {
        let mut patience = Patience::default();
        for second in 0..seconds {
            let limit = limit.map(Duration::from_secs);
            let over = poll_fn(|cx| Poll::Ready(patience.poll(limit, moves(second), || (0, 0), cx).is_ready())).await;
            if over {
                return Some(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_its_limit_without_progress() {
        assert_eq!(lasts(Some(120), 1000, |_| false).await, Some(120));
        assert_eq!(lasts(None, 1000, |_| false).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_limit_anew() {
        assert_eq!(lasts(Some(120), 1000, |second| second % 100 == 0).await, None);
        assert_eq!(lasts(Some(120), 1000, |second| second == 50).await, Some(170));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_delivers_is_progress() {
        let mut patience = Patience::default();
        let limit = Some(Duration::from_secs(120));
        let started = Instant::now();
        let queued = || (0, 5000_usize.saturating_sub(10 * usize::try_from(started.elapsed().as_secs()).unwrap()));
        poll_fn(|cx| patience.poll(limit, false, queued, cx)).await;
        assert_eq!(started.elapsed().as_secs(), 630, "empty at 500 s, found so at the next look at 510 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_cannot_deliver_is_none() {
        let mut patience = Patience::default();
        let started = Instant::now();
        poll_fn(|cx| patience.poll(Some(Duration::from_secs(120)), false, || (0, 5000), cx)).await;
        assert_eq!(started.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_wakes_a_task_that_nothing_else_wakes() {
        let mut patience = Patience::default();
        let started = Instant::now();
        tokio::select! {
            () = poll_fn(|cx| patience.poll(Some(Duration::from_secs(120)), false, || (0, 0), cx)) => {}
            () = pending() => {}
        }
        assert_eq!(started.elapsed().as_secs(), 120);
    }
}
