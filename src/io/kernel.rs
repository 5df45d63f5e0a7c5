//! The few socket calls no safe crate offers.
#![allow(unsafe_code)] // System calls that socket2, rustix and tokio offer no safe form of; each is argued for where it stands.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::{
        io,
        os::fd::{AsRawFd, BorrowedFd, OwnedFd},
        time::Duration,
    };

    use tokio::io::{Interest, unix::AsyncFd};

    /// Has the calling thread's runtime tell when `timer` has expired.
    pub(crate) fn watch_timer(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
        // SAFETY: an OwnedFd is one open descriptor until it is dropped, and who gets the AsyncFd does not replace it there.
        let watched = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
        watched.map_err(io::Error::from)
    }

    /// Bytes that the peer's kernel has not acknowledged yet (SIOCOUTQ, tcp(7)); for a Unix socket, not read yet. Where that is
    /// refused, how many segments of them are on their way.
    pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open for the borrow's time, and SIOCOUTQ (= TIOCOUTQ) writes one int, which `bytes` is.
        let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if status < 0 {
            return information(socket).map(|information| usize::try_from(information.tcpi_unacked).unwrap_or(usize::MAX));
        }
        Ok(usize::try_from(bytes).unwrap_or(0))
    }

    /// How long ago the peer's kernel last acknowledged anything.
    pub(crate) fn last_acknowledgement(socket: BorrowedFd<'_>) -> io::Result<Duration> {
        information(socket).map(|information| Duration::from_millis(information.tcpi_last_ack_recv.into()))
    }

    /// How long ago bytes were last sent, and received; since the connection was made if none were.
    pub(crate) fn last_data(socket: BorrowedFd<'_>) -> io::Result<(Duration, Duration)> {
        let ago = |milliseconds: u32| Duration::from_millis(milliseconds.into());
        information(socket).map(|info| (ago(info.tcpi_last_data_sent), ago(info.tcpi_last_data_recv)))
    }

    /// Reads the kernel's state of a connection (TCP_INFO, tcp(7)).
    fn information(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
        // SAFETY: all fields are numbers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut size = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or(0);
        // SAFETY: the descriptor is open for the borrow's time, and the option writes no more than `size` bytes, which `info` has.
        let status = unsafe {
            libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut size)
        };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
    }

    /// Has the kernel tell of bytes to read once there are so many (SO_RCVLOWAT, socket(7)).
    pub(crate) fn set_low_water(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
        set(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX))
    }

    /// Lets `bind` fix the source address but leave the port to `connect`, which may then use one port
    /// towards many upstreams (IP_BIND_ADDRESS_NO_PORT, ip(7)).
    pub(crate) fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
        set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
    }

    /// Sets an option that is one int.
    fn set(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
        // SAFETY: the descriptor is open for the borrow's time, and the call only reads `size` bytes, which `value` has.
        let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::{bind_address_no_port, last_acknowledgement, last_data, set_low_water, unacknowledged, watch_timer};

/// Gives memory that the allocator keeps for later back to the system (malloc_trim(3)). Takes milliseconds.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back_memory() {
    // SAFETY: the call takes the allocator's own locks, and has no other condition.
    unsafe { libc::malloc_trim(0) };
}

/// Elsewhere the allocator does that by itself, or not at all.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_memory() {}

/// Runs `f` with every signal blocked in this thread: the threads it starts inherit that, so the embedding
/// program's signals go to its own threads.
#[cfg(unix)]
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

#[cfg(not(unix))]
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// Registers `before` to run before each fork, and `in_child` in the child after it (pthread_atfork(3)).
#[cfg(unix)]
pub(super) fn at_fork(before: extern "C" fn(), in_child: extern "C" fn()) {
    // SAFETY: both are functions of this library, which is never unloaded, and only store to an atomic. Out of memory, the
    // call does nothing.
    unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) };
}

#[cfg(not(unix))]
pub(super) fn at_fork(_: extern "C" fn(), _: extern "C" fn()) {}

/// Reads what has come into `buffer`, which need not have been written before (recv(2)).
#[cfg(unix)]
pub(super) fn receive(socket: &socket2::Socket, buffer: &mut tokio::io::ReadBuf<'_>) -> std::io::Result<usize> {
    // SAFETY: the call writes bytes only, so what was initialized stays so.
    let bytes = socket.recv(unsafe { buffer.unfilled_mut() })?;
    // SAFETY: the kernel has written so many.
    unsafe { buffer.assume_init(bytes) };
    buffer.advance(bytes);
    Ok(bytes)
}

/// Has the calling thread's runtime tell what `interest` asks for: when `socket` can be read, or has a client to accept.
/// The socket comes back where that fails.
#[cfg(unix)]
pub(super) fn watch<S: OneSocket>(
    socket: S,
    interest: tokio::io::Interest,
) -> Result<tokio::io::unix::AsyncFd<S>, (S, std::io::Error)> {
    // SAFETY: it owns one open descriptor and names no other until it is dropped, and who gets the AsyncFd does not
    // replace it there.
    let watched = unsafe { tokio::io::unix::AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(tokio::io::unix::AsyncFdRegisterError::into_parts)
}

/// Types that own one socket, the same for as long as they live.
#[cfg(unix)]
pub(super) trait OneSocket: std::os::fd::AsRawFd {}

#[cfg(unix)]
impl OneSocket for socket2::Socket {}
