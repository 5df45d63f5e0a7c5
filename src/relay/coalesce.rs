//! Coalescing: a direction that has streamed fast for a while is woken for many bytes at once, not for each few that come.
//!
//! A relay that reads at every wake-up reads little, acknowledges it, and pays for that each time: on loopback a third of the
//! CPU per GiB. The kernel can wait for a low-water mark (SO_RCVLOWAT, socket(7)); below it, it wakes no task unless the
//! source has ended, has failed, or may send no more. Fewer bytes wait no longer than [`LONGEST`].
//!
//! Such a wait may come at the end of a burst of the source. So a direction has to have streamed for [`STREAMED`] before each
//! wait: it loses at most 4 % of its time. A direction whose source may be waiting for an answer, because bytes went the
//! other way, loses nothing.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{streak::Streak, turn::BUFFER};
use crate::{
    io::stream::{Socket, Stream},
    settings::config::Coalesce,
};

/// The low-water mark: as many bytes as one read takes.
const LOW_WATER: usize = BUFFER;

/// The longest that a byte waits for others. The runtime's timers may take a millisecond more.
const LONGEST: Duration = Duration::from_millis(4);

/// How long a direction must have streamed before it may wait.
const STREAMED: Duration = Duration::from_millis(128);

/// A pause longer than this ends streaming. Shorter pauses may come from the machine, which has other tasks to run.
const PAUSE: Duration = Duration::from_millis(16);

/// The maximum of that time after useless waits, each of which doubles it.
const STREAMED_MOST: Duration = Duration::from_secs(64);

/// The minimum rate of fast streaming: the mark is reached well within [`LONGEST`].
const BYTES_PER_MILLISECOND: u128 = LOW_WATER as u128 / 3;

/// The coalescing state of a direction.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    /// Until it is long enough, no other state is kept.
    streak: Streak,
    watched: Option<Box<Watched>>,
}

#[derive(Debug)]
struct Watched {
    pace: Pace,
    /// The wait, while the mark is set.
    wait: Option<Wait>,
}

/// The begin and the rate of a direction's streaming.
#[derive(Debug)]
struct Pace {
    since: Instant,
    last: Instant,
    bytes: u128,
    /// How long the direction must stream before it waits.
    required: Duration,
}

/// The time limit of a wait for the mark.
#[derive(Debug)]
struct Wait {
    until: Instant,
    /// True if enough bytes came in time: the mark was reached, or the source may send no more.
    useful: bool,
    timer: Pin<Box<Sleep>>,
}

impl Coalescer {
    /// Records a turn in which `received` bytes came from the source. With `drained`, the direction waits for more of
    /// them. Returns true if a wait has ended, so that there may be bytes to read.
    pub(super) fn turn_over(
        &mut self,
        policy: Coalesce,
        received: usize,
        drained: bool,
        source: &mut Stream,
        cx: &mut Context<'_>,
    ) -> bool {
        if policy == Coalesce::Never || self.watched.is_none() && !self.streams(policy, received) {
            return false;
        }
        self.watched.as_mut().is_some_and(|watched| watched.turn_over(policy, received, drained, source, cx))
    }

    /// Records that the opposite direction has moved bytes. Returns true if that has ended a wait.
    pub(super) fn opposite_moved(&mut self, source: &mut Stream) -> bool {
        let Some(watched) = &mut self.watched else { return false };
        watched.pace.begin_anew(Instant::now());
        watched.wait_no_more(source)
    }

    /// Returns true if the direction's streaming is to be measured from now on.
    fn streams(&mut self, policy: Coalesce, received: usize) -> bool {
        self.streak.turn_over(received);
        let streams = self.streak.streams() || policy == Coalesce::Always;
        if streams {
            self.watched = Some(Box::new(Watched { pace: Pace::new(Instant::now()), wait: None }));
        }
        streams
    }
}

