//! Data from Python: bytes, and other objects with a buffer of bytes.
#![allow(unsafe_code)] // The buffer protocol hands out a pointer, the copy of much memory lets the interpreter go, and lists are walked bare; argued below.

use std::{
    ffi::{CStr, c_char},
    mem::MaybeUninit,
    ptr, slice,
};

use bytes::Bytes;
use pyo3::{
    exceptions::PyMemoryError,
    ffi,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBytes, PyList, PyTuple},
};

use super::errors::Kind;
use crate::words::{error::printable, pieces::Pieces};

/// Minimum size of a bytes object that is kept as it is: that costs less than a copy. A smaller one is copied, so that no
/// Python object waits with it.
const KEPT: usize = 4 * 1024;

/// Minimum number of bytes during whose copy other Python threads run.
const MUCH: usize = 1024 * 1024;

/// The reason why a value is no data.
pub(super) enum Unfit<'py> {
    /// The value has no buffer.
    Kind(Bound<'py, PyAny>),
    /// The value's buffer contains addresses, of Python's objects or of other memory.
    Addresses(Bound<'py, PyAny>),
    /// The value's own code has raised this, or there is no memory.
    Raised(Bound<'py, PyAny>, PyErr),
}

impl<'py> Unfit<'py> {
    pub(super) fn value(&self) -> &Bound<'py, PyAny> {
        match self {
            Self::Kind(value) | Self::Addresses(value) | Self::Raised(value, _) => value,
        }
    }

    /// Describes the object that was found in the place of bytes.
    pub(super) fn found(&self) -> String {
        match self {
            Self::Kind(value) | Self::Raised(value, _) => kind_of(value),
            Self::Addresses(value) => format!("{} of objects or pointers", kind_of(value)),
        }
    }

    /// Returns the exception for the argument `data`.
    pub(super) fn into_error(self, py: Python<'py>) -> PyErr {
        let advice = match &self {
            Self::Raised(_, error) => return error.clone_ref(py),
            Self::Addresses(_) => ", made of what they refer to",
            Self::Kind(value) => match kind_of(value).as_str() {
                "str" => ", such as text.encode()",
                "int" | "float" | "bool" => ", such as str(number).encode()",
                "list" | "tuple" | "generator" => ", such as b\"\".join(parts)",
                "dict" => ", such as json.dumps(value).encode()",
                "coroutine" => ": await it, and send what that returns",
                "NoneType" => "; there is nothing to send in None",
                _ => ", a bytearray or a memoryview",
            },
        };
        let message = format!("data: it is {}, not bytes; give bytes{advice}", self.found());
        Kind::Type.raise(py, message)
    }
}

/// Returns the name of a value's class, with control characters escaped.
pub(super) fn kind_of(value: &Bound<'_, PyAny>) -> String {
    printable(&value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string()))
}

/// Returns the bytes of a value as they are now: later changes of the value do not change them.
pub(super) fn bytes_of<'py>(value: &Bound<'py, PyAny>) -> Result<Bytes, Unfit<'py>> {
    match value.cast_exact::<PyBytes>() {
        Ok(bytes) if bytes.as_bytes().len() < KEPT => Ok(Bytes::copy_from_slice(bytes.as_bytes())),
        Ok(bytes) => Ok(Bytes::from_owner(PyBackedBytes::from(bytes.clone()))),
        Err(_) => copy_of(value).map(Bytes::from),
    }
}

/// Returns the bytes of a value, or of the items of a list or tuple, with small ones joined.
pub(super) fn parts_of<'py>(value: &Bound<'py, PyAny>) -> Result<Vec<Bytes>, Unfit<'py>> {
    let mut parts = Pieces::default();
    if value.is_instance_of::<PyList>() {
        // SAFETY: it is a list.
        unsafe { put_items(value, ffi::PyList_Size, ffi::PyList_GetItem, &mut parts) }?;
    } else if value.is_instance_of::<PyTuple>() {
        // SAFETY: it is a tuple.
        unsafe { put_items(value, ffi::PyTuple_Size, ffi::PyTuple_GetItem, &mut parts) }?;
    } else {
        parts.push(bytes_of(value)?);
    }
    Ok(parts.take().into())
}

