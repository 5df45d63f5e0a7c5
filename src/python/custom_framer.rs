//! The framer of a function in Python, which runs on the lane of its connection.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use pyo3::{prelude::*, types::PyTuple};

use super::{
    callback_failure,
    calls::Slot,
    framing::{Framing, length_of},
    locals::{self, LaneLocals},
    view,
};
use crate::{
    inspect::framing::{Broken, Cut, Framer},
    live::handle::Connection,
    words::outcome::{CloseReason, Failed},
};

/// Calls a function for each message of one direction. It has the function for as long as the connection has the framer, as
/// the lane has the connection's objects.
pub(super) struct CustomFramer {
    function: Py<PyAny>,
    connection: Connection,
    /// A copy of the stream from the first byte of the message on, as far as the function has seen it; empty while there is
    /// little of it. Shared with the views that the function keeps.
    seen: Bytes,
}

impl CustomFramer {
    /// Returns the framer of `framing` for one direction of `connection`, if it is a function of the user's.
    pub(super) fn of(framing: &Framing, py: Python<'_>, connection: &Connection) -> Option<Box<dyn Framer>> {
        let function = framing.function()?.clone_ref(py);
        Some(Box::new(Self { function, connection: connection.clone(), seen: Bytes::new() }))
    }

    /// Calls the function. Returns the length of the message, or None while it is not whole.
    fn ask(&mut self, py: Python<'_>, here: &LaneLocals, buffer: &[u8]) -> PyResult<Option<usize>> {
        let arguments = PyTuple::new(py, [self.view_of(py, buffer)?])?;
        let function = self.function.bind(py);
        let answer = locals::call(here, Slot::Framing, function, &arguments)?;
        let length = length_of(function, &answer, buffer.len())?;
        if let Some(length) = length {
            self.seen.advance(length.min(self.seen.len()));
        }
        Ok(length)
    }

    /// Returns a read-only view of the bytes, which the function may keep. Of a long message each byte is copied once, however
    /// often more of it comes.
    fn view_of<'py>(&mut self, py: Python<'py>, buffer: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        if buffer.len() < view::WORTH {
            self.seen.clear();
            return view::view_of_copy(py, buffer);
        }
        let known = self.seen.len().min(buffer.len());
        let mut seen = std::mem::take(&mut self.seen).try_into_mut().unwrap_or_else(BytesMut::from);
        seen.extend_from_slice(&buffer[known..]);
        self.seen = seen.freeze();
        view::view_of(py, &self.seen.clone().into())
    }
}

impl Framer for CustomFramer {
    fn protocol(&self) -> &'static str {
        "custom"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        let answer = locals::attached(|py, here| match self.ask(py, here, buffer) {
            Ok(Some(length)) => Ok(Cut::Message(length)),
            Ok(None) => Ok(Cut::MORE),
            // An error that ends nothing ends the framing: the function would fail again at the same bytes.
            Err(error) => match callback_failure::handle(py, here, Slot::Framing, &self.connection, error) {
                Some(failed) => Err(Broken::because(failed)),
                None => Ok(Cut::Unframed),
            },
        });
        answer.unwrap_or_else(|| Err(Broken::because(no_lane())))
    }
}

impl fmt::Debug for CustomFramer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomFramer").field("connection", &self.connection.id()).finish_non_exhaustive()
    }
}

/// Returns the failure of a function that was put into a connection without a lane.
fn no_lane() -> Failed {
    let error = "framing.custom: its function runs where plain callbacks do, and the callbacks of this connection are asynchronous; give it to TheServer(framing=...)";
    Failed { reason: CloseReason::CallbackError, error: error.to_owned() }
}