impl Watched {
    fn turn_over(&mut self, policy: Coalesce, received: usize, drained: bool, source: &mut Stream, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        if received > 0 {
            self.pace.received(received, now);
            if let Some(wait) = &mut self.wait {
                wait.useful = true;
                wait.until = now + LONGEST;
            }
        }
        if !drained {
            return false;
        }
        if self.wait.is_none()
            && self.pace.may_wait(policy, now)
            && source.raw().is_some_and(|socket| socket.set_low_water(LOW_WATER))
        {
            self.wait = Some(Wait::new(now + LONGEST));
        }
        let Some(wait) = &mut self.wait else { return false };
        if wait.poll(now, cx).is_pending() {
            return false;
        }
        self.pace.waited(wait.useful, now);
        self.wait_no_more(source)
    }

    fn wait_no_more(&mut self, source: &mut Stream) -> bool {
        source.raw().map(Socket::clear_low_water);
        self.wait.take().is_some()
    }
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { since: now, last: now, bytes: 0, required: STREAMED }
    }

    fn begin_anew(&mut self, now: Instant) {
        (self.since, self.last, self.bytes) = (now, now, 0);
    }

    fn received(&mut self, bytes: usize, now: Instant) {
        if now.duration_since(self.last) > PAUSE {
            self.begin_anew(now);
        }
        self.last = now;
        self.bytes += bytes as u128;
    }

    /// Returns true if the direction has streamed for long enough, and fast enough, to wait.
    fn may_wait(&mut self, policy: Coalesce, now: Instant) -> bool {
        if policy == Coalesce::Always {
            // One wait for the bytes that have come, then none before more bytes come.
            return self.bytes > 0;
        }
        let time = now.duration_since(self.since);
        if time < self.required {
            return false;
        }
        let fast = self.bytes >= time.as_millis() * BYTES_PER_MILLISECOND;
        if !fast {
            self.begin_anew(now);
        }
        fast
    }

    /// Records a wait that has reached its limit.
    fn waited(&mut self, useful: bool, now: Instant) {
        self.required = if useful { STREAMED } else { STREAMED_MOST.min(self.required * 2) };
        self.begin_anew(now);
    }
}

impl Wait {
    fn new(until: Instant) -> Self {
        Self { until, useful: false, timer: Box::pin(sleep_until(until)) }
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        // The timer is not moved with every byte: when it fires, it is set again.
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.until <= now {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.until);
        }
        Poll::Pending
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{future::poll_fn, io::Write, net};

    use tokio::{net::TcpListener, task::yield_now, time::advance};

    use super::*;
    use crate::{io::stream::Unregistered, relay::streak};

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A source, the peer that sends to it, and the coalescing of its direction.
    struct Rig {
        coalescer: Coalescer,
        policy: Coalesce,
        source: Stream,
        sender: net::TcpStream,
    }

    impl Rig {
        async fn new(policy: Coalesce) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let sender = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let source = Unregistered::of_tcp(accepted.into_std().unwrap().into()).attach().unwrap();
            Self { coalescer: Coalescer::default(), policy, source, sender }
        }

        /// Plays a turn in which `received` bytes came, and no more.
        async fn turn(&mut self, received: usize) {
            let Self { coalescer, policy, source, .. } = self;
            poll_fn(|cx| {
                let _ = coalescer.turn_over(*policy, received, true, source, cx);
                Poll::Ready(())
            })
            .await;
        }

        /// Plays a turn with `received` bytes each millisecond. Returns after how many milliseconds the direction began to wait.
        async fn waits_after(&mut self, received: usize, milliseconds: u32) -> Option<u32> {
            for millisecond in 0..milliseconds {
                self.turn(received).await;
                if self.waits() {
                    return Some(millisecond);
                }
                advance(MILLISECOND).await;
            }
            None
        }

        fn waits(&self) -> bool {
            self.coalescer.watched.as_ref().is_some_and(|watched| watched.wait.is_some())
        }

