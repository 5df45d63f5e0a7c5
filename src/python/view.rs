//! Chunks for Python, without a copy where that pays: as a memoryview, or as the bytes object into which the chunk was read.
#![allow(unsafe_code)] // The buffer protocol hands out a pointer, and a bytes object is written before anybody has it; argued below.

use std::{
    any::Any,
    ffi::{c_char, c_int, c_void},
    io,
    mem::MaybeUninit,
    slice,
    sync::Arc,
    task::{Poll, ready},
};

use bytes::BufMut;
use pyo3::{
    exceptions::PyBufferError,
    ffi,
    prelude::*,
    types::{PyBytes, PyMemoryView},
};

use crate::words::chunk::{Chunk, ChunkBuffer};

/// Minimum size for which a view, or an object that a chunk is read into, costs less than a copy. A view also keeps the whole
/// buffer while it exists.
pub(super) const WORTH: usize = 16 * 1024;

/// The owner of a memoryview's bytes: a chunk.
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

/// Returns a read-only memoryview of the chunk's bytes, which do not change while it exists.
pub(super) fn view_of<'py>(py: Python<'py>, chunk: &Chunk) -> PyResult<Bound<'py, PyAny>> {
    let owner = if chunk.len() < WORTH { copied(py, chunk)? } else { Bound::new(py, View(chunk.clone()))?.into_any() };
    Ok(PyMemoryView::from(&owner)?.into_any())
}

/// Returns a read-only memoryview of a copy of the bytes.
pub(super) fn view_of_copy<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyMemoryView::from(PyBytes::new(py, bytes).as_any())?.into_any())
}

/// A bytes object that has not been shown to anyone yet, or that has been filled.
#[derive(Debug)]
pub(super) struct BlankBytes {
    object: Py<PyBytes>,
    bytes: *mut c_char,
    size: usize,
    filled: usize,
}

// SAFETY: the pointer is to the bytes of `object`, which stay where they are for as long as it lives. They are written only
// through `&mut self` while nobody else has the object, and never again once it was shown.
unsafe impl Send for BlankBytes {}
// SAFETY: as above; through `&self` they are only read.
unsafe impl Sync for BlankBytes {}

impl BlankBytes {
    /// Creates an object of `size` bytes. `None` if the size is not worth it, or if there is no memory.
    fn new(py: Python<'_>, size: usize) -> Option<Self> {
        if size < WORTH {
            return None;
        }
        let length = ffi::Py_ssize_t::try_from(size).ok()?;
        // SAFETY: without a source the interpreter makes an object of that length, whose bytes the caller may write.
        let object = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), length)) };
        let Some(object) = object else {
            drop(PyErr::take(py));
            return None;
        };
        // SAFETY: it is a bytes object: the call before makes nothing else.
        let bytes = unsafe { ffi::PyBytes_AsString(object.as_ptr()) };
        // SAFETY: the same.
        let object = unsafe { object.cast_into_unchecked::<PyBytes>() };
        Some(Self { object: object.unbind(), bytes, size, filled: 0 })
    }

    /// Returns true while the object has not been shown to anyone.
    fn is_blank(&self) -> bool {
        self.filled < self.size
    }
}

impl ChunkBuffer for BlankBytes {
    fn size(&self) -> usize {
        self.size
    }

    fn read_into(&mut self, read: &mut dyn FnMut(&mut dyn BufMut) -> Poll<io::Result<()>>) -> Poll<io::Result<usize>> {
        if !self.is_blank() {
            // A shown object must not be written; the next try uses another object.
            return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        }
        // SAFETY: `size` bytes from `bytes` on are the object's, which lives, and nobody has seen it.
        let mut left = unsafe { slice::from_raw_parts_mut(self.bytes.cast::<MaybeUninit<u8>>(), self.size) };
        let polled = read(&mut left);
        // A safe caller cannot put another slice in this one's place, nor pass over bytes that were not written.
        self.filled = self.size - left.len();
        ready!(polled)?;
        Poll::Ready(Ok(self.filled))
    }

    fn filled(&self) -> &[u8] {
        // SAFETY: `filled` bytes were read there.
        unsafe { slice::from_raw_parts(self.bytes.cast_const().cast(), self.filled) }
    }
}

/// The lane's next bytes object for a chunk that is likely to be as large as one can be.
#[derive(Debug, Default)]
pub(super) struct SpareBytes(Option<Arc<BlankBytes>>);

impl SpareBytes {
    pub(super) fn take(&mut self, size: usize) -> Option<Arc<BlankBytes>> {
        self.0.take_if(|blank| blank.size == size)
    }

    /// Takes back an object that was not filled. Returns one that was.
    pub(super) fn put(&mut self, buffer: Arc<dyn ChunkBuffer>) -> Option<Arc<dyn ChunkBuffer>> {
        let any: Arc<dyn Any + Send + Sync> = buffer;
        let blank = any.downcast::<BlankBytes>().ok()?;
        if !blank.is_blank() {
            return Some(blank);
        }
        self.0 = Some(blank);
        None
    }

    /// Makes a new object in place of a filled one, which now belongs to its owners, if it has any left.
    pub(super) fn renew(&mut self, py: Python<'_>, filled: Arc<dyn ChunkBuffer>) {
        let size = filled.size();
        // Dropped first, so that the new object may reuse its memory.
        drop(filled);
        self.make(py, size);
    }

    fn make(&mut self, py: Python<'_>, size: usize) {
        if self.0.as_ref().is_none_or(|blank| blank.size != size) {
            self.0 = BlankBytes::new(py, size).map(Arc::new);
        }
    }
}

/// Returns a bytes object with the chunk in it. A chunk of the maximum size is likely to be followed by another: `spare` is
/// prepared for that one.
pub(super) fn bytes_of<'py>(py: Python<'py>, chunk: &Chunk, spare: &mut SpareBytes) -> PyResult<Bound<'py, PyAny>> {
    let buffer = chunk.buffer().map(|buffer| buffer as &dyn Any);
    if let Some(blank) = buffer.and_then(|buffer| buffer.downcast_ref::<BlankBytes>()) {
        return Ok(blank.object.bind(py).clone().into_any());
    }
    if chunk.len() == chunk.capacity() {
        spare.make(py, chunk.len());
    }
    copied(py, chunk)
}

/// Returns a bytes object with a copy of the chunk, or MemoryError.
fn copied<'py>(py: Python<'py>, chunk: &Chunk) -> PyResult<Bound<'py, PyAny>> {
    let length = ffi::Py_ssize_t::try_from(chunk.len()).map_err(|_| PyBufferError::new_err("too long"))?;
    // SAFETY: attached; `length` bytes are read from the chunk, and the object, or NULL with an exception set, is the caller's.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(chunk.as_ptr().cast(), length)) }
}
