//! The framers of a connection: from its server's framing, and from one that a callback has set.

use pyo3::prelude::*;

use super::{
    callbacks::Callbacks,
    custom_framer::CustomFramer,
    errors::Kind,
    framing::{self, Framing, OtherFramer},
    handle, locals,
};
use crate::{
    inspect::framing::{Framed, Framer, FramingPair, FramingRules},
    live::{handle::Connection, inbox::Refused},
    words::direction::{Both, Direction},
};

/// The framing of a server's connections, without a reference to Python.
#[derive(Debug, Clone)]
pub(super) struct ServerFraming {
    pair: FramingPair,
    rules: FramingRules,
    /// True if a function of the user's is among them, which the lane's table has.
    calls_python: bool,
}

impl ServerFraming {
    /// Returns the framing of the connections with this table of callbacks; None if they are not framed.
    pub(super) fn of(callbacks: &Callbacks) -> Option<Self> {
        let of =
            [&callbacks.framings.0, &callbacks.framings.1].map(|framing| framing.as_ref().map(|framing| framing.get().core()));
        if of.iter().all(Option::is_none) {
            return None;
        }
        let calls_python = of.iter().flatten().any(Option::is_none);
        let [of_client, of_upstream] = of.map(Option::flatten);
        Some(Self { pair: FramingPair { of_client, of_upstream }, rules: callbacks.rules, calls_python })
    }

    /// Returns true if a function of the user's is among them, which only the lane can call.
    pub(super) fn calls_python(&self) -> bool {
        self.calls_python
    }

    /// Returns the framers of one connection: those with which messages were read before the relay, if some were.
    pub(super) fn framed(&self, connection: &Connection) -> Framed {
        let mut framed = self.pair.framed(self.rules);
        if let Some(framers) = connection.take_framers() {
            framed.framers = framers;
        }
        if self.calls_python {
            locals::attached(|py, here| {
                let (of_client, of_upstream) = &here.callbacks.get().framings;
                let custom = |framing: &Option<Py<Framing>>| CustomFramer::of(framing.as_ref()?.get(), py, connection);
                let Both { to_upstream, to_client } = &mut framed.framers;
                *to_upstream = to_upstream.take().or_else(|| custom(of_client));
                *to_client = to_client.take().or_else(|| custom(of_upstream));
            });
        }
        framed
    }
}

/// Returns a new framer for one direction of a live connection. `other` was made when the other direction got its own: one
/// framing on both sides shares its state. The second is for the next call.
fn framer(
    py: Python<'_>,
    framing: &Framing,
    connection: &Connection,
    direction: Direction,
    other: Option<&OtherFramer>,
) -> (Option<Box<dyn Framer>>, Option<OtherFramer>) {
    let Some(of) = framing.core() else { return (CustomFramer::of(framing, py, connection), None) };
    if let Some(framer) = other.and_then(|other| other.take(&of, direction)) {
        return (Some(framer), None);
    }
    let Both { to_upstream, to_client } = of.framers();
    let (framer, rest) = match direction {
        Direction::ToUpstream => (to_upstream, to_client),
        Direction::ToClient => (to_client, to_upstream),
    };
    (Some(framer), Some(OtherFramer::new(of, rest, direction.opposite())))
}

/// Frames one direction of `connection` from the next byte on; None ends its framing. `other` is what a call for the other
/// direction has returned; what is returned is for the next call. `limits`: the maximum bytes of a message, and true if an
/// error ends the framing alone.
#[pyfunction]
pub(super) fn set_framing(
    py: Python<'_>,
    connection: &handle::Connection,
    to_upstream: bool,
    framing: Option<&Framing>,
    other: Option<&OtherFramer>,
    limits: (usize, bool),
) -> PyResult<Option<OtherFramer>> {
    let (connection, direction) = (connection.task(py)?, handle::direction(to_upstream));
    let (framer, rest) = framing.map_or((None, None), |framing| framer(py, framing, connection, direction, other));
    match connection.set_framing(direction, framer, framing::rules(limits.0, limits.1)) {
        // Nothing comes there any more.
        Ok(()) | Err(Refused::Ended) => Ok(rest),
        Err(Refused::Full) => {
            let message = format!(
                "framing: 64 changes wait on connection {}, from which nothing is read meanwhile; set it once",
                connection.id()
            );
            Err(Kind::Full.raise(py, message))
        }
    }
}
