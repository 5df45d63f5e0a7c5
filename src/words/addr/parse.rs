//! Reads addresses as users write them. An error names the broken rule, or the slip and the address that was meant.

use std::str::FromStr;

use super::{Address, check_host, slip, wrong};
use crate::words::error::Error;

impl Address {
    /// Returns the address of a host as users write it (a name, an IP address with or without brackets) and a port.
    pub fn inet(host: &str, port: u16) -> Result<Self, Error> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        check_host(bare, host).map_err(|error| slip::of_host(host, port).map_or(error, |why| wrong(host, &why)))?;
        Ok(Self::Inet { host: bare.to_owned(), port })
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::read(text).map_err(|error| slip::of(text).map_or(error, |why| wrong(text, &why)))
    }
}
