//! Calls that every Unix has and no safe crate offers: signal masks, forks, reads into fresh memory, readiness.
#![allow(unsafe_code)] // System calls that socket2, rustix and tokio offer no safe form of; each is argued for where it stands.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use bytes::BufMut;
use socket2::Socket;
use tokio::io::{
    Interest,
    unix::{AsyncFd, AsyncFdRegisterError},
};

/// Runs `f` with every signal blocked in this thread: the threads that `f` starts inherit that, so the embedding
/// program's signals go to its own threads.
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are plain data that the calls fill before anyone reads them; a thread's mask is its own.
    let before = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
        before
    };
    let result = f();
    // SAFETY: `before` is the mask that the first call stored.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}

/// Registers `before` to run before each fork, and `in_child` in the child after it (pthread_atfork(3)).
pub(crate) fn at_fork(before: extern "C" fn(), in_child: extern "C" fn()) {
    // SAFETY: both are functions of this library, which is never unloaded, and only store to an atomic. Out of memory, the
    // call does nothing.
    unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) };
}

/// Binds a Unix socket to a unique name before it connects, so that its listener can tell it from others. The file exists for
/// a moment only: the socket keeps the name. Where no file can be made, the socket has no name.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
pub(crate) fn name_unix_socket_by_file(socket: &Socket) -> io::Result<()> {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NAMED: AtomicU64 = AtomicU64::new(0);
    let name = format!("interpose-{}-{}", std::process::id(), NAMED.fetch_add(1, Relaxed));
    let path = std::env::temp_dir().join(name);
    if let Ok(name) = socket2::SockAddr::unix(&path)
        && socket.bind(&name).is_ok()
    {
        let _ = std::fs::remove_file(&path);
    }
    Ok(())
}

/// Returns a socket with a copy of a descriptor of this process, which is not passed on to programs that it starts.
pub(crate) fn copy_of(descriptor: u32) -> io::Result<Socket> {
    let number = i32::try_from(descriptor).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the descriptor is used for the length of this function, and not closed. One that is not open makes the first call
    // fail with EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    borrowed.try_clone_to_owned().map(Socket::from)
}

/// Reads bytes that have come into `buffer`, which need not have been written before (recv(2)).
pub(crate) fn receive(socket: &Socket, buffer: &mut dyn BufMut) -> io::Result<usize> {
    // SAFETY: the call writes bytes only, so initialized memory stays initialized.
    let bytes = socket.recv(unsafe { buffer.chunk_mut().as_uninit_slice_mut() })?;
    // SAFETY: the kernel has written `bytes` bytes at the beginning of that chunk.
    unsafe { buffer.advance_mut(bytes) };
    Ok(bytes)
}

/// Registers `owner` with the calling thread's runtime, which wakes a task for `interest`: bytes to read, a client to accept,
/// a timer that has expired. Returns the owner with the error where that fails.
pub(crate) fn watch<T: OneDescriptor>(owner: T, interest: Interest) -> Result<AsyncFd<T>, (T, io::Error)> {
    // SAFETY: the owner has one open descriptor and names no other until it is dropped, and nobody who gets the AsyncFd
    // replaces the owner there.
    let watched = unsafe { AsyncFd::register_with_interest(owner, interest) };
    watched.map_err(AsyncFdRegisterError::into_parts)
}

/// Types that own one descriptor, and own no other for as long as they live.
pub(crate) trait OneDescriptor: AsRawFd {}

impl OneDescriptor for Socket {}

impl OneDescriptor for OwnedFd {}
