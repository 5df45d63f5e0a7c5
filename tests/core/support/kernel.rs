//! What only the kernel knows: bytes on their way, sockets of a state, the processor time of a thread.
#![allow(unsafe_code)] // one ioctl that no safe crate offers

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
};

/// Bytes sent on this socket that the other kernel has not acknowledged.
pub fn unacknowledged(stream: &TcpStream) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open while `stream` is borrowed, and TIOCOUTQ writes one int, which `bytes` is.
    let status = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(status, 0, "TIOCOUTQ: {}", std::io::Error::last_os_error());
    u64::try_from(bytes).unwrap()
}

/// States of `/proc/net/tcp`.
pub const SYN_SENT: &str = "02";
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// How many IPv4 sockets have this in column `column` of `/proc/net/tcp` (1 is the local, 2 the remote address), and
/// this state. The table may be long, with TIME_WAIT, so a line is looked at no more than needed.
fn count_ipv4(column: usize, address: SocketAddr, state: &str) -> usize {
    let (table, wanted) = (fs::read_to_string("/proc/net/tcp").unwrap(), in_table(address));
    let matches = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(column);
        fields.next() == Some(wanted.as_str()) && fields.nth(2 - column) == Some(state)
    };
    table.lines().filter(|line| line.contains(&wanted)).filter(matches).count()
}

/// An address as the table has it.
fn in_table(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address} is not an IPv4 address") };
    format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port())
}

/// How many IPv4 sockets are in `state` towards `remote`.
pub fn sockets_towards(remote: SocketAddr, state: &str) -> usize {
    count_ipv4(2, remote, state)
}

/// Whether a listener (of any process) is at this IPv4 address. Asking by a connect would make a client of us.
pub fn is_listening(at: SocketAddr) -> bool {
    count_ipv4(1, at, LISTEN) > 0
}

/// How many IPv4 sockets have this address at their end, and a timer that runs while nothing is to be sent, which is
/// keepalive's.
pub fn sockets_with_keepalive(local: SocketAddr) -> usize {
    let (table, wanted) = (fs::read_to_string("/proc/net/tcp").unwrap(), in_table(local));
    let matches = |line: &&str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        fields[1] == wanted && fields[3] == ESTABLISHED && fields[5].starts_with("02:")
    };
    table.lines().filter(|line| line.contains(&wanted)).filter(matches).count()
}

/// The threads of this process whose name starts with `prefix`.
pub fn threads_named(prefix: &str) -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let named = |id: &u32| fs::read_to_string(format!("/proc/self/task/{id}/comm")).is_ok_and(|name| name.starts_with(prefix));
    ids.filter(named).collect()
}

/// How many descriptors this process has open (the one that reads the list included).
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Bytes of this process that are in memory and its own: not those of files, such as code that runs for the first time.
pub fn private_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB")).unwrap();
    kib.trim().parse::<u64>().unwrap() * 1024
}

/// Whether a thread runs, or would if there were a processor for it, at this moment. One that waits does not.
pub fn is_running(thread: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    // The name before the state is in parentheses, and may have any character in it.
    stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('R'))
}

/// What a thread has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub cpu: std::time::Duration,
    /// Times that it went to sleep by itself, so about as often it was woken.
    pub sleeps: u64,
}

pub fn usage(thread: u32) -> Usage {
    let schedstat = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    let nanoseconds = schedstat.split_whitespace().next().unwrap().parse().unwrap();
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    Usage { cpu: std::time::Duration::from_nanos(nanoseconds), sleeps: sleeps.trim().parse().unwrap() }
}
