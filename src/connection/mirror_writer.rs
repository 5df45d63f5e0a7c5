//! The copy of a client's bytes on its way to the second target of `mirror_to`.
//!
//! The copy has a task of its own on an I/O thread, with a connection of its own, whose answers are read and dropped. Nothing
//! of it reaches the connection that is copied: a target that fails, or does not keep up, misses the rest.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::time::{Sleep, sleep};

use crate::{
    connection::{circle, context::ConnectionContext, entry::Entry},
    inspect::{
        Stages,
        mirror_queue::{Copy, CopyEnd, MOST_BEHIND, MOST_OF_ALL, Mirror},
    },
    io::{
        connector::{ConnectedUpstream, Way},
        fallback_targets,
        hops::Came,
        stream::Stream,
    },
    live::{
        control::Demand,
        shared::{Edit, Shared},
    },
    settings::forward::Forward,
    threads::workers::Workers,
    words::{direction::Direction, error::reason_text, log_target, outcome::Outcome},
};

/// Time for the rest of a copy, and for the target's own end, once the client's direction has ended.
const GRACE: Duration = Duration::from_secs(5);

/// Number of reads and writes before other connections of the thread run.
const STEPS: usize = 32;

/// Begins the copy of a connection whose relay is about to begin, if its server has a second target.
pub(super) fn begin(entry: &Entry, workers: &Workers, on_lane: bool) {
    let Entry { context, shared, .. } = entry;
    if context.mirror.is_none() {
        return;
    }
    let (stage, copy) = Mirror::new(Arc::clone(&context.server.mirror));
    // The copy is what the client has sent, at once: also while a framer waits for the rest of a message.
    let edit = |stages: &mut Stages| stages.insert_at_source(Box::new(stage));
    if shared.edit(Direction::ToUpstream, Edit::Stages(Box::new(edit))).is_err() {
        return;
    }
    let mirroring = Mirroring { context: Arc::clone(context), shared: Arc::clone(shared), workers: workers.clone(), copy };
    if on_lane {
        let (runtime, seat) = workers.seat();
        runtime.spawn(async move {
            mirroring.run().await;
            drop(seat);
        });
    } else {
        tokio::spawn(mirroring.run());
    }
}

/// A copy, and the connection that it is made of.
struct Mirroring {
    context: Arc<ConnectionContext>,
    shared: Arc<Shared>,
    workers: Workers,
    copy: Arc<Copy>,
}

impl Mirroring {
    async fn run(self) {
        let Some(target) = &self.context.mirror else { return };
        let done = self.within_grace(target).await;
        if let (true, Err(why)) = (self.copy.give_up() | self.overflow().is_some(), done)
            && let Some(more) = self.context.server.mirror_log.pass()
        {
            let (id, address) = (self.shared.id, &target.address);
            log::warn!(target: log_target::CONNECTION, "{id}: mirror_to {address} misses the rest of what the client sends: {why}{more}");
        }
    }

    /// Returns the bound that has ended the copy, if one has.
    fn overflow(&self) -> Option<String> {
        match self.copy.end()? {
            CopyEnd::Behind => Some(format!("it is more than {MOST_BEHIND} bytes behind")),
            CopyEnd::NoRoom => Some(format!("all targets of copies together are more than {MOST_OF_ALL} bytes behind")),
            CopyEnd::Finished | CopyEnd::Stopped | CopyEnd::GivenUp => None,
        }
    }

    /// Carries the copy to its end, or until its time is over.
    async fn within_grace(&self, target: &Forward) -> Result<(), String> {
        let mut work = pin!(self.carry(target));
        let mut grace: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            self.copy.register(cx);
            if let Some(why) = self.overflow() {
                return Poll::Ready(Err(why));
            }
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if self.copy.end().is_none() {
                return Poll::Pending;
            }
            let grace = grace.get_or_insert_with(|| Box::pin(sleep(GRACE)));
            let late = || Err(format!("it took longer than {} s behind the client's end", GRACE.as_secs()));
            grace.as_mut().poll(cx).map(|()| late())
        })
        .await
    }

    async fn carry(&self, target: &Forward) -> Result<(), String> {
        let Self { context, shared, workers, copy } = self;
        let (commons, explained) = (workers.commons(), |outcome: Outcome| outcome.error.unwrap_or_default());
        let came = Came { passed: shared.passed.load(Relaxed), client: Some(shared.ends()) };
        let way = Way { resolver: &commons.resolver, hops: &commons.hops, options: &context.options, came, inside: None };
        let connected = fallback_targets::connect(target, way, None).await;
        let ConnectedUpstream { stream, peer, local, hop, .. } = connected.map_err(explained)?;
        let mut side = Side { stream, shared, copy, taken: VecDeque::new(), sent_end: false, received_end: false };
        let _hop = circle::refuse_own_listener(&context.server, (&peer, &local), hop).map_err(explained)?;
        poll_fn(|cx| side.poll(cx)).await
    }
}

/// The connection to the second target. Reset when dropped, unless both sides have ended in order.
struct Side<'a> {
    stream: Stream,
    shared: &'a Shared,
    copy: &'a Copy,
    /// Bytes that were taken from the copy and not written yet.
    taken: VecDeque<Bytes>,
    sent_end: bool,
    received_end: bool,
}

impl Side<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        for _ in 0..STEPS {
            let wrote = match self.poll_write(cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                wrote => wrote.map_ok(|_| ()),
            };
            let read = self.poll_answer(cx);
            if self.sent_end && self.received_end {
                return Poll::Ready(Ok(()));
            }
            match (wrote, read) {
                (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => return Poll::Ready(Err(reason_text(&error))),
                (Poll::Pending, Poll::Pending) => return Poll::Pending,
                _ => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes bytes of the copy, or its end. Returns true if the copy has no end in order: then there is nothing to add.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.taken.is_empty() {
            let (taken, end) = self.copy.take();
            self.taken = taken;
            match end {
                Some(end) if self.taken.is_empty() => return self.poll_end(end, cx),
                _ => {}
            }
        }
        let Some(front) = self.taken.front_mut() else { return Poll::Pending };
        let written = ready!(self.stream.poll_write(cx, front))?;
        self.copy.written(written);
        front.advance(written);
        if front.is_empty() {
            self.taken.pop_front();
        }
        Poll::Ready(Ok(false))
    }

    fn poll_end(&mut self, end: CopyEnd, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.sent_end {
            return Poll::Pending;
        }
        let control = &self.shared.control;
        let is_asked_for =
            || control.ended.has(Direction::ToUpstream) || control.is_left() || control.demand() == Some(Demand::Close);
        if end != CopyEnd::Finished && !is_asked_for() {
            return Poll::Ready(Ok(true));
        }
        ready!(self.stream.poll_end(cx))?;
        self.sent_end = true;
        Poll::Ready(Ok(false))
    }

    /// Reads what the target answers, and drops it.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.received_end {
            return Poll::Pending;
        }
        let mut scratch = [0; 16 * 1024];
        match ready!(self.stream.poll_read(cx, &mut scratch)) {
            Ok(0) => self.received_end = true,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Poll::Ready(Err(error)),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        if !(self.sent_end && self.received_end) {
            self.stream.abort_on_close();
        }
    }
}
