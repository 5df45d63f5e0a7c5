//! Socket calls and options of Linux.
#![allow(unsafe_code)] // System calls that socket2 and rustix offer no safe form of; each is argued for where it stands.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// The flags of a send. A write to a closed connection is an error here, never a SIGPIPE to the embedding program.
pub(crate) const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;

/// The kinds of readiness that a connected socket is registered for.
pub(crate) const WATCHED: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);

/// Accepted sockets have the options of their listener.
pub(crate) const ACCEPTED_HAVE_OPTIONS: bool = true;

/// Relays are asked to check their peers every few seconds, so keepalive can be set at the first check: it costs four system
/// calls, and most connections end before.
pub(crate) const PEERS_ARE_CHECKED: bool = true;

/// Opens a stream socket that does not block.
pub(crate) fn open(domain: Domain, protocol: Option<Protocol>) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), protocol)
}

/// Accepts one waiting client, whose socket does not block; `WouldBlock` if there is none.
pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    listener.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
}

/// Returns false once a listener's socket has been ended from outside.
pub(crate) fn is_listening(listener: &Socket) -> bool {
    match listener.is_listener() {
        Ok(listens) => listens,
        // An error such as EPERM (seccomp) or ENOPROTOOPT does not concern the socket. EBADF and ENOTSOCK mean that it is
        // gone.
        Err(error) => !matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK)),
    }
}

/// Returns the longest backlog that the system grants (net.core.somaxconn).
pub(crate) fn most_backlog() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// Returns true if an urgent byte may lie ahead. Nothing clears this readiness, so it is set at any time before the byte.
pub(crate) fn may_have_urgent_byte(socket: &AsyncFd<Socket>) -> bool {
    socket.try_io(Interest::PRIORITY, |_| Ok(())).is_ok()
}

/// Copies bytes that have come into `buffer`, and leaves them in the socket (MSG_PEEK of recv(2)).
pub(crate) fn peek(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, rustix::net::RecvFlags::PEEK)?.1)
}

/// Removes bytes from a TCP socket without copying them (MSG_TRUNC of tcp(7)): as many as the buffer has, which stays as it
/// is. Returns their number.
pub(crate) fn consume(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, rustix::net::RecvFlags::TRUNC)?.1)
}

/// Disconnects a connected TCP socket, which resets it at once, without waiting for the last close. Returns whether the
/// kernel did.
pub(crate) fn disconnect(socket: &Socket) -> bool {
    rustix::net::connect_unspec(socket).is_ok()
}

/// Returns true if unread bytes wait in the kernel.
pub(crate) fn has_unread(socket: &Socket) -> bool {
    rustix::io::ioctl_fionread(socket).is_ok_and(|unread| unread > 0)
}

/// Sets how long written bytes may stay unacknowledged before the kernel gives the peer up (TCP_USER_TIMEOUT, tcp(7)).
pub(crate) fn set_unacknowledged_limit(socket: &Socket, limit: Duration) {
    // No option is worth a connection.
    let _ = socket.set_tcp_user_timeout(Some(limit));
}

/// Returns the number of bytes that the peer's kernel has not acknowledged yet (SIOCOUTQ, tcp(7)); for a Unix socket, of
/// bytes that the peer has not read yet. Where that call is refused, returns the number of segments in flight; 0 if that is
/// unknown too.
pub(crate) fn unacknowledged(socket: &Socket) -> usize {
    let socket = socket.as_fd();
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for the borrow's time, and SIOCOUTQ (= TIOCOUTQ) writes one int, which `bytes` is.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if status < 0 {
        return information(socket).map_or(0, |information| usize::try_from(information.tcpi_unacked).unwrap_or(usize::MAX));
    }
    usize::try_from(bytes).unwrap_or(0)
}

/// Returns for how long the peer's kernel has acknowledged nothing.
pub(crate) fn last_acknowledgement(socket: &Socket) -> Option<Duration> {
    information(socket.as_fd()).ok().map(|information| Duration::from_millis(information.tcpi_last_ack_recv.into()))
}

/// Returns how long ago bytes were last sent, and received; since the connection was made if none were.
pub(crate) fn last_data(socket: &Socket) -> Option<(Duration, Duration)> {
    let ago = |milliseconds: u32| Duration::from_millis(milliseconds.into());
    information(socket.as_fd()).ok().map(|info| (ago(info.tcpi_last_data_sent), ago(info.tcpi_last_data_recv)))
}

/// Reads the kernel's state of a connection (TCP_INFO, tcp(7)).
fn information(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or(0);
    // SAFETY: the descriptor is open for the borrow's time, and the option writes no more than `size` bytes, which `info` has.
    let status =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut size) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
}

/// Sets how many bytes must have come before the kernel reports a socket readable (SO_RCVLOWAT, socket(7)). Returns whether
/// it did.
pub(crate) fn set_low_water(socket: &Socket, bytes: usize) -> bool {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes).is_ok()
}

/// Lets `bind` fix the source address but leave the port to `connect`, which may then use one port towards many upstreams
/// (IP_BIND_ADDRESS_NO_PORT, ip(7)). Otherwise every connection would take a port of its own from the whole range.
pub(crate) fn bind_address_no_port(socket: &Socket) {
    let _ = set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
}

/// Returns the process that has connected a Unix socket (SO_PEERCRED, unix(7)); 0 for one outside of this one's PID namespace.
pub(super) fn peer_process(socket: &Socket) -> io::Result<libc::pid_t> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = libc::socklen_t::try_from(size_of_val(&peer)).unwrap_or(0);
    // SAFETY: the descriptor is open for the borrow's time, and the option writes no more than `size` bytes, which `peer` has.
    let status = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut size)
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(peer.pid) }
}

/// Binds a Unix socket to a name of the system's choice before it connects, so that its listener can tell it from others.
pub(crate) fn name_unix_socket(socket: &Socket) -> io::Result<()> {
    socket.bind(&SockAddr::unix("")?)
}

/// Lets a listener drop the first packet of every new client, so that nobody connects between the last accept and its end: the
/// client's kernel tries again after a second (SO_ATTACH_FILTER, socket(7)). With `false` it listens again.
pub(crate) fn deafen(socket: &Socket, is_deaf: bool) {
    // For classic BPF (linux/filter.h) the packet begins with the TCP header, whose byte 13 has the flags: SYN is 2. Other
    // packets pass: they end handshakes that have begun.
    let without_syn = [
        SockFilter::new(BPF_LD_B_ABS, 0, 0, 13),
        SockFilter::new(BPF_JSET, 0, 1, 2),
        SockFilter::new(BPF_RET, 0, 0, 0),
        SockFilter::new(BPF_RET, 0, 0, u32::MAX),
    ];
    let _ = if is_deaf { socket.attach_filter(&without_syn) } else { socket.detach_filter() };
}

/// Loads a byte of the packet.
const BPF_LD_B_ABS: u16 = 0x30;

/// Jumps by whether any of these bits are set.
const BPF_JSET: u16 = 0x45;

/// Returns how many bytes of the packet are accepted.
const BPF_RET: u16 = 0x06;

/// Sets an option that is one int.
fn set(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the descriptor is open for the borrow's time, and the call only reads `size` bytes, which `value` has.
    let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns unused memory of the allocator to the system (malloc_trim(3)). Takes milliseconds.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back_memory() {
    // SAFETY: the call takes the allocator's own locks, and has no other condition.
    unsafe { libc::malloc_trim(0) };
}

/// Does nothing: other allocators do that by themselves, or not at all.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back_memory() {}
