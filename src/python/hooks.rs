//! Python's callbacks as the core's hooks: each hook calls the callback in its slot.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pyo3::{prelude::*, types::PyTuple};

use super::{
    answers,
    arguments::Call,
    attach, callback_failure,
    callbacks::Callbacks,
    calls::{CallLog, Slot},
    framers::ServerFraming,
    in_place::InPlace,
    locals, outgoing,
    questions::{self, Asked, Item, OnTimeout, Question, Queue, Returned},
};
use crate::{
    hooks::{Answer, Closing, Decision, EndVerdict, Failed, HelloDecision, Hooks, Reply, Ticket, Verdict},
    inspect::framing::Framed,
    live::handle::Connection,
    wire::hello::ClientHello,
    words::{
        chunk::{Chunk, ChunkBuffer},
        direction::Direction,
        outcome::CloseReason,
    },
};

/// Returns the core's hooks for `callbacks`. They hold no reference to Python, which the garbage collector could not visit.
pub(super) fn of(callbacks: &Callbacks) -> Arc<dyn Hooks> {
    let Callbacks { apart, limit, ref log, ref queue, .. } = *callbacks;
    let (log, queue, framing) = (Arc::clone(log), Arc::clone(queue), ServerFraming::of(callbacks));
    Arc::new(PythonHooks { log, queue, limit, apart, framing })
}

/// Hooks that find plain callbacks through the calling lane's thread, and asynchronous ones through their event loop.
#[derive(Debug)]
struct PythonHooks {
    log: Arc<CallLog>,
    queue: Arc<Queue>,
    limit: Option<(Duration, OnTimeout)>,
    apart: bool,
    framing: Option<ServerFraming>,
}

/// The outcome of a call on the lane.
enum Given<T> {
    Answer(T),
    /// An awaitable was returned.
    Awaitable(Returned),
}

impl PythonHooks {
    /// Calls the callback in `slot`, if there is one, and converts its answer to `T`.
    #[inline]
    fn call<T: InPlace>(
        &self,
        slot: Slot,
        connection: &Connection,
        call: Call<'_>,
        answer: impl Fn(&dyn fmt::Display, &Bound<'_, PyAny>, &Bound<'_, PyTuple>) -> PyResult<T>,
    ) -> Result<Given<T>, Failed> {
        let asked = locals::attached(|py, here| {
            let Some(callback) = here.callbacks.get().get(py, slot) else { return Ok(None) };
            outgoing::runs_for(connection);
            let asked = call.arguments(py, here, connection).and_then(|arguments| {
                let given = locals::call(here, slot, &callback, &arguments)?;
                if !given.is_none() {
                    if !self.apart && answers::may_be_awaited(&given) {
                        here.callbacks.get().open_loop.bind(py).call0()?;
                        return Ok(Given::Awaitable((given.unbind(), arguments.unbind())));
                    }
                    self.log.answered(slot);
                }
                answer(&NameOf(&self.log, slot), &given, &arguments).map(Given::Answer)
            });
            asked.map(Some).map_err(|error| callback_failure::handle(py, here, slot, connection, error))
        });
        match asked {
            Some(Ok(Some(given))) => Ok(given),
            Some(Ok(None) | Err(None)) | None => Ok(Given::Answer(T::pass())),
            Some(Err(Some(failed))) => Err(failed),
        }
    }

    /// Asks the callback in `slot`: by `call` on the lane, or on the event loop if it is asynchronous, or if this thread is no
    /// lane. `asked` makes the question of its reply.
    #[inline]
    fn ask<T: InPlace>(
        &self,
        slot: Slot,
        connection: &Connection,
        call: impl FnOnce() -> Result<Given<T>, Failed>,
        asked: impl FnOnce(Reply<T>) -> Result<Asked, Failed>,
    ) -> Result<Answer<T>, Failed> {
        let mut returned = None;
        if !self.queue.is_asynchronous(slot) && locals::is_lane() {
            match call()? {
                Given::Answer(answer) => return Ok(Answer::Now(answer)),
                Given::Awaitable(awaitable) => returned = Some(awaitable),
            }
        } else if self.queue.is_new() {
            // The callback was taken away just now.
            return Ok(Answer::Now(T::pass()));
        }
        self.ask_loop(slot, connection, returned, asked)
    }

    /// Puts a question to the event loop.
    fn ask_loop<T: InPlace>(
        &self,
        slot: Slot,
        connection: &Connection,
        returned: Option<Returned>,
        asked: impl FnOnce(Reply<T>) -> Result<Asked, Failed>,
    ) -> Result<Answer<T>, Failed> {
        let (ticket, reply) = Ticket::new(connection);
        let mut question = Question::new(slot, connection, asked(reply)?);
        question.returned = returned;
        let (queue, key): (Weak<Queue>, u64) = (Arc::downgrade(&self.queue), question.key);
        question.on_cancel(move || {
            if let Some(queue) = queue.upgrade() {
                let _ = queue.put(Item::Cancel(key));
            }
        });
        if self.queue.put(Item::Ask(Box::new(question))).is_err() {
            self.log.failed();
            return Err(questions::no_loop());
        }
        Ok(Answer::Later(self.limited(slot, ticket)))
    }

    /// Sets the time limit of an answer, if there is one.
    fn limited<T: InPlace>(&self, slot: Slot, ticket: Ticket<T>) -> Ticket<T> {
        let Some((limit, on_timeout)) = self.limit else { return ticket };
        let log = Arc::clone(&self.log);
        // The runtime's time, which its timers follow.
        ticket.limited(tokio::time::Instant::now().into_std() + limit, move || {
            let line = log.late(slot, limit);
            match on_timeout {
                OnTimeout::Close => Err(Failed { reason: CloseReason::CallbackTimeout, error: line }),
                OnTimeout::Pass => Ok(T::pass()),
                OnTimeout::Drop => Ok(T::drop()),
            }
        })
    }
}

