//! A turn of the event loop: runs the callbacks of all questions that wait to their first waits, in the name of a task.

use pyo3::{intern, prelude::*, types::PyList};

use super::{asking::Asking, attach, bridge::Bridge, calls::Slot, questions::Item, worker::Worker};

/// The questions about ends of connections, the keys of questions that are cancelled and of reads that have results, true if
/// the loop is to look again soon, true if the server is closed, and an exception that ends the server.
type Taken<'py> = (Bound<'py, PyList>, Vec<u64>, Vec<u64>, bool, bool, Option<PyErr>);

/// The task in whose name callbacks run.
struct Current<'py> {
    task: Bound<'py, PyAny>,
    worker: Bound<'py, Worker>,
}

struct Turn<'a, 'py> {
    bridge: &'a Bound<'py, Bridge>,
    /// The façade's, which makes tasks.
    crew: &'a Bound<'py, PyAny>,
    current: Option<Current<'py>>,
}

impl<'py> Turn<'_, 'py> {
    /// Returns the task in whose name the next callback runs: from here on, it is the loop's current one.
    fn current(&mut self) -> PyResult<&Current<'py>> {
        if self.current.is_none() {
            let (task, worker) = self.crew.call_method0(intern!(self.crew.py(), "enter"))?.extract()?;
            self.current = Some(Current { task, worker });
        }
        self.current.as_ref().ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("there is no task"))
    }

    /// Runs a callback to its first wait. Raises what ends the server.
    fn run(&mut self, asking: &Bound<'py, Asking>) -> PyResult<()> {
        let py = asking.py();
        let context = self.bridge.get().context(py)?;
        let Current { task, worker } = self.current()?;
        let references = attach::references(task);
        let waited = context.call_method1(intern!(py, "run"), (asking,));
        match &waited {
            Ok(waited) if !waited.is(asking) => {
                worker.get().keep(py, asking, context, task, waited.clone())?;
                self.leave("keep")
            }
            // The callback has left something on the task, or has kept it: the next one is run by another.
            _ if waited.is_err() || worker.get().is_marked() || attach::references(task) > references => {
                self.leave("dismiss")?;
                waited.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Ends the turn of the current task. `how` is the façade's word for what becomes of the task.
    fn leave(&mut self, how: &str) -> PyResult<()> {
        self.current.take().map_or(Ok(()), |_| self.crew.call_method0(how).map(drop))
    }
}

/// Takes all items that wait for the loop of `bridge`, which `is_woken` by its descriptor, or looks again. Runs the callbacks by
/// tasks of `crew`. Behind several items more will have come soon: the loop looks again, and is not woken for them.
#[pyfunction]
pub(super) fn answer_questions<'py>(
    bridge: &Bound<'py, Bridge>,
    crew: &Bound<'py, PyAny>,
    is_woken: bool,
) -> PyResult<Taken<'py>> {
    let py = bridge.py();
    let (closed, mut cancelled, mut read) = (PyList::empty(py), Vec::new(), Vec::new());
    let (mut is_over, mut raised) = (false, None);
    let mut turn = Turn { bridge, crew, current: None };
    let mut items = bridge.get().take(is_woken);
    let looks_again = items.len() > 1;
    if looks_again {
        bridge.get().look_again();
    }
    bridge.get().gather_answers();
    let mut waiting = items.drain(..);
    for item in waiting.by_ref() {
        match item {
            Item::Ask(question) if question.is_cancelled() => drop(question),
            Item::Ask(question) => {
                let is_close = question.slot == Slot::Close;
                let asking = Bound::new(py, Asking::new(bridge.clone().unbind(), question))?;
                if is_close {
                    closed.append(asking)?;
                    continue;
                }
                if let Err(error) = turn.run(&asking) {
                    raised = Some(error);
                    break;
                }
            }
            Item::Cancel(key) => cancelled.push(key),
            Item::Read(key) => read.push(key),
            Item::Forget(connection) => bridge.get().forget(py, &connection),
            Item::Over => is_over = true,
        }
    }
    let rest: Vec<_> = waiting.collect();
    bridge.get().give_back(items);
    if !rest.is_empty() {
        bridge.get().put_back(rest);
    }
    let left = turn.leave(if looks_again { "rest" } else { "leave" });
    if left.is_ok() && !looks_again {
        // The task of turns before this one, if this one had none.
        crew.call_method0(intern!(py, "hide"))?;
    }
    bridge.get().wake_answered();
    left?;
    Ok((closed, cancelled, read, looks_again, is_over, raised))
}
