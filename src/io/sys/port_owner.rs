//! The owner of a listener, as far as this user may see it, for the message of a failed bind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use super::owner::Owner;
use crate::words::addr::Address;

/// Returns the process that listens on `address`, as far as the system shows it to this user.
pub(crate) fn owner_of(address: &Address) -> Option<Owner> {
    let inodes: Vec<String> = match address {
        Address::Inet { port, .. } => tcp_inodes(&wanted(address), *port),
        Address::Unix(path) => unix_inodes(path),
        Address::Descriptor(_) => Vec::new(),
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
    Some(Owner::Other(format!("{} (pid {pid})", crate::words::error::printable(name.trim()))))
}

/// Returns true if a process has one of these sockets open.
fn owns(pid: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|link| {
        let link = link.to_string_lossy();
        inodes.iter().any(|inode| *link == format!("socket:[{inode}]"))
    })
}

/// Returns the IP addresses that a bind to `address` takes. Blocks during a lookup of a name.
fn wanted(address: &Address) -> Vec<IpAddr> {
    let Address::Inet { host, port } = address else { return Vec::new() };
    match address.ip() {
        Some(ip) => vec![ip],
        None if address.is_localhost() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        None => (host.as_str(), *port).to_socket_addrs().map_or_else(|_| Vec::new(), |all| all.map(|at| at.ip()).collect()),
    }
}

/// Returns the inodes of the sockets that listen on `port` and conflict with one of these addresses, from the kernel's tables
/// (proc_pid_net(5)): only those with the smallest [`distance`].
fn tcp_inodes(wanted: &[IpAddr], port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| listener_in(line, port));
    let mut found: Vec<(u8, String)> = rows
        .filter_map(|(taken, inode)| Some((wanted.iter().filter_map(|ip| distance(taken, *ip)).min()?, inode.to_owned())))
        .collect();
    let nearest = found.iter().map(|(distance, _)| *distance).min();
    found.retain(|(distance, _)| Some(*distance) == nearest);
    found.into_iter().map(|(_, inode)| inode).collect()
}

/// Returns the address and the inode in a line of a table, if it describes a listener on `port`.
fn listener_in(line: &str, port: u16) -> Option<(IpAddr, &str)> {
    const LISTEN: &str = "0A";
    let mut columns = line.split_ascii_whitespace();
    let (ip, at) = columns.nth(1)?.split_once(':')?;
    let (state, inode) = (columns.nth(1)?, columns.nth(5)?);
    (state == LISTEN && u16::from_str_radix(at, 16) == Ok(port)).then_some(())?;
    Some((address_in(ip)?, inode))
}

/// Parses an address of the tables: 32-bit words as numbers in this machine's byte order, in hexadecimal digits.
fn address_in(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(digits.get(8 * at..8 * at + 8)?, 16).ok()?.to_ne_bytes());
    if digits.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let bytes: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical())
}

/// Returns how far a listener's address is from an address that cannot be bound: 0 is equal. `None` if the two do not
/// conflict.
fn distance(taken: IpAddr, wanted: IpAddr) -> Option<u8> {
    let of_one_family = taken.is_ipv4() == wanted.is_ipv4();
    if taken == wanted {
        Some(0)
    } else if of_one_family && (taken.is_unspecified() || wanted.is_unspecified()) {
        Some(1)
    } else {
        // [::] may serve IPv4 too.
        let serves_both = |ip: IpAddr| ip.is_ipv6() && ip.is_unspecified();
        (!of_one_family && (serves_both(taken) || serves_both(wanted))).then_some(2)
    }
}

/// Returns the inodes of the Unix sockets that are bound to `path`.
fn unix_inodes(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let bound = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let inode = columns.nth(6)?;
        (columns.next()? == path).then(|| inode.to_owned())
    };
    text.lines().skip(1).filter_map(bound).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_in_the_way_of_its_own_address_and_of_a_wildcard() {
        let between = |taken: &str, wanted: &str| distance(taken.parse().unwrap(), wanted.parse().unwrap());
        for (taken, wanted, expected) in [
            ("127.0.0.1", "127.0.0.1", Some(0)),
            ("127.0.0.2", "127.0.0.1", None),
            ("0.0.0.0", "127.0.0.1", Some(1)),
            ("127.0.0.2", "0.0.0.0", Some(1)),
            ("::", "127.0.0.1", Some(2)),
            ("127.0.0.1", "::", Some(2)),
            ("::1", "127.0.0.1", None),
            ("::1", "0.0.0.0", None),
            ("0.0.0.0", "::1", None),
        ] {
            assert_eq!(between(taken, wanted), expected, "{taken} {wanted}");
        }
    }

    #[test]
    fn the_tables_lines_are_read_as_the_kernel_writes_them() {
        let line = |ip: &str, state: &str| format!("   0: {ip}:1F90 00000000:0000 {state} 0:0 00:0 0 0 0 4711 1 0 100");
        let little = |ip: &'static str| if cfg!(target_endian = "little") { ip } else { "7F000001" };
        let v4 = line(little("0100007F"), "0A");
        assert_eq!(listener_in(&v4, 8080), Some(("127.0.0.1".parse().unwrap(), "4711")));
        assert_eq!(listener_in(&v4, 8081), None);
        assert_eq!(listener_in(&line("00000000", "01"), 8080), None);
        let v6 = line(&format!("{:032X}", 0), "0A");
        assert_eq!(listener_in(&v6, 8080), Some(("::".parse().unwrap(), "4711")));
    }
}
