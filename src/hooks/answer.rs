//! Answers of hooks: at once, or later and from any thread.

use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
    time::Instant,
};

use tokio::time::sleep_until;

use crate::{
    live::handle::Connection,
    words::{
        lock::EvenPoisoned,
        outcome::{CloseReason, Failed},
    },
};

/// The answer of a hook.
#[derive(Debug)]
pub enum Answer<T> {
    /// The answer.
    Now(T),
    /// The answer comes with the ticket's [`Reply`]. Until then no hook is called for that direction, and the direction is
    /// not read, so its source meets backpressure. The other direction goes on.
    Later(Ticket<T>),
}

impl<T> From<T> for Answer<T> {
    fn from(answer: T) -> Self {
        Self::Now(answer)
    }
}

/// The connection's half of a later answer. Its drop, with the connection's end, cancels the reply.
pub struct Ticket<T> {
    slot: Arc<Slot<T>>,
    /// Boxed: most answers have no limit.
    limit: Option<Box<Limit<T>>>,
}

/// The time limit of an answer.
struct Limit<T> {
    due: Instant,
    late: Box<dyn FnOnce() -> Result<T, Failed> + Send>,
}

/// The hook's half of a later answer: completes it once, from any thread. Its drop without an answer ends the connection as a
/// failed hook does.
pub struct Reply<T> {
    slot: Arc<Slot<T>>,
    connection: Connection,
}

struct Slot<T>(Mutex<State<T>>);

enum State<T> {
    /// The answer is pending; the function to call if it is cancelled.
    Asked(Option<Box<dyn FnOnce() + Send>>),
    Answered(Result<T, Failed>),
    /// Nobody waits for the answer: it was taken, or the connection has ended.
    Over,
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().even_poisoned()
    }
}

impl<T> Ticket<T> {
    /// Returns both halves of a later answer about `connection`, whose task it wakes.
    pub fn new(connection: &Connection) -> (Self, Reply<T>) {
        let slot = Arc::new(Slot(Mutex::new(State::Asked(None))));
        (Self { slot: Arc::clone(&slot), limit: None }, Reply { slot, connection: connection.clone() })
    }

    /// Sets an instant at which the reply is cancelled, if it is not completed by then. `late` returns the answer in its place.
    #[must_use]
    pub fn limited(mut self, due: Instant, late: impl FnOnce() -> Result<T, Failed> + Send + 'static) -> Self {
        self.limit = Some(Box::new(Limit { due, late: Box::new(late) }));
        self
    }

    /// Returns the instant at which the answer is late.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.limit.as_ref().map(|limit| limit.due)
    }

    /// Takes the answer, if there is one, or if it is late. The answer wakes the connection's task; the caller wakes it when the
    /// answer is due.
    pub(crate) fn poll_take(&mut self) -> Poll<Result<T, Failed>> {
        let mut state = self.slot.state();
        match mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => return Poll::Ready(answer),
            asked => *state = asked,
        }
        drop(state);
        match self.limit.take_if(|limit| limit.due <= tokio::time::Instant::now().into_std()) {
            Some(limit) => {
                self.cancel();
                Poll::Ready((limit.late)())
            }
            None => Poll::Pending,
        }
    }

    /// Waits for the answer, in a task that is registered with the connection's control.
    pub(crate) async fn answer(mut self) -> Result<T, Failed> {
        match self.due() {
            None => poll_fn(|_| self.poll_take()).await,
            Some(due) => {
                let mut timer = pin!(sleep_until(due.into()));
                poll_fn(|cx| {
                    if self.due().is_some() {
                        let _ = timer.as_mut().poll(cx);
                    }
                    self.poll_take()
                })
                .await
            }
        }
    }

    /// Cancels the reply, unless it was completed.
    fn cancel(&self) {
        let before = mem::replace(&mut *self.slot.state(), State::Over);
        // Called after the lock is released: the function may use the reply.
        if let State::Asked(Some(on_cancel)) = before {
            on_cancel();
        }
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> Reply<T> {
    /// Completes the answer. Returns false if the connection has ended meanwhile, so that the answer has no effect.
    pub fn complete(self, answer: Result<T, Failed>) -> bool {
        let is_put = self.put(answer);
        if is_put {
            self.connection.wake();
        }
        is_put
    }

    /// Completes the answer, which the connection takes when it is woken. Returns what wakes it, or none if it has ended
    /// meanwhile. For answers of which many are completed at once.
    pub fn complete_unwoken(self, answer: Result<T, Failed>) -> Option<Answered> {
        self.put(answer).then(|| Answered(self.connection.clone()))
    }

    /// Returns true once the connection has ended, or the direction takes no answer any more.
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.slot.state(), State::Over)
    }

    /// Calls `cancelled` when the connection ends before the answer, on the thread that ends it; at once if it has ended. A
    /// later call replaces the function.
    pub fn on_cancel(&self, cancelled: impl FnOnce() + Send + 'static) {
        let mut state = self.slot.state();
        match &mut *state {
            State::Asked(on_cancel) => {
                let before = on_cancel.replace(Box::new(cancelled));
                drop(state);
                // Not under the lock: its end may run whatever its owner has put there.
                drop(before);
            }
            State::Answered(_) => {}
            State::Over => {
                drop(state);
                cancelled();
            }
        }
    }

    fn put(&self, answer: Result<T, Failed>) -> bool {
        let mut state = self.slot.state();
        if !matches!(*state, State::Asked(_)) {
            return false;
        }
        let before = mem::replace(&mut *state, State::Answered(answer));
        drop(state);
        drop(before);
        true
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if matches!(*self.slot.state(), State::Asked(_)) {
            let error = "a hook that was to answer later has dropped its reply without an answer; complete it";
            if self.put(Err(Failed { reason: CloseReason::CallbackError, error: error.to_owned() })) {
                self.connection.wake();
            }
        }
    }
}

/// A connection that has an answer and was not woken for it. Its drop wakes it.
#[derive(Debug)]
pub struct Answered(Connection);

impl Answered {
    /// Wakes all connections from the thread of the runtime `home`, on which their tasks run: so its thread is woken once.
    pub fn wake_all(home: &tokio::runtime::Handle, answered: Vec<Self>) {
        home.spawn(async move { drop(answered) });
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&Arc::as_ptr(&self.slot)).finish()
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("connection", &self.connection.id()).finish_non_exhaustive()
    }
}