/// A callback's name, read only for a wrong answer.
struct NameOf<'a>(&'a CallLog, Slot);

impl fmt::Display for NameOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name(self.1))
    }
}

impl Hooks for PythonHooks {
    fn framing(&self, connection: &Connection) -> Option<Framed> {
        self.framing.as_ref().map(|framing| framing.framed(connection))
    }

    fn frames_anywhere(&self) -> bool {
        self.framing.as_ref().is_none_or(|framing| !framing.calls_python())
    }

    fn on_client_hello(&self, connection: &Connection, hello: &Arc<ClientHello>) -> Result<Answer<HelloDecision>, Failed> {
        let asked = |reply| Ok(Asked::Hello(Arc::clone(hello), reply));
        let call = || self.call(Slot::Hello, connection, Call::Hello(hello), answers::hello_decision);
        self.ask(Slot::Hello, connection, call, asked)
    }

    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        // Checked while attached: other lanes that have connected and waited to go on have run before.
        locals::attached(|_, here| here.server.refuse_circle(connection)).unwrap_or(Ok(()))?;
        let asked = |reply| Ok(Asked::Accept(reply));
        let call = || self.call(Slot::Accept, connection, Call::Connection, answers::decision);
        self.ask(Slot::Accept, connection, call, asked)
    }

    fn on_preread(&self, connection: &Connection, data: &Bytes) -> Result<Answer<Option<Decision>>, Failed> {
        // As for `on_accept`: this callback may have connected the upstream as well.
        locals::attached(|_, here| here.server.refuse_circle(connection)).unwrap_or(Ok(()))?;
        let asked = |reply| Ok(Asked::Preread(data.clone(), reply));
        let call = || self.call(Slot::Preread, connection, Call::Preread(data), answers::preread);
        self.ask(Slot::Preread, connection, call, asked)
    }

    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed> {
        let asked = |reply| Ok(Asked::Connect(reply));
        let call = || self.call(Slot::Connect, connection, Call::Connection, answers::nothing);
        self.ask(Slot::Connect, connection, call, asked)
    }

    fn apart(&self) -> bool {
        self.apart
    }

    fn on_connect_apart(&self, connection: &Connection, upstream: &Connection) -> Result<Answer<()>, Failed> {
        let asked = |reply| Ok(Asked::Connect(reply));
        let call = || self.call(Slot::Connect, connection, Call::Both(upstream), answers::nothing);
        self.ask(Slot::Connect, connection, call, asked)
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        let slot = match direction {
            Direction::ToUpstream => Slot::ClientRecv,
            Direction::ToClient => Slot::UpstreamRecv,
        };
        let asked = |reply| {
            let bytes = chunk.rest(0).ok_or_else(|| no_memory(chunk.len()))?;
            Ok(Asked::Chunk(direction, bytes, reply))
        };
        let call = || {
            let call = Call::Chunk(direction, chunk);
            if connection.has_length_field(direction) {
                return self.call(slot, connection, call, answers::verdict_of_messages);
            }
            self.call(slot, connection, call, answers::verdict)
        };
        self.ask(slot, connection, call, asked)
    }

    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed> {
        let asked = |reply| Ok(Asked::End(direction, reply));
        let call = || self.call(Slot::Eof, connection, Call::Side(direction), answers::end_verdict);
        self.ask(Slot::Eof, connection, call, asked)
    }

    fn on_close(&self, connection: &Connection, wanted: bool) {
        self.close(connection, wanted, Box::new(()));
    }

    fn close(&self, connection: &Connection, wanted: bool, closing: Closing) {
        let on_loop = wanted && self.queue.is_asynchronous(Slot::Close);
        let mut returned = None;
        if wanted && !on_loop {
            // The connection has ended: a failure of the callback can end nothing more.
            let given = self.call(Slot::Close, connection, Call::Connection, answers::nothing);
            if let Ok(Given::Awaitable(awaitable)) = given {
                returned = Some(awaitable);
            }
        }
        if on_loop || returned.is_some() {
            let mut question = Question::new(Slot::Close, connection, Asked::Close(closing));
            question.returned = returned;
            locals::forget(connection);
            // Where there is no loop, its drop ends the connection for the server.
            let _ = self.queue.put(Item::Ask(Box::new(question)));
            return;
        }
        // Mark closed before removing, so a thread that re-adds the entry sees that it must remove it.
        connection.set_close_notified();
        if locals::keeps(connection) {
            locals::attached(|py, here| {
                let objects = here.objects.borrow_mut().forget(connection);
                here.callbacks.get().forget(py, connection.id());
                drop(objects);
            });
        }
        let _ = self.queue.put(Item::Forget(connection.clone()));
    }

    fn chunk_buffer(&self, size: usize) -> Option<Arc<dyn ChunkBuffer>> {
        locals::spare(size)
    }

    fn give_back(&self, buffer: Arc<dyn ChunkBuffer>) {
        locals::give_back(buffer);
    }

    fn now(&self) -> Instant {
        attach::now()
    }

    fn turn_over(&self) {
        attach::turn_over();
    }

    fn count_error(&self) {
        self.log.failed();
    }

    fn errors(&self) -> u64 {
        self.log.errors()
    }

    fn timeouts(&self) -> u64 {
        self.log.timeouts()
    }
}

fn no_memory(bytes: usize) -> Failed {
    let error = format!("there is no memory for the {bytes} bytes of a chunk that an asynchronous callback is to see");
    Failed { reason: CloseReason::InternalError, error }
}
