//! A chunk that Python reads where it lies, through a memoryview.
#![allow(unsafe_code)] // The buffer protocol hands out a pointer; argued below.

use std::ffi::{c_int, c_void};

use pyo3::{exceptions::PyBufferError, ffi, prelude::*, types::PyMemoryView};

use crate::chunk::Chunk;

/// From here on a view costs less than a copy. It also keeps the whole buffer for as long as it is kept.
const WORTH: usize = 16 * 1024;

/// What a memoryview of a chunk belongs to.
#[pyclass(frozen, module = "interpose._native")]
pub(super) struct View(Chunk);

#[pymethods]
impl View {
    /// # Safety
    /// Called by the interpreter, with a buffer structure to fill or NULL.
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill"));
        }
        let bytes: &[u8] = &slf.get().0;
        let length = ffi::Py_ssize_t::try_from(bytes.len()).map_err(|_| PyBufferError::new_err("too long"))?;
        let pointer: *mut c_void = bytes.as_ptr().cast_mut().cast();
        // SAFETY: `view` is the interpreter's. The bytes are those of this frozen object, which `view` keeps alive from here
        // on; nobody writes to them while it has its clone of the chunk, and the view is said to be read-only.
        let status = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), pointer, length, 1, flags) };
        if status == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A read-only memoryview of the chunk's bytes. They stay what they are for as long as it is kept.
pub(super) fn view_of<'py>(py: Python<'py>, chunk: &Chunk) -> PyResult<Bound<'py, PyAny>> {
    let owner = if chunk.len() < WORTH {
        pyo3::types::PyBytes::new(py, chunk).into_any()
    } else {
        Bound::new(py, View(chunk.clone()))?.into_any()
    };
    Ok(PyMemoryView::from(&owner)?.into_any())
}
