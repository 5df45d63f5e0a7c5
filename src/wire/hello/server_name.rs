//! The name of a server as clients ask for it (SNI), in its one spelling: names that are equal for DNS are equal here.

use std::{borrow::Borrow, fmt, net::Ipv4Addr};

/// Maximum bytes of a name (RFC 1035 §2.3.4, without the length bytes of the wire).
const MOST_NAME: usize = 253;
/// Maximum bytes of a part of a name.
const MOST_LABEL: usize = 63;

/// The name of a host: labels of ASCII letters, digits, hyphens and underscores, in lower case, without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(Box<str>);

impl ServerName {
    /// Returns the name that a text is, or why it is none. A dot at its end is dropped.
    pub fn of_text(text: &str) -> Result<Self, &'static str> {
        Self::of_wire(text.as_bytes())
    }

    /// Returns the name that these bytes of a client are, or why they are none.
    pub(super) fn of_wire(bytes: &[u8]) -> Result<Self, &'static str> {
        let name = bytes.strip_suffix(b".").unwrap_or(bytes);
        if name.is_empty() {
            return Err("it is empty");
        }
        if name.len() > MOST_NAME {
            return Err("it is longer than 253 bytes");
        }
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let Some(text) = std::str::from_utf8(name).ok().filter(|_| name.iter().all(fits)) else {
            return Err(match name {
                _ if name.contains(&0) => "it has a zero byte in it",
                _ if !name.is_ascii() => "it is not ASCII: names of other letters are asked for as xn--...",
                _ if name.contains(&b':') => "it is an address, or has a port",
                _ => "it has characters in it that no host's name has",
            });
        };
        if text.split('.').any(|label| label.is_empty() || label.len() > MOST_LABEL) {
            return Err("a part of it is empty, or longer than 63 bytes");
        }
        // 127.1 and 2130706433 are addresses as well, for many programs.
        let last = text.rsplit('.').next().unwrap_or_default();
        if text.parse::<Ipv4Addr>().is_ok() || last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("it is an address");
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Returns the names above, the longest first: of `a.b.example` these are `b.example` and `example`.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(above(&self.0), |name| above(name))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn above(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, above)| above)
}

impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
