//! Addresses that stand for Unix sockets in a capture, which has no others than those of IP.
//!
//! | socket | address | port |
//! |---|---|---|
//! | of a client | 192.0.2.1 | 1024 and the connection's number, in a circle |
//! | that clients connect to | 192.0.2.2 | of its path |
//! | that connects to the upstream | 192.0.2.3 | 1024 and the connection's number, in a circle |
//! | of the upstream | 192.0.2.4 | of its path |
//!
//! 192.0.2.0/24 is for documentation (RFC 5737), so no packet of a network has such an address. The port of a path is the
//! number at its end, such as 5432 of `.s.PGSQL.5432`; without one it is 1.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::words::addr::SocketName;

/// The part of a socket in a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The socket of a client.
    Client = 1,
    /// The socket that a client has connected to.
    Listener = 2,
    /// The socket that connects to the upstream.
    Connecting = 3,
    /// The socket of the upstream.
    Upstream = 4,
}

/// Returns the address that a capture has for `name`, in a connection of this number.
pub fn address(name: &SocketName, part: Part, connection: u64) -> SocketAddr {
    let path = match name {
        SocketName::Inet(address) => return *address,
        SocketName::Unix(path) => path,
    };
    let port = match part {
        Part::Client | Part::Connecting => u16::try_from(1024 + connection % (65_536 - 1024)).unwrap_or(1024),
        Part::Listener | Part::Upstream => port_of(path),
    };
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, part as u8), port).into()
}

fn port_of(path: &str) -> u16 {
    let digits = path.len() - path.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    path[path.len() - digits..].parse().ok().filter(|port| *port > 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_sockets_get_addresses_of_documentation_and_others_keep_theirs() {
        let unix = |path: &str, part, number| address(&SocketName::Unix(path.to_owned()), part, number).to_string();
        assert_eq!(unix("", Part::Client, 7), "192.0.2.1:1031");
        assert_eq!(unix("", Part::Client, 64_512 + 7), "192.0.2.1:1031");
        assert_eq!(unix("", Part::Connecting, u64::MAX), "192.0.2.3:2047");
        assert_eq!(unix("/run/.s.PGSQL.5432", Part::Upstream, 7), "192.0.2.4:5432");
        for path in ["/run/redis.sock", "@name", "", "/run/0", "/run/65536"] {
            assert_eq!(unix(path, Part::Listener, 7), "192.0.2.2:1");
        }
        let inet: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(address(&inet.into(), Part::Client, 7), inet);
    }
}
