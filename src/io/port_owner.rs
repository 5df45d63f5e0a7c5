//! Who listens on an address, as far as this user may see: for the message of a failed bind.

#[cfg(target_os = "linux")]
use crate::addr::Address;

/// A listener's owner.
pub(super) enum Owner {
    /// This process, or one that shares its descriptors.
    Us,
    /// `python3 (pid 4711)`
    Other(String),
}

/// Who listens on `address`, if the system tells.
#[cfg(target_os = "linux")]
pub(super) fn owner_of(address: &Address) -> Option<Owner> {
    let inodes: Vec<String> = match address {
        Address::Inet { port, .. } => {
            ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| tcp_inodes(table, *port)).collect()
        }
        Address::Unix(path) => unix_inodes(path),
    };
    if inodes.is_empty() {
        return None;
    }
    if owns(std::process::id(), &inodes) {
        return Some(Owner::Us);
    }
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let pid = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| owns(*pid, &inodes))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Owner::Other(format!("{} (pid {pid})", crate::error::printable(name.trim()))))
}

/// Whether a process has one of these sockets open.
#[cfg(target_os = "linux")]
fn owns(pid: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|link| {
        let link = link.to_string_lossy();
        inodes.iter().any(|inode| *link == format!("socket:[{inode}]"))
    })
}

/// The inodes of the sockets that listen on `port` in one of the kernel's tables (proc_pid_net(5)).
#[cfg(target_os = "linux")]
fn tcp_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let listens = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let local = columns.nth(1)?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?;
        (state == LISTEN && local.ends_with(&format!(":{port:04X}"))).then(|| inode.to_owned())
    };
    text.lines().skip(1).filter_map(listens).collect()
}

/// The inodes of the Unix sockets that are bound to `path`.
#[cfg(target_os = "linux")]
fn unix_inodes(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let bound = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let inode = columns.nth(6)?;
        (columns.next()? == path).then(|| inode.to_owned())
    };
    text.lines().skip(1).filter_map(bound).collect()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn owner_of(_: &crate::addr::Address) -> Option<Owner> {
    None
}
