//! The Python objects of the connections that a lane's callbacks have seen.

use pyo3::{
    prelude::*,
    types::{PyAny, PyWeakrefMethods, PyWeakrefReference},
};

use super::{handle, hooks::Callbacks};
use crate::{
    live::{handle::Connection, registry::ById},
    words::direction::Direction,
};

/// One lane's connections by their id. Each stays until its end was told.
#[derive(Default)]
pub(super) struct Kept(ById<Objects>);

pub(super) struct Objects {
    connection: Py<PyAny>,
    /// Where each socket is carried alone, weak references.
    client: Option<Py<PyAny>>,
    upstream: Option<Py<PyAny>>,
}

impl Kept {
    fn objects(&mut self, py: Python<'_>, callbacks: &Callbacks, connection: &Connection) -> PyResult<&mut Objects> {
        use std::collections::hash_map::Entry;
        match self.0.entry(connection.id()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let native = Bound::new(py, handle::Connection::new(connection.clone()))?;
                let connection = callbacks.connection_of(py, native)?.unbind();
                Ok(new.insert(Objects { connection, client: None, upstream: None }))
            }
        }
    }

    /// The façade's Connection.
    pub(super) fn connection<'py>(
        &mut self,
        py: Python<'py>,
        callbacks: &Callbacks,
        connection: &Connection,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.objects(py, callbacks, connection)?.connection.bind(py).clone())
    }

    /// The façade's Side that sends in this direction.
    pub(super) fn source<'py>(
        &mut self,
        py: Python<'py>,
        callbacks: &Callbacks,
        connection: &Connection,
        direction: Direction,
    ) -> PyResult<Bound<'py, PyAny>> {
        let objects = self.objects(py, callbacks, connection)?;
        let is_client = direction == Direction::ToUpstream;
        let place = if is_client { &mut objects.client } else { &mut objects.upstream };
        if callbacks.apart {
            // A side that nobody else has any more is closed: only a weak reference to it is to be kept here.
            let known = place.as_ref().and_then(|side| side.bind(py).cast::<PyWeakrefReference>().ok()?.upgrade());
            if let Some(side) = known {
                return Ok(side);
            }
            let side = callbacks.side_of(py, objects.connection.bind(py), is_client)?;
            *place = PyWeakrefReference::new(&side).ok().map(|side| side.into_any().unbind());
            return Ok(side);
        }
        match place {
            Some(side) => Ok(side.bind(py).clone()),
            empty => {
                let side = callbacks.side_of(py, objects.connection.bind(py), is_client)?;
                *empty = Some(side.clone().unbind());
                Ok(side)
            }
        }
    }

    /// The connection is over and its callbacks know.
    pub(super) fn forget(&mut self, connection: &Connection) -> Option<Objects> {
        self.0.remove(&connection.id())
    }

    pub(super) fn has(&self, connection: &Connection) -> bool {
        self.0.contains_key(&connection.id())
    }
}