        /// Returns the number of bytes that can be read, once the runtime has polled the sockets.
        async fn read(&mut self) -> Option<usize> {
            for _ in 0..200 {
                yield_now().await;
            }
            let mut buffer = vec![0; 2 * LOW_WATER];
            let source = &mut self.source;
            match poll_fn(|cx| Poll::Ready(source.poll_read(cx, &mut buffer))).await {
                Poll::Ready(bytes) => Some(bytes.unwrap()),
                Poll::Pending => None,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_direction_waits_once_it_has_streamed_fast_for_a_while() {
        let mut rig = Rig::new(Coalesce::Streaming).await;
        assert_eq!(rig.waits_after(LOW_WATER, 1000).await, Some(128));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_slow_or_pauses_or_sends_little_does_not() {
        let mut rig = Rig::new(Coalesce::Streaming).await;
        assert_eq!(rig.waits_after(64 * 1024, 1000).await, None);
        let mut rig = Rig::new(Coalesce::Streaming).await;
        for _ in 0..100 {
            assert_eq!(rig.waits_after(LOW_WATER, 100).await, None);
            advance(17 * MILLISECOND).await;
        }
        let mut rig = Rig::new(Coalesce::Streaming).await;
        for _ in 0..100_000 {
            rig.turn(streak::LEAST - 1).await;
        }
        assert!(rig.coalescer.watched.is_none(), "nothing is kept of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dialogue_does_not() {
        let mut rig = Rig::new(Coalesce::Streaming).await;
        for _ in 0..50 {
            assert_eq!(rig.waits_after(LOW_WATER, 100).await, None);
            assert!(!rig.coalescer.opposite_moved(&mut rig.source));
        }
        assert_eq!(rig.waits_after(LOW_WATER, 200).await, Some(128));
        rig.sender.write_all(&[0; 1000]).unwrap();
        assert!(rig.coalescer.opposite_moved(&mut rig.source));
        assert!(!rig.waits(), "an answer ends a wait");
        assert_eq!(rig.read().await, Some(1000), "and what has come is there");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_of_no_use_become_rare_and_a_useful_one_is_as_before() {
        let mut rig = Rig::new(Coalesce::Streaming).await;
        for required in [128, 256, 512, 1024] {
            assert_eq!(rig.waits_after(LOW_WATER, 5000).await, Some(required));
            advance(5 * MILLISECOND).await;
            rig.turn(0).await;
            assert!(!rig.waits());
        }
        assert_eq!(rig.waits_after(LOW_WATER, 5000).await, Some(2048));
        rig.turn(LOW_WATER).await;
        advance(5 * MILLISECOND).await;
        rig.turn(0).await;
        assert_eq!(rig.waits_after(LOW_WATER, 5000).await, Some(128));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_for_the_mark_and_bounded() {
        let mut rig = Rig::new(Coalesce::Always).await;
        assert_eq!(rig.read().await, None);
        rig.turn(1).await;
        rig.sender.write_all(&[0; 1000]).unwrap();
        assert_eq!(rig.read().await, None, "the mark is not reached");
        rig.turn(0).await;
        assert_eq!(rig.read().await, None);
        advance(5 * MILLISECOND).await;
        rig.turn(0).await;
        assert_eq!(rig.read().await, Some(1000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_mark_and_the_end_are_told_at_once() {
        let mut rig = Rig::new(Coalesce::Always).await;
        assert_eq!(rig.read().await, None);
        rig.turn(1).await;
        rig.sender.write_all(&vec![0; LOW_WATER]).unwrap();
        assert_eq!(rig.read().await, Some(LOW_WATER));
        rig.turn(LOW_WATER).await;
        rig.sender.write_all(&[0; 10]).unwrap();
        rig.sender.shutdown(net::Shutdown::Write).unwrap();
        assert_eq!(rig.read().await, Some(10));
        assert_eq!(rig.read().await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn never_is_never() {
        let mut rig = Rig::new(Coalesce::Never).await;
        assert_eq!(rig.waits_after(LOW_WATER, 10_000).await, None);
    }
}
