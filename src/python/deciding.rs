//! Decisions of faults by functions in Python, on the lane of their connection.

use bytes::Bytes;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyFloat, PyTuple},
};

use super::{
    callback_failure,
    calls::Slot,
    fault::Fault,
    locals::{self, LaneLocals},
    outgoing,
};
use crate::{
    inspect::faults::decider::{Act, Decider, Deciders},
    live::handle::Connection,
    words::{
        chunk::Chunk,
        direction::Direction,
        outcome::{CloseReason, Failed},
    },
};

/// The questions, as the façade's fault knows them.
const CHOOSES: u8 = 0;
const MATCHES: u8 = 1;
const ACTS: u8 = 2;

/// Makes the deciders of the fault with this number. Holds no reference to Python, which the garbage collector could not
/// visit: the functions are the server's table's.
#[derive(Debug)]
pub(super) struct OfFault(pub u64);

impl Deciders for OfFault {
    fn of(&self, connection: u64, direction: Direction) -> Box<dyn Decider> {
        Box::new(PythonDecider { fault: self.0, id: connection, direction, connection: None })
    }
}

/// Asks a function of the server's table.
#[derive(Debug)]
struct PythonDecider {
    fault: u64,
    /// The number of the connection.
    id: u64,
    direction: Direction,
    connection: Option<Connection>,
}

impl PythonDecider {
    /// Asks a question. Returns `silent` if the fault was taken away just now, or if what was raised ends nothing.
    fn ask<T>(
        &mut self,
        question: u8,
        data: Option<&Chunk>,
        silent: T,
        answer: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T, Failed> {
        let asked = locals::attached(|py, here| {
            let Some(function) = here.callbacks.get().fault(py, self.fault) else { return Ok(silent) };
            let Some(connection) = self.connection(here) else { return Ok(silent) };
            outgoing::runs_for(&connection);
            let given = self.arguments(py, here, &connection, question, data);
            let answered = given.and_then(|given| locals::call(here, Slot::Fault, &function, &given)).and_then(|it| answer(&it));
            answered.or_else(|error| match callback_failure::handle(py, here, Slot::Fault, &connection, error) {
                Some(failed) => Err(failed),
                None => Ok(silent),
            })
        });
        asked.unwrap_or_else(|| Err(no_lane()))
    }

    /// Returns the connection, which lives while it asks.
    fn connection(&mut self, here: &LaneLocals) -> Option<Connection> {
        if self.connection.is_none() {
            self.connection = here.server.connection(self.id);
        }
        self.connection.clone()
    }

    fn arguments<'py>(
        &self,
        py: Python<'py>,
        here: &LaneLocals,
        connection: &Connection,
        question: u8,
        data: Option<&Chunk>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let (callbacks, mut objects) = (here.callbacks.get(), here.objects.borrow_mut());
        let subject = match question {
            CHOOSES => objects.connection(py, callbacks, connection)?,
            _ => objects.source(py, callbacks, connection, self.direction)?,
        };
        (question, subject, data.map(|data| PyBytes::new(py, data))).into_pyobject(py)
    }
}

impl Decider for PythonDecider {
    fn chooses(&mut self) -> Result<bool, Failed> {
        self.ask(CHOOSES, None, false, |answer| answer.is_truthy())
    }

    fn matches(&mut self, message: &Chunk) -> Result<bool, Failed> {
        self.ask(MATCHES, Some(message), false, |answer| answer.is_truthy())
    }

    fn act(&mut self, message: &Chunk) -> Result<Vec<Act>, Failed> {
        self.ask(ACTS, Some(message), Vec::new(), |answer| {
            if answer.is_none() {
                return Ok(Vec::new());
            }
            // Before the others: a list without any means that the message is dropped.
            let mut acts = vec![Act::Drop];
            for act in answer.try_iter()? {
                acts.push(act_of(&act?)?);
            }
            Ok(acts)
        })
    }
}

fn act_of(given: &Bound<'_, PyAny>) -> PyResult<Act> {
    if given.is_none() {
        return Ok(Act::Pass);
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(Act::Send(Bytes::copy_from_slice(bytes.as_bytes())));
    }
    if let Ok(seconds) = given.cast::<PyFloat>() {
        // Checked by the façade.
        return Ok(Act::Wait(std::time::Duration::try_from_secs_f64(seconds.extract()?).unwrap_or_default()));
    }
    let fault = given.cast::<Fault>()?.get();
    Ok(Act::Begin { effect: fault.0.effect.clone(), name: fault.0.name.clone() })
}

/// Returns the failure of a fault on a connection without a lane.
fn no_lane() -> Failed {
    let error = "fault: its function has no thread to run on; give the fault to TheServer(faults=...) or add_fault()";
    Failed { reason: CloseReason::CallbackError, error: error.to_owned() }
}
