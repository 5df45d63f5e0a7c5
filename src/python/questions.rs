//! Questions to asynchronous callbacks, on their way from the threads of connections to the event loop.
//!
//! A thread that puts a question never attaches. The number of questions is bounded by the connections: one for each direction,
//! and one for the begin or the end of each. So is that of reads: one for each side.

use std::{
    io, mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU16, Ordering},
    },
};

use bytes::Bytes;
use pyo3::{prelude::*, types::PyTuple};
use tokio::runtime::Handle;

#[cfg(unix)]
use super::loop_wake::Descriptor;
use super::{
    calls::Slot,
    in_place::InPlace,
    loop_wake::{DueWake, Wake},
};
use crate::{
    hooks::{Closing, Decision, EndVerdict, Failed, HelloDecision, Reply, Verdict},
    live::handle::Connection,
    wire::hello::ClientHello,
    words::{direction::Direction, lock::EvenPoisoned, outcome::CloseReason},
};

/// A question, with the means to answer it. Its drop without an answer ends the connection: the event loop is gone.
pub(super) struct Question {
    pub slot: Slot,
    pub connection: Connection,
    /// The key under which the connection cancels it.
    pub key: u64,
    /// The runtime of the connection's thread.
    pub home: Option<Handle>,
    /// `None` once it is answered.
    asked: Option<Asked>,
    /// The awaitable that a plain function has returned on its lane, and the arguments of that call.
    pub returned: Option<Returned>,
}

/// An awaitable, and the arguments of the call that returned it.
pub(super) type Returned = (Py<PyAny>, Py<PyTuple>);

/// The subject of a question, and its reply.
pub(super) enum Asked {
    Accept(Reply<Decision>),
    Hello(Arc<ClientHello>, Reply<HelloDecision>),
    Preread(Bytes, Reply<Option<Decision>>),
    Connect(Reply<()>),
    Chunk(Direction, Bytes, Reply<Verdict>),
    End(Direction, Reply<EndVerdict>),
    Close(Closing),
}

impl Question {
    pub(super) fn new(slot: Slot, connection: &Connection, asked: Asked) -> Self {
        let key = key(connection, &asked);
        Self { slot, connection: connection.clone(), key, home: Handle::try_current().ok(), asked: Some(asked), returned: None }
    }

    /// Takes the subject and its reply, once.
    pub(super) fn take(&mut self) -> Option<Asked> {
        self.asked.take()
    }

    /// Puts back what was taken, to be failed.
    pub(super) fn put_back(&mut self, asked: Asked) {
        self.asked = Some(asked);
    }

    pub(super) fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// Calls `cancelled` once nobody waits for the answer any more.
    pub(super) fn on_cancel(&self, cancelled: impl FnOnce() + Send + 'static) {
        match &self.asked {
            Some(Asked::Accept(reply)) => reply.on_cancel(cancelled),
            Some(Asked::Hello(_, reply)) => reply.on_cancel(cancelled),
            Some(Asked::Preread(_, reply)) => reply.on_cancel(cancelled),
            Some(Asked::Connect(reply)) => reply.on_cancel(cancelled),
            Some(Asked::Chunk(_, _, reply)) => reply.on_cancel(cancelled),
            Some(Asked::End(_, reply)) => reply.on_cancel(cancelled),
            Some(Asked::Close(_)) | None => {}
        }
    }

    /// Returns true if nobody waits for the answer any more.
    pub(super) fn is_cancelled(&self) -> bool {
        match &self.asked {
            Some(Asked::Accept(reply)) => reply.is_cancelled(),
            Some(Asked::Hello(_, reply)) => reply.is_cancelled(),
            Some(Asked::Preread(_, reply)) => reply.is_cancelled(),
            Some(Asked::Connect(reply)) => reply.is_cancelled(),
            Some(Asked::Chunk(_, _, reply)) => reply.is_cancelled(),
            Some(Asked::End(_, reply)) => reply.is_cancelled(),
            Some(Asked::Close(_)) => false,
            None => true,
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            asked.fail(Some(no_loop()), &self.connection);
        }
    }
}

impl Asked {
    /// Ends the connection with `failed`, or goes on as without a callback.
    pub(super) fn fail(self, failed: Option<Failed>, connection: &Connection) {
        fn fail<T: InPlace>(reply: Reply<T>, failed: Option<Failed>) {
            reply.complete(failed.map_or(Ok(T::pass()), Err));
        }
        match self {
            Self::Accept(reply) => fail(reply, failed),
            Self::Hello(_, reply) => fail(reply, failed),
            Self::Preread(_, reply) => fail(reply, failed),
            Self::Connect(reply) => fail(reply, failed),
            Self::Chunk(_, _, reply) => fail(reply, failed),
            Self::End(_, reply) => fail(reply, failed),
            Self::Close(closing) => {
                connection.set_close_notified();
                drop(closing);
            }
        }
    }
}

/// The effect of a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnTimeout {
    /// The connection ends.
    Close,
    /// The connection goes on as if the callback had returned None.
    Pass,
    /// The chunk goes no further, and a client is refused. An end and a connect go on as with `Pass`.
    Drop,
}

impl OnTimeout {
    pub(super) fn of(word: &str) -> Self {
        match word {
            "pass" => Self::Pass,
            "drop" => Self::Drop,
            _ => Self::Close,
        }
    }
}

/// The number of keys of a connection: one for each question that may be pending at the same time.
const KEYS: u64 = 8;