/// Returns the bytes of a value, or of each item of a list or tuple by itself, without those that are empty.
pub(super) fn items_of<'py>(value: &Bound<'py, PyAny>) -> Result<Vec<Bytes>, Unfit<'py>> {
    let mut items = Vec::new();
    if let Ok(list) = value.cast::<PyList>() {
        // An item's own code may change the list.
        let mut index = 0;
        while let Ok(item) = list.get_item(index) {
            items.push(bytes_of(&item)?);
            index += 1;
        }
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        for item in tuple {
            items.push(bytes_of(&item)?);
        }
    } else {
        items.push(bytes_of(value)?);
    }
    items.retain(|bytes| !bytes.is_empty());
    Ok(items)
}

/// Appends the bytes of all items to `parts`. A list may have millions of items, so a small bytes object is neither referred
/// to nor wrapped, and is read only once if it follows itself.
///
/// # Safety
/// `size` and `get` are those of what `value` is.
unsafe fn put_items<'py>(
    value: &Bound<'py, PyAny>,
    size: unsafe extern "C" fn(*mut ffi::PyObject) -> ffi::Py_ssize_t,
    get: unsafe extern "C" fn(*mut ffi::PyObject, ffi::Py_ssize_t) -> *mut ffi::PyObject,
    parts: &mut Pieces,
) -> Result<(), Unfit<'py>> {
    let list = value.as_ptr();
    let (mut last, mut bytes): (_, &[u8]) = (ptr::null_mut(), &[]);
    // SAFETY: attached, with a live object of the right kind. The module has the interpreter's lock switched on everywhere
    // (`gil_used`), so no other thread changes it meanwhile. Only code of an item's own can change how long it is.
    let (mut index, mut end) = (0, unsafe { size(list) });
    while index < end {
        // SAFETY: the same; the index is within its size, so the item is there, and the list has a reference to it.
        let item = unsafe { get(list, index) };
        index += 1;
        if item != last {
            // SAFETY: a live object.
            match unsafe { small_bytes(item) } {
                Some(small) => (last, bytes) = (item, small),
                None => {
                    // An item's own code may run here, change the list, and free its former items.
                    (last, bytes) = (ptr::null_mut(), &[]);
                    // SAFETY: a live object, to which a reference of our own is taken before anything is done with it.
                    let item = unsafe { Bound::from_borrowed_ptr(value.py(), item) };
                    parts.push(bytes_of(&item)?);
                    // SAFETY: as before.
                    end = unsafe { size(list) };
                    continue;
                }
            }
        }
        parts.push_copy(bytes);
    }
    Ok(())
}

/// Returns the bytes of an object that is exactly of the class bytes and is to be copied, where they lie.
///
/// # Safety
/// Attached, with a live object. The bytes are there for as long as it lives, which the caller sees to.
unsafe fn small_bytes<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    // SAFETY: a live object.
    if unsafe { ffi::PyBytes_CheckExact(object) } == 0 {
        return None;
    }
    let (mut start, mut size) = (ptr::null_mut(), 0);
    // SAFETY: a bytes object, and places for both.
    if unsafe { ffi::PyBytes_AsStringAndSize(object, &raw mut start, &raw mut size) } != 0 {
        return None;
    }
    let size = usize::try_from(size).ok().filter(|size| *size < KEPT)?;
    // SAFETY: that many bytes are there, and nobody changes them.
    Some(unsafe { slice::from_raw_parts(start.cast_const().cast(), size) })
}

fn copy_of<'py>(value: &Bound<'py, PyAny>) -> Result<Vec<u8>, Unfit<'py>> {
    let raised = |error| Unfit::Raised(value.clone(), error);
    // SAFETY: it is a live object, which is all that is asked about it.
    if unsafe { ffi::PyObject_CheckBuffer(value.as_ptr()) } == 0 {
        return Err(Unfit::Kind(value.clone()));
    }
    let mut view = ffi::Py_buffer::new();
    let export = Export::of(value, &mut view).map_err(raised)?;
    if export.format().is_some_and(has_addresses) {
        return Err(Unfit::Addresses(value.clone()));
    }
    export.copy(value.py()).map_err(raised)
}

/// A buffer that its object keeps unmoved until this is dropped. Other threads may write to the bytes.
struct Export<'a>(&'a mut ffi::Py_buffer);

