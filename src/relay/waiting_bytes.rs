//! The bytes that a direction has still to write: held within one bound of the process, on one timer.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use crate::{
    inspect::outbox::{Finish, Outbox, SLICES},
    settings::config::MOST_CHUNK,
    words::chunk::Chunk,
};

/// Bytes that all directions of the process may hold before reads become small: a thousand connections that stand still
/// both ways then hold 64 MiB at most.
const MUCH: usize = 24 * 1024 * 1024;

/// A small read.
const LITTLE: usize = 16 * 1024;

/// Bytes of memory that one direction may hold for later before it is no longer read. The delays of faults hold theirs
/// themselves.
const DELAYED: usize = 64 * 1024 * 1024;

/// Bytes that all directions of the process hold.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// Returns the maximum bytes of a read, because it may have to be held.
pub(super) fn most() -> usize {
    if HELD.load(Relaxed) > MUCH { LITTLE } else { MOST_CHUNK }
}

/// Returns the runtime's time, which tests may stop.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A share in the bytes that the process holds, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held(usize);

impl Held {
    pub(super) fn of(bytes: usize) -> Self {
        HELD.fetch_add(bytes, Relaxed);
        Self(bytes)
    }

    pub(super) fn set(&mut self, bytes: usize) {
        if bytes == self.0 {
            return;
        }
        HELD.fetch_add(bytes, Relaxed);
        HELD.fetch_sub(self.0, Relaxed);
        self.0 = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Relaxed);
    }
}

/// An outbox that could not be written at once. A direction has one only as long as something is left in it.
#[derive(Debug, Default)]
pub(super) struct Parked {
    outbox: Outbox,
    held: Held,
    /// Created when a piece is delayed. `None` while the outbox is on no thread.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The next thing that a parked outbox has for its direction.
pub(super) enum Next {
    /// Stages asked to be woken.
    Wake,
    /// Pieces may go out. The time is set, because it is needed, if the first piece has an instant.
    Pieces(Option<Instant>),
    /// The end of the direction is due.
    Finish,
    /// Pieces wait for their time; more may be read.
    Later,
    /// Pieces wait for their time, and their limit is reached.
    Full,
    Nothing,
}

impl Parked {
    pub(super) fn new(outbox: Outbox) -> Self {
        let held = Held::of(outbox.cost());
        Self { outbox, held, timer: None }
    }

    /// Returns the next action. Wakes the task when that changes with the time.
    pub(super) fn next(&mut self, cx: &mut Context<'_>) -> Next {
        let (has_piece, due, wake) = (!self.outbox.is_empty(), self.outbox.next_due(), self.outbox.wakes_at());
        let now = match due.into_iter().chain(wake).min() {
            Some(at) => self.poll_timer(at, cx),
            None => None,
        };
        let is_due = |at: Instant| now.is_some_and(|now| at <= now);
        if wake.is_some_and(is_due) {
            self.outbox.woken();
            return Next::Wake;
        }
        match (has_piece, due) {
            (true, None) => Next::Pieces(None),
            (true, Some(at)) if is_due(at) => Next::Pieces(now),
            (true, Some(_)) if self.outbox.cost() >= DELAYED => Next::Full,
            (true, Some(_)) => Next::Later,
            (false, _) if !self.outbox.has_finish() => Next::Nothing,
            (false, Some(at)) if !is_due(at) => Next::Later,
            (false, _) => Next::Finish,
        }
    }

    /// Returns the time once `at` has come.
    fn poll_timer(&mut self, at: Instant, cx: &mut Context<'_>) -> Option<Instant> {
        let now = now();
        if at <= now {
            return Some(now);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        if timer.deadline().into_std() != at {
            timer.as_mut().reset(at.into());
        }
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Some(self::now()),
            Poll::Pending => None,
        }
    }