/// Returns the key of the questions that cannot be pending at the same time: those of one direction, or about a begin or an end.
fn key(connection: &Connection, asked: &Asked) -> u64 {
    let part = match asked {
        Asked::Chunk(Direction::ToUpstream, ..) | Asked::End(Direction::ToUpstream, _) => 0,
        Asked::Chunk(Direction::ToClient, ..) | Asked::End(Direction::ToClient, _) => 1,
        Asked::Accept(_) | Asked::Hello(..) | Asked::Preread(..) | Asked::Connect(_) => 2,
        Asked::Close(_) => 3,
    };
    connection.id() * KEYS + part
}

/// An item of the queue.
pub(super) enum Item {
    Ask(Box<Question>),
    /// The connection of the question with this key has ended, or takes no answer any more.
    Cancel(u64),
    /// The read with this key has a result.
    Read(u64),
    /// The connection has ended, and nothing more is asked about it.
    Forget(Connection),
    /// The server is closed.
    Over,
}

/// The questions of one server that its event loop has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Notified at the first item where a thread wakes the loop.
    arrived: Condvar,
    /// The slots whose callbacks are coroutine functions, as bits.
    asynchronous: AtomicU16,
}

#[derive(Default)]
struct State {
    phase: Phase,
    items: Vec<Item>,
    /// True while the loop is not woken: it has taken questions just now, and looks again.
    looks_again: bool,
    /// True if a thread wakes the loop, which cannot watch a descriptor.
    is_waited_for: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("phase", &self.phase).field("items", &self.items.len()).finish()
    }
}

#[derive(Debug, Default, Clone)]
enum Phase {
    /// No event loop has been there yet.
    #[default]
    New,
    Open(Arc<Wake>),
    /// The event loop is gone.
    Closed,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }

    /// Records which slots have coroutine functions.
    pub(super) fn set_asynchronous(&self, slots: impl Iterator<Item = Slot>) {
        self.asynchronous.store(slots.fold(0, |bits, slot| bits | 1 << slot as u16), Ordering::Release);
    }

    pub(super) fn is_asynchronous(&self, slot: Slot) -> bool {
        self.asynchronous.load(Ordering::Acquire) & 1 << slot as u16 != 0
    }

    /// Takes questions from here on. Returns what wakes the loop.
    pub(super) fn open(&self) -> io::Result<Arc<Wake>> {
        let mut state = self.state();
        if let Phase::Open(wake) = &state.phase {
            return Ok(Arc::clone(wake));
        }
        #[cfg(unix)]
        let wake = Arc::new(Wake::Descriptor(Descriptor::new()?));
        #[cfg(not(unix))]
        let wake = Arc::new(Wake::Thread);
        state.phase = Phase::Open(Arc::clone(&wake));
        Ok(wake)
    }

    /// Refuses further questions. Returns those that wait: their drop ends their connections.
    pub(super) fn close(&self) -> Vec<Item> {
        let items = {
            let mut state = self.state();
            state.phase = Phase::Closed;
            mem::take(&mut state.items)
        };
        self.arrived.notify_all();
        items
    }

    /// Puts an item, and wakes the loop if it is the first. Returns it if there is no loop.
    ///
    /// A thread of connections wakes the loop behind the tasks that are ready there: they may ask as well, and a loop that is
    /// woken by the first question would take that one alone.
    pub(super) fn put(&self, item: Item) -> Result<(), Item> {
        let mut state = self.state();
        let Phase::Open(wake) = &state.phase else { return Err(item) };
        let wake = (state.items.is_empty() && !state.looks_again).then(|| Arc::clone(wake));
        let home = match &item {
            Item::Ask(question) if wake.is_some() => question.home.clone(),
            _ => None,
        };
        state.items.push(item);
        let is_waited_for = state.is_waited_for;
        drop(state);
        match wake {
            None => {}
            Some(_) if is_waited_for => self.arrived.notify_all(),
            Some(wake) => DueWake::new(wake).hand_to(home),
        }
        Ok(())
    }

    /// Puts items back before those that have come since, and wakes the loop.
    pub(super) fn put_back(&self, mut items: Vec<Item>) {
        let mut state = self.state();
        items.append(&mut state.items);
        let Phase::Open(wake) = &state.phase else {
            drop(state);
            return;
        };
        let wake = Arc::clone(wake);
        state.items = items;
        drop(state);
        self.arrived.notify_all();
        drop(DueWake::new(wake));
    }

    /// Returns true if no event loop has been there yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.state().phase, Phase::New)
    }

    /// Wakes the loop for nothing until it takes the next items, which it does soon.
    pub(super) fn look_again(&self) {
        self.state().looks_again = true;
    }

    /// Takes the items, in their order. Keeps `spare`, which is empty, for the next ones.
    pub(super) fn take(&self, spare: Vec<Item>) -> Vec<Item> {
        let mut state = self.state();
        state.looks_again = false;
        mem::replace(&mut state.items, spare)
    }

    /// Blocks until there are items, or until the queue is closed. Returns false once it is.
    pub(super) fn wait(&self) -> bool {
        let idle = |state: &mut State| state.items.is_empty() && matches!(state.phase, Phase::Open(_));
        let mut state = self.state();
        state.is_waited_for = true;
        let state = self.arrived.wait_while(state, idle).even_poisoned();
        matches!(state.phase, Phase::Open(_))
    }
}

/// Returns the end of a connection whose callback cannot be called.
pub(super) fn no_loop() -> Failed {
    let error = "the event loop of the asynchronous callbacks is closed; keep it running until the server is stopped";
    Failed { reason: CloseReason::Stopped, error: error.to_owned() }
}
