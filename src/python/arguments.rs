//! The arguments of callbacks.

use bytes::Bytes;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyTuple},
};

use super::{handle, hello, locals::LaneLocals, view};
use crate::{
    live::handle::Connection,
    wire::hello::ClientHello,
    words::{chunk::Chunk, direction::Direction},
};

/// The arguments of one call.
pub(super) enum Call<'a> {
    Connection,
    /// The connection, and the hello of its client.
    Hello(&'a ClientHello),
    /// The connection, and what its client has sent so far.
    Preread(&'a Bytes),
    /// The connection, and its upstream as a connection of its own.
    Both(&'a Connection),
    /// The side that sends in this direction.
    Side(Direction),
    /// The side that sends in this direction, and the bytes it has sent.
    Chunk(Direction, &'a Chunk),
}

impl Call<'_> {
    /// Returns the arguments as Python objects. Inlined where the variant is known: a call of its own costs one per chunk.
    #[inline(always)]
    pub(super) fn arguments<'py>(
        self,
        py: Python<'py>,
        here: &LaneLocals,
        connection: &Connection,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let callbacks = here.callbacks.get();
        let mut objects = here.objects.borrow_mut();
        match self {
            Self::Connection => PyTuple::new(py, [objects.connection(py, callbacks, connection)?]),
            Self::Hello(message) => {
                let object = objects.connection(py, callbacks, connection)?;
                PyTuple::new(py, [object, hello::parts(py, message)?.into_any()])
            }
            Self::Preread(data) => {
                let object = objects.connection(py, callbacks, connection)?;
                PyTuple::new(py, [object, PyBytes::new(py, data).into_any()])
            }
            Self::Both(upstream) => {
                let object = objects.connection(py, callbacks, connection)?;
                (object, handle::Connection::new(upstream.clone())).into_pyobject(py)
            }
            Self::Side(direction) => PyTuple::new(py, [objects.source(py, callbacks, connection, direction)?]),
            Self::Chunk(direction, chunk) => {
                let side = objects.source(py, callbacks, connection, direction)?;
                let data = if callbacks.views {
                    view::view_of(py, chunk)?
                } else {
                    view::bytes_of(py, chunk, &mut here.spare.borrow_mut())?
                };
                PyTuple::new(py, [side, data])
            }
        }
    }
}
