//! Addresses: the text that a person writes, and the name of a socket.

mod parse;
mod slip;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::words::error::{Error, ErrorKind, printable};

/// Where to listen or connect, as the user has written it. A host may be a name; nothing is looked up here.
///
/// The grammar, which API and command line share:
///
/// | text | means |
/// |---|---|
/// | `9090` | port 9090 of 127.0.0.1 |
/// | `host:9090` | a name or an IPv4 address, and a port |
/// | `[::1]:9090` | an IPv6 address, and a port |
/// | `unix:/path` | a Unix socket |
/// | `unix:@name` | a Unix socket in Linux's abstract namespace |
/// | `fd:3` | for a listener: the socket that this process was started with as descriptor 3 |
///
/// ```
/// use interpose::words::addr::Address;
/// let address: Address = "[::1]:9090".parse().unwrap();
/// assert_eq!(address, Address::Inet { host: "::1".into(), port: 9090 });
/// assert_eq!(address.to_string(), "[::1]:9090");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host (name or IP address, never bracketed) and a TCP port.
    Inet {
        /// Name, IPv4 or IPv6 address.
        host: String,
        /// TCP port; 0 requests any free port, and is valid for a listener only.
        port: u16,
    },
    /// A path, or `@` and an abstract name.
    Unix(String),
    /// A descriptor of this process: a socket that listens already, or is bound. Valid for a listener only.
    Descriptor(u32),
}

/// The host of an address that is a port alone.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Address {
    /// Returns the host, as it was given; `None` for a Unix socket and a descriptor.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Inet { host, .. } => Some(host),
            Self::Unix(_) | Self::Descriptor(_) => None,
        }
    }

    /// Returns the IP address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet { host, .. } => host.parse().ok(),
            Self::Unix(_) | Self::Descriptor(_) => None,
        }
    }

    /// Returns true for the name of this machine to itself, which is not looked up (RFC 6761 section 6.3).
    pub(crate) fn is_localhost(&self) -> bool {
        matches!(self, Self::Inet { host, .. } if host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost"))
    }

    /// Returns true if the host has to be looked up.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self, Self::Inet { .. }) && self.ip().is_none()
    }

    /// Returns the socket address, if the host is an IP address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet { host, port } => host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, *port)),
            Self::Unix(_) | Self::Descriptor(_) => None,
        }
    }
}

fn wrong(text: &str, why: &str) -> Error {
    let message = format!("address {:?}: {why}; write 9090, host:9090, [::1]:9090 or unix:/path", printable(text));
    Error::new(ErrorKind::Address, message)
}