impl<'a> Export<'a> {
    fn of(value: &Bound<'_, PyAny>, view: &'a mut ffi::Py_buffer) -> PyResult<Self> {
        // SAFETY: attached, with a live object; `view` stays where it is for as long as this has it, for it may point into
        // itself, and is released once, by `drop`.
        let status = unsafe { ffi::PyObject_GetBuffer(value.as_ptr(), view, ffi::PyBUF_FULL_RO) };
        if status == 0 { Ok(Self(view)) } else { Err(PyErr::fetch(value.py())) }
    }

    fn format(&self) -> Option<&[u8]> {
        // SAFETY: where there is a format, it is a string that ends with zero and is kept with the buffer.
        (!self.0.format.is_null()).then(|| unsafe { CStr::from_ptr(self.0.format) }.to_bytes())
    }

    /// Copies the bytes, in the order of C's arrays.
    fn copy(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let size = usize::try_from(self.0.len).unwrap_or(0);
        let mut copy = Vec::new();
        if size == 0 {
            return Ok(copy);
        }
        copy.try_reserve_exact(size).map_err(|_| no_memory(size))?;
        let order = c_char::try_from(b'C').unwrap_or_default();
        // SAFETY: the buffer was filled by its object.
        if unsafe { ffi::PyBuffer_IsContiguous(self.0, order) } == 0 {
            // SAFETY: `copy` has room for as many bytes as the buffer has, and the call writes all of them.
            let status = unsafe { ffi::PyBuffer_ToContiguous(copy.as_mut_ptr().cast(), self.0, self.0.len, order) };
            if status != 0 {
                return Err(PyErr::fetch(py));
            }
        } else {
            let (from, to) = (Source(self.0.buf.cast_const().cast()), &mut copy.spare_capacity_mut()[..size]);
            if size < MUCH { from.copy(to) } else { py.detach(|| from.copy(to)) }
        }
        // SAFETY: `size` bytes were written just now.
        unsafe { copy.set_len(size) };
        Ok(copy)
    }
}

impl Drop for Export<'_> {
    fn drop(&mut self) {
        // SAFETY: attached, as those who made it are; it was filled by its object and not released before.
        unsafe { ffi::PyBuffer_Release(self.0) };
    }
}

/// The bytes of a contiguous buffer.
struct Source(*const u8);

// SAFETY: they may be read without the interpreter: the buffer is exported, and so stays where it is.
unsafe impl Sync for Source {}

impl Source {
    /// Fills `to`, which is no longer than the buffer. A byte that another thread writes at the same time has its old or its
    /// new value.
    fn copy(&self, to: &mut [MaybeUninit<u8>]) {
        // SAFETY: the export has at least as many bytes as `to`, which is new memory and so apart from them.
        unsafe { ptr::copy_nonoverlapping(self.0, to.as_mut_ptr().cast(), to.len()) };
    }
}

fn no_memory(size: usize) -> PyErr {
    let message =
        format!("data: there is no memory for a copy of its {size} bytes; give it in parts, or as bytes, which need none");
    PyMemoryError::new_err(message)
}

/// Returns true if a format (PEP 3118) has addresses among its items: of objects, pointers, functions or strings in C.
fn has_addresses(format: &[u8]) -> bool {
    let mut items = format.iter();
    while let Some(item) = items.next() {
        match item {
            // A field's name.
            b':' => {
                items.find(|byte| **byte == b':');
            }
            // A complex number, unless it stands alone.
            b'Z' if matches!(items.as_slice().first(), Some(b'f' | b'd' | b'g')) => {}
            b'O' | b'P' | b'&' | b'X' | b'z' | b'Z' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::has_addresses;

    #[test]
    fn a_format_with_addresses_is_told_from_numbers_and_names() {
        for format in ["O", "<O", "P", "&<i", "X{}", "<z", "<Z", "T{<i:count:<O:what:}", "(2,3)O", "T{Zd:O:P:x:}"] {
            assert!(has_addresses(format.as_bytes()), "{format}");
        }
        for format in ["", "B", "<d", "Zd", "<Zf", "3s", "?", "T{<i:POINT:<d:X&O:}", "w", "u", "T{b:Z:}"] {
            assert!(!has_addresses(format.as_bytes()), "{format}");
        }
    }
}