    /// Borrows the pieces that go out next.
    pub(super) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES], now: Option<Instant>) -> usize {
        self.outbox.fill(slices, now)
    }

    /// Removes bytes that the destination has taken.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.outbox.taken(bytes);
        self.held.set(self.outbox.cost());
    }

    /// Returns memory that the next read may use.
    pub(super) fn take_spent(&mut self) -> Option<Chunk> {
        self.outbox.take_spent()
    }

    /// Appends the contents of another outbox.
    pub(super) fn append(&mut self, more: &mut Outbox) {
        self.outbox.append(more);
        self.held.set(self.outbox.cost());
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.outbox.push(bytes);
        self.held.set(self.outbox.cost());
    }

    /// Returns how the direction ends, once that is due.
    pub(super) fn take_finish(&mut self) -> Option<Finish> {
        self.outbox.take_finish().map(|(finish, _)| finish)
    }

    /// Returns true while the pieces keep the direction from being read.
    pub(super) fn is_blocking(&self) -> bool {
        !self.outbox.is_empty() && (self.outbox.next_due().is_none() || self.outbox.cost() >= DELAYED)
    }

    pub(super) fn is_done(&self) -> bool {
        self.outbox.is_done()
    }

    /// Returns true if there is nothing more to be written, so that the direction may end.
    pub(super) fn is_written(&self) -> bool {
        self.outbox.is_empty() && !self.outbox.has_finish()
    }

    /// Returns the number of bytes in it.
    pub(super) fn bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Prepares for another thread's clock.
    pub(super) fn leave_thread(&mut self) {
        self.timer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(pieces: impl IntoIterator<Item = Bytes>) -> Parked {
        let mut outbox = Outbox::default();
        outbox.add_all(pieces);
        Parked::new(outbox)
    }

    fn first(parked: &Parked) -> (usize, Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = parked.fill(&mut slices, None);
        (count, slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect())
    }

    #[test]
    fn much_that_is_held_makes_reads_small_until_it_is_gone() {
        // The only test that holds much: tests of this binary share the count.
        assert_eq!(most(), MOST_CHUNK);
        let mut held = parked([Bytes::from(vec![0; MUCH - MUCH / 8])]);
        assert_eq!(most(), MOST_CHUNK);
        held.push(Bytes::from(vec![1; MUCH / 4]));
        assert_eq!(most(), LITTLE);
        held.taken(MUCH / 2);
        assert_eq!(most(), MOST_CHUNK);
        assert_eq!(held.bytes(), MUCH - MUCH / 8 + MUCH / 4 - MUCH / 2);
    }

    #[test]
    fn pieces_go_out_in_order_however_few_bytes_are_taken_at_once() {
        let all: Vec<u8> = (0..200_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        for (piece, taken) in [(1, 700), (5000, 1), (5000, 4999), (5000, 12_345), (70_000, 200_000)] {
            let some = if taken == 1 { &all[..20_000] } else { &all[..] };
            let mut parked = parked(some.chunks(piece).map(Bytes::copy_from_slice));
            assert_eq!(parked.bytes(), some.len());
            let mut out: Vec<u8> = Vec::new();
            while !parked.is_done() {
                let (count, bytes) = first(&parked);
                assert!((1..=SLICES).contains(&count));
                let bytes = &bytes[..bytes.len().min(taken)];
                out.extend(bytes);
                parked.taken(bytes.len());
            }
            assert!(out == some);
        }
    }

    #[test]
    fn many_small_pieces_are_few_writes() {
        let mut many = parked((0..1_000_000).map(|_| Bytes::from_static(b"x")));
        let mut writes = 0;
        while !many.is_done() {
            let bytes = first(&many).1.len();
            many.taken(bytes);
            writes += 1;
        }
        assert!(writes <= 2, "{writes} writes");
        assert!(parked([Bytes::new(), Bytes::new()]).is_done());
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_and_the_end_go_out_when_they_are_due() {
        let (start, ms) = (now(), std::time::Duration::from_millis);
        let mut outbox = Outbox::at(start);
        outbox.push(Bytes::from_static(b"now"));
        outbox.push_at(Bytes::from_static(b"later"), start + ms(20));
        outbox.push(Bytes::from_static(b"behind"));
        outbox.end_at(start + ms(50));
        let mut parked = Parked::new(outbox);
        let mut seen = Vec::new();
        std::future::poll_fn(|cx| {
            loop {
                let elapsed = u64::try_from(now().duration_since(start).as_millis()).unwrap();
                match parked.next(cx) {
                    Next::Pieces(at) => {
                        let mut slices = [IoSlice::new(&[]); SLICES];
                        let count = parked.fill(&mut slices, at);
                        let bytes = slices[..count].iter().map(|slice| slice.len()).sum();
                        seen.push((bytes, elapsed));
                        parked.taken(bytes);
                    }
                    Next::Finish => {
                        assert!(matches!(parked.take_finish(), Some(Finish::Fin)));
                        seen.push((0, elapsed));
                        return Poll::Ready(());
                    }
                    Next::Later => return Poll::Pending,
                    Next::Wake | Next::Full | Next::Nothing => panic!("nothing of that kind"),
                }
            }
        })
        .await;
        assert_eq!(seen.iter().map(|(bytes, _)| *bytes).collect::<Vec<_>>(), [3, 11, 0]);
        // The runtime's timer may be a millisecond late.
        for ((_, at), due) in seen.iter().zip([0, 20, 50]) {
            assert!((due..=due + 1).contains(at), "{seen:?}");
        }
    }
}