/// Checks that a host is an IP address (IPv6 with an optional zone) or a name that a resolver could know.
fn check_host(host: &str, whole: &str) -> Result<(), Error> {
    if host.is_empty() {
        return Err(wrong(whole, "the host is empty (127.0.0.1 is this machine only, 0.0.0.0 or [::] is every interface)"));
    }
    if host == "*" {
        return Err(wrong(whole, "\"*\" is not a host (0.0.0.0 or [::] is every interface)"));
    }
    if host.contains(':') {
        let (ip, zone) = host.split_once('%').unwrap_or((host, "-"));
        if ip.parse::<std::net::Ipv6Addr>().is_err() || zone.is_empty() {
            return Err(wrong(whole, "the host is neither a name nor an IP address"));
        }
        return Ok(());
    }
    // 0x7f.1, 017700000001 and 127.1 mean different hosts to different resolvers: only dotted quads are addresses.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) && is_number(last) && host.parse::<Ipv4Addr>().is_err() {
        return Err(wrong(whole, "the host is not an IPv4 address of four numbers from 0 to 255"));
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if host.len() > 253 || !host.chars().all(plain) || host.starts_with('.') || host.contains("..") {
        return Err(wrong(whole, "the host is neither a name nor an IP address"));
    }
    Ok(())
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hex.map_or_else(|| label.chars().all(|c| c.is_ascii_digit()), |digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
}

fn parse_port(port: &str, whole: &str) -> Result<u16, Error> {
    if port.is_empty() {
        return Err(wrong(whole, "the port is missing"));
    }
    if !port.chars().all(|c| c.is_ascii_digit()) {
        return Err(wrong(whole, "the port is not a number"));
    }
    port.parse().map_err(|_| wrong(whole, "the port is not between 0 and 65535"))
}

/// Parses the path of a Unix socket, which has to fit `sun_path` (108 bytes with the closing NUL on Linux).
fn parse_unix(path: &str, whole: &str) -> Result<Address, Error> {
    if matches!(path, "" | "@") {
        return Err(wrong(whole, "the path is empty (unix:/run/app.sock, or unix:@name in Linux's abstract namespace)"));
    }
    if path.contains('\0') {
        return Err(wrong(whole, "the path has a NUL character"));
    }
    if path.len() > 107 {
        return Err(wrong(whole, "the path is longer than the 107 bytes a Unix socket's name may have"));
    }
    Ok(Address::Unix(path.to_owned()))
}

/// Parses the number of a descriptor. 0 to 2 are standard input, output and error.
fn parse_descriptor(number: &str, whole: &str) -> Result<Address, Error> {
    let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    match number.parse::<i32>() {
        Ok(number) if digits && number > 2 => Ok(Address::Descriptor(number.unsigned_abs())),
        _ => Err(wrong(whole, "behind fd: stands the number of a descriptor, 3 or more (fd:3)")),
    }
}

impl Address {
    /// Parses `text`, or returns an error that names the broken rule.
    fn read(text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("unix:") {
            return parse_unix(path, text);
        }
        if let Some(number) = text.strip_prefix("fd:") {
            return parse_descriptor(number, text);
        }
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            return Ok(Self::Inet { host: LOOPBACK.to_string(), port: parse_port(text, text)? });
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once("]:").ok_or_else(|| wrong(text, "the port is missing"))?;
            if !host.contains(':') {
                return Err(wrong(text, "only an IPv6 address stands in brackets"));
            }
            check_host(host, text)?;
            return Ok(Self::Inet { host: host.to_owned(), port: parse_port(port, text)? });
        }
        match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => Err(wrong(text, "an IPv6 address needs brackets")),
            Some((host, port)) => {
                check_host(host, text)?;
                Ok(Self::Inet { host: host.to_owned(), port: parse_port(port, text)? })
            }
            None => Err(wrong(text, "the port is missing")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Inet { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", printable(path)),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

/// The name of a socket, as `getsockname` or `getpeername` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SocketName {
    /// IP address and port.
    Inet(SocketAddr),
    /// A path, `@` and an abstract name, or an empty text for an unnamed Unix socket.
    Unix(String),
}

impl SocketName {
    /// Returns the IP address and port, unless this is a Unix socket.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", printable(path)),
        }
    }
}

impl From<SocketAddr> for SocketName {
    /// Names an IPv4 client of a dual-stack listener by its IPv4 address (RFC 4291 section 2.5.5.2).
    fn from(address: SocketAddr) -> Self {
        Self::Inet(SocketAddr::new(address.ip().to_canonical(), address.port()).with_scope_of(address))
    }
}

trait WithScope {
    fn with_scope_of(self, other: SocketAddr) -> SocketAddr;
}

impl WithScope for SocketAddr {
    fn with_scope_of(mut self, other: SocketAddr) -> SocketAddr {
        if let (SocketAddr::V6(mine), SocketAddr::V6(theirs)) = (&mut self, other) {
            mine.set_scope_id(theirs.scope_id());
        }
        self
    }
}

impl From<SocketName> for Address {
    fn from(name: SocketName) -> Self {
        match name {
            SocketName::Inet(address) => address.into(),
            SocketName::Unix(path) => Self::Unix(path),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            other => other.ip().to_string(),
        };
        Self::Inet { host, port: address.port() }
    }
}
