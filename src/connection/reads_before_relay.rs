//! Serves the dialogue of a hook with the sides of a connection that is not relayed yet.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, Bytes};
use tokio::time::{Sleep, sleep_until};

use crate::{
    hooks::Failed,
    io::stream::Stream,
    live::shared::Shared,
    tls::failure::Failure,
    words::{
        direction::{Direction, Side, Sides},
        error::reason_text,
        outcome::{CloseReason, Outcome},
    },
};

/// Maximum bytes of one read.
const MOST_READ_AT_ONCE: usize = 16 * 1024;

/// A side during a dialogue.
#[derive(Debug, Default)]
struct Partner<'a> {
    /// `None` for a side that is not there.
    stream: Option<&'a mut Stream>,
    /// Bytes that were taken from the side's inbox and not written yet.
    outgoing: VecDeque<Bytes>,
}

/// The streams of a dialogue, and its timer.
struct Dialogue<'a> {
    shared: &'a Shared,
    sides: Sides<Partner<'a>>,
    /// The timer of the read that fails next, and its instant.
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// Completes with the outcome of `asked`, and meanwhile reads and writes for it: each side that is there may be read by
/// handles, and gets the bytes sent to it at once. Bytes that were read and not consumed are put back in front of the stream.
///
/// Fails when a side does.
pub(super) async fn beside<T>(
    asked: impl Future<Output = Result<T, Failed>>,
    shared: &Shared,
    streams: Sides<Option<&mut Stream>>,
) -> Result<T, Outcome> {
    let Sides { client, upstream } = streams;
    let partner = |stream| Partner { stream, outgoing: VecDeque::new() };
    let mut dialogue = Dialogue { shared, sides: Sides { client: partner(client), upstream: partner(upstream) }, timer: None };
    let there: Vec<Direction> =
        Side::ALL.into_iter().filter(|side| dialogue.sides[*side].stream.is_some()).map(Side::sends).collect();
    shared.open_dialogue(&there);
    let answer = {
        let mut asked = pin!(asked);
        poll_fn(|cx| match asked.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer.map_err(Outcome::from)),
            Poll::Pending => dialogue.poll(cx).map(Err),
        })
        .await
        // Dropped here: a hook that waits for a read is cancelled before the read is refused.
    };
    dialogue.close(&there);
    answer
}

impl Dialogue<'_> {
    /// Reads and writes as far as possible. Completes with the end of the connection if a side fails.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        for side in Side::ALL {
            if let Err(error) = self.write(side, cx).and_then(|()| self.read(side, cx)) {
                return Poll::Ready(failed(side, &error));
            }
        }
        self.set_timer(cx);
        Poll::Pending
    }

    /// Writes the bytes that were sent to a side.
    fn write(&mut self, side: Side, cx: &mut Context<'_>) -> io::Result<()> {
        let direction = side.sends().opposite();
        let Partner { stream: Some(stream), outgoing } = &mut self.sides[side] else { return Ok(()) };
        loop {
            let Some(first) = outgoing.front_mut() else {
                match self.shared.inbox(direction) {
                    Some(inbox) if inbox.has_some() => outgoing.extend(inbox.take()),
                    _ => return Ok(()),
                }
                continue;
            };
            match stream.poll_write(cx, first) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(written)) => {
                    let meter = &self.shared.meters[direction];
                    meter.added(written);
                    meter.delivered(written);
                    first.advance(written);
                    if first.is_empty() {
                        outgoing.pop_front();
                    }
                }
            }
        }
    }

    /// Reads a side for the read that is requested of it, or watches for its failure.
    fn read(&mut self, side: Side, cx: &mut Context<'_>) -> io::Result<()> {
        let direction = side.sends();
        let Some(stream) = &mut self.sides[side].stream else { return Ok(()) };
        while let Some(dialogues) = self.shared.dialogues()
            && let Some(most) = dialogues.serve(direction, Instant::now())
        {
            let mut buffer = [0; MOST_READ_AT_ONCE];
            let most = most.clamp(1, MOST_READ_AT_ONCE);
            match stream.poll_read(cx, &mut buffer[..most]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => dialogues.end(direction),
                Poll::Ready(Ok(bytes)) => dialogues.add(direction, &buffer[..bytes]),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if side == Side::Upstream {
            // Left to the relay: bytes may lie before the failure, which is reported once.
            return Ok(());
        }
        match stream.poll_failure(cx) {
            Poll::Ready(error) => Err(error),
            Poll::Pending => Ok(()),
        }
    }

    /// Wakes the task when the next read is late.
    fn set_timer(&mut self, cx: &mut Context<'_>) {
        let deadline = self.shared.dialogues().and_then(|dialogues| dialogues.deadline());
        if deadline != self.timer.as_ref().map(|(at, _)| *at) {
            self.timer = deadline.map(|at| (at, Box::pin(sleep_until(at.into()))));
        }
        if let Some((_, timer)) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.timer = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Refuses further reads. Everything that is not consumed belongs to the relay.
    fn close(&mut self, there: &[Direction]) {
        for direction in there {
            let left = self.shared.close_dialogue(*direction);
            let meter = &self.shared.meters[*direction];
            meter.read(left.consumed);
            meter.dropped(left.consumed);
            if let Some(stream) = &mut self.sides[direction.source()].stream {
                stream.unread(left.unread);
            }
        }
        for side in Side::ALL {
            let outgoing = std::mem::take(&mut self.sides[side].outgoing);
            if let Some(inbox) = self.shared.inbox(side.sends().opposite()) {
                inbox.put_back(outgoing);
            }
        }
    }
}

impl Drop for Dialogue<'_> {
    /// Refuses reads also where the connection ends while the hook is asked.
    fn drop(&mut self) {
        Direction::ALL.into_iter().for_each(|direction| drop(self.shared.close_dialogue(direction)));
    }
}

/// Returns the end of a connection one of whose sides has failed before there was a relay.
fn failed(side: Side, error: &io::Error) -> Outcome {
    if Failure::of(error).is_some() {
        return Outcome::from_side(side, error);
    }
    let reason = match side {
        Side::Client => CloseReason::ClientGone,
        Side::Upstream => CloseReason::UpstreamReset,
    };
    Outcome::explained(reason, reason_text(error))
}
