//! The arguments of callbacks.

use pyo3::{prelude::*, types::PyTuple};

use super::{handle, lane, view};
use crate::{
    live::handle::Connection,
    words::{chunk::Chunk, direction::Direction},
};

pub(super) fn with_connection<'a>(
    connection: &'a Connection,
) -> impl for<'py> FnOnce(Python<'py>, &lane::Here) -> PyResult<Bound<'py, PyTuple>> + 'a {
    move |py, here| {
        let object = here.kept.borrow_mut().connection(py, here.callbacks.get(), connection)?;
        PyTuple::new(py, [object])
    }
}

pub(super) fn with_both<'a>(
    connection: &'a Connection,
    upstream: &'a Connection,
) -> impl for<'py> FnOnce(Python<'py>, &lane::Here) -> PyResult<Bound<'py, PyTuple>> + 'a {
    move |py, here| {
        let object = here.kept.borrow_mut().connection(py, here.callbacks.get(), connection)?;
        (object, handle::Connection::new(upstream.clone())).into_pyobject(py)
    }
}

pub(super) fn with_side<'a>(
    connection: &'a Connection,
    direction: Direction,
) -> impl for<'py> FnOnce(Python<'py>, &lane::Here) -> PyResult<Bound<'py, PyTuple>> + 'a {
    move |py, here| {
        let side = here.kept.borrow_mut().source(py, here.callbacks.get(), connection, direction)?;
        PyTuple::new(py, [side])
    }
}

pub(super) fn with_chunk<'a>(
    connection: &'a Connection,
    direction: Direction,
    chunk: &'a Chunk,
) -> impl for<'py> FnOnce(Python<'py>, &lane::Here) -> PyResult<Bound<'py, PyTuple>> + 'a {
    move |py, here| {
        let side = here.kept.borrow_mut().source(py, here.callbacks.get(), connection, direction)?;
        let data = if here.callbacks.get().views {
            view::view_of(py, chunk)?
        } else {
            view::bytes_of(py, chunk, &mut here.spare.borrow_mut())?
        };
        PyTuple::new(py, [side, data])
    }
}
