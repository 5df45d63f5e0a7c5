//! Python's callbacks as the core's hooks: each hook calls the callback in its slot.

use std::{fmt, sync::Arc, time::Instant};

use pyo3::{prelude::*, types::PyTuple};

use super::{
    answers,
    arguments::Call,
    attach, callback_failure,
    callbacks::Callbacks,
    calls::{CallLog, Slot},
    locals, outgoing,
};
use crate::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Verdict},
    live::handle::Connection,
    words::{
        chunk::{Chunk, ChunkBuffer},
        direction::Direction,
    },
};

/// Returns the core's hooks for `callbacks`. They hold no reference to Python, which the garbage collector could not visit.
pub(super) fn of(callbacks: &Callbacks) -> Arc<dyn Hooks> {
    let Callbacks { apart, ref log, .. } = *callbacks;
    Arc::new(OnLane { log: Arc::clone(log), apart })
}

/// Hooks that find the callbacks through the calling lane's thread.
#[derive(Debug)]
struct OnLane {
    log: Arc<CallLog>,
    apart: bool,
}

impl OnLane {
    /// Calls the callback in `slot`, if there is one, and converts its answer to `T`.
    #[inline]
    fn ask<T>(
        &self,
        slot: Slot,
        connection: &Connection,
        call: Call<'_>,
        answer: impl Fn(&dyn fmt::Display, &Bound<'_, PyAny>, &Bound<'_, PyTuple>) -> PyResult<T>,
        otherwise: T,
    ) -> Result<T, Failed> {
        let asked = locals::attached(|py, here| {
            let Some(callback) = here.callbacks.get().get(py, slot) else { return Ok(None) };
            outgoing::runs_for(connection);
            let asked = call.arguments(py, here, connection).and_then(|arguments| {
                let given = locals::call(here, slot, &callback, &arguments)?;
                if !given.is_none() {
                    self.log.answered(slot);
                }
                answer(&NameOf(&self.log, slot), &given, &arguments)
            });
            asked.map(Some).map_err(|error| callback_failure::handle(py, here, slot, connection, error))
        });
        match asked {
            Some(Ok(Some(answer))) => Ok(answer),
            Some(Ok(None)) | None => Ok(otherwise),
            Some(Err(None)) => Ok(otherwise),
            Some(Err(Some(failed))) => Err(failed),
        }
    }
}

/// A callback's name, read only for a wrong answer.
struct NameOf<'a>(&'a CallLog, Slot);

impl fmt::Display for NameOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name(self.1))
    }
}

impl Hooks for OnLane {
    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        // Checked while attached: other lanes that have connected and waited to go on have run before.
        locals::attached(|_, here| here.server.refuse_circle(connection)).unwrap_or(Ok(()))?;
        self.ask(Slot::Accept, connection, Call::Connection, answers::decision, Decision::Default).map(Answer::Now)
    }

    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed> {
        self.ask(Slot::Connect, connection, Call::Connection, answers::nothing, ()).map(Answer::Now)
    }

    fn apart(&self) -> bool {
        self.apart
    }

    fn on_connect_apart(&self, connection: &Connection, upstream: &Connection) -> Result<Answer<()>, Failed> {
        self.ask(Slot::Connect, connection, Call::Both(upstream), answers::nothing, ()).map(Answer::Now)
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        let slot = match direction {
            Direction::ToUpstream => Slot::ClientRecv,
            Direction::ToClient => Slot::UpstreamRecv,
        };
        self.ask(slot, connection, Call::Chunk(direction, chunk), answers::verdict, Verdict::Pass).map(Answer::Now)
    }

    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed> {
        self.ask(Slot::Eof, connection, Call::Side(direction), answers::end_verdict, EndVerdict::Pass(Vec::new()))
            .map(Answer::Now)
    }

    fn on_close(&self, connection: &Connection, wanted: bool) {
        if wanted {
            // The connection has ended: a failure of the callback can end nothing more.
            let _ = self.ask(Slot::Close, connection, Call::Connection, answers::nothing, ());
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

    fn errors(&self) -> u64 {
        self.log.errors()
    }
}
