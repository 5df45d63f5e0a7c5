//! The thread of a tap: hands events to a sink, and outlives whatever becomes of that.

use std::{
    io, process,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    taps::{
        event::Event,
        queue::{Missed, Queue},
        witness::Witness,
    },
    words::{error::reason_text, lock::EvenPoisoned, log_target},
};

/// Takes events one by one: renders them, and writes them. May block as long as it likes.
pub trait Sink: Send {
    /// Takes an event.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Writes what is buffered. Called when no more events wait for now.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Writes what is buffered, and what stands behind everything. Called at the end, if nothing has failed.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Returns the instant at which [`Sink::flush`] is to be called though nothing has come, such as for a rotation.
    fn wake_at(&self) -> Option<Instant> {
        None
    }
}

/// A tap: its queue, and the thread that empties it.
#[derive(Debug)]
pub struct Tap {
    queue: Arc<Queue>,
    done: Arc<Done>,
    /// The process that has the thread.
    process: u32,
}

/// Set once the thread has ended.
#[derive(Debug, Default)]
struct Done {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Tap {
    /// Starts the thread of a tap. `name` stands in log lines: what looks, and where it writes.
    pub fn start(name: impl Into<String>, queue: Queue, sink: impl Sink + 'static) -> io::Result<Self> {
        let (queue, done, name) = (Arc::new(queue), Arc::<Done>::default(), name.into());
        let of_thread = (Arc::clone(&queue), Arc::clone(&done));
        thread::Builder::new().name("interpose-tap".to_owned()).spawn(move || {
            let (queue, done) = of_thread;
            let _over = Over(&queue, &done);
            run(&name, &queue, sink);
        })?;
        Ok(Self { queue, done, process: process::id() })
    }

    /// Returns the queue, for connections.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Returns the figures of all that was left out so far.
    pub fn missed(&self) -> Missed {
        self.queue.missed()
    }

    /// Waits for the sink to write everything that was put before: at most `limit`. Returns true if it has, or never will.
    pub fn settle(&self, limit: Duration) -> bool {
        self.queue.settle(limit)
    }

    /// Takes no more events, and waits for the sink to write those that wait, and to finish: at most `limit`. Returns true if it
    /// has.
    pub fn finish(&self, limit: Duration) -> bool {
        self.queue.close();
        let is_over = self.done.is_over.lock().even_poisoned();
        let (is_over, _) = self.done.changed.wait_timeout_while(is_over, limit, |is_over| !*is_over).even_poisoned();
        *is_over
    }
}

impl Witness for Tap {
    fn put(&self, event: Event) {
        self.queue.put(event);
    }

    fn copy(&self, bytes: &[u8]) -> Bytes {
        self.queue.copy(bytes)
    }

    fn is_given_up(&self) -> bool {
        self.queue.is_given_up()
    }

    fn miss(&self, bytes: usize) {
        self.queue.miss(bytes);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // The thread ends by itself; a sink that blocks must not block its owner. A forked child has no such thread, and
        // somebody may have held the lock when it was forked.
        if self.process == process::id() {
            self.queue.close();
        }
    }
}

/// Ends the looking when the thread ends, also by a panic of the sink.
struct Over<'a>(&'a Queue, &'a Done);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.give_up();
        *self.1.is_over.lock().even_poisoned() = true;
        self.1.changed.notify_all();
    }
}

fn run(name: &str, queue: &Queue, mut sink: impl Sink) {
    if let Err(error) = pump(queue, &mut sink) {
        let why = match error.kind() {
            io::ErrorKind::BrokenPipe => "its reader has gone".to_owned(),
            _ => reason_text(&error),
        };
        log::warn!(target: log_target::TAP, "{name}: {why}; nothing more is written there, and the connections go on");
        return;
    }
    let Missed { events, bytes } = queue.missed();
    if events > 0 {
        log::warn!(target: log_target::TAP, "{name}: {events} events with {bytes} bytes were left out, because they came faster than they could be written");
    }
}

fn pump(queue: &Queue, sink: &mut impl Sink) -> io::Result<()> {
    while let Some(events) = queue.take(sink.wake_at()) {
        let mut events = events.into_iter();
        while let Some(event) = events.next() {
            if let Err(error) = sink.event(&event) {
                queue.lose(&event);
                events.for_each(|event| queue.lose(&event));
                return Err(error);
            }
            queue.done(&event);
        }
        sink.flush()?;
    }
    sink.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::taps::event::{ConnectionKey, EventKind};

    const LONG: Duration = Duration::from_secs(20);

    /// Sends the number of each event's connection; fails at a number.
    struct Numbers(SyncSender<u64>, u64);

    impl Sink for Numbers {
        fn event(&mut self, event: &Event) -> io::Result<()> {
            if event.connection.number == self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.send(event.connection.number).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }

    fn event(connection: u64) -> Event {
        Event::now(ConnectionKey::of(connection), EventKind::Missed { events: 0, bytes: 0 })
    }

    fn tap(fails_at: u64) -> (Tap, Receiver<u64>) {
        let (sender, receiver) = sync_channel(1000);
        (Tap::start("numbers", Queue::default(), Numbers(sender, fails_at)).expect("a thread"), receiver)
    }

    #[test]
    fn everything_that_waits_is_written_before_the_end() {
        let (tap, receiver) = tap(0);
        (1..=1000).for_each(|number| tap.queue().put(event(number)));
        assert!(tap.finish(LONG));
        assert_eq!(receiver.iter().collect::<Vec<_>>(), (1..=1000).collect::<Vec<_>>());
        assert_eq!(tap.missed(), Missed::default());
    }

    #[test]
    fn what_was_put_is_written_once_it_has_settled() {
        let (tap, receiver) = tap(0);
        for round in 0..100 {
            tap.queue().put(event(round + 1));
            assert!(tap.settle(LONG));
            assert_eq!(receiver.try_recv(), Ok(round + 1));
        }
    }

    #[test]
    fn a_sink_that_fails_ends_the_looking_and_what_comes_is_counted() {
        let (tap, receiver) = tap(2);
        (1..=3).for_each(|number| tap.queue().put(event(number)));
        assert_eq!(receiver.recv(), Ok(1));
        assert!(receiver.recv().is_err(), "the sink is gone with its thread");
        assert!(tap.finish(LONG));
        tap.queue().put(event(4));
        assert!(tap.queue().is_given_up() && tap.missed().events >= 1);
    }

    #[test]
    fn a_sink_that_blocks_does_not_block_its_owner() {
        struct Blocks(Receiver<()>);
        impl Sink for Blocks {
            fn event(&mut self, _: &Event) -> io::Result<()> {
                let _ = self.0.recv();
                Ok(())
            }
        }
        let (lets_go, receiver) = sync_channel(1);
        let tap = Tap::start("blocks", Queue::default(), Blocks(receiver)).expect("a thread");
        tap.queue().put(event(1));
        assert!(!tap.finish(Duration::from_millis(1)));
        drop(lets_go);
        assert!(tap.finish(LONG));
    }
}
