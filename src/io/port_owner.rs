//! Who listens on a port, as far as this user may see: for the message of a failed bind.

/// `python3 (pid 4711)`, if the system tells.
#[cfg(target_os = "linux")]
pub(super) fn owner_of(port: u16) -> Option<String> {
    let inodes: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| listening_inodes(table, port)).collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let owns = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|link| {
            let link = link.to_string_lossy().into_owned();
            inodes.iter().any(|inode| link == format!("socket:[{inode}]"))
        });
        let name = owns.then(|| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default())?;
        Some(format!("{} (pid {pid})", crate::error::printable(name.trim())))
    })
}

/// The inodes of the sockets that listen on `port` in one of the kernel's tables (proc_pid_net(5)).
#[cfg(target_os = "linux")]
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
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

#[cfg(not(target_os = "linux"))]
pub(super) fn owner_of(_: u16) -> Option<String> {
    None
}
