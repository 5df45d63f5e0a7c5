//! One lookup by the system's own resolver.

use std::{io, net::SocketAddr};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};

use super::{errno::is_exhaustion, name_cache::Answer, reserve::Descriptor};
use crate::words::{
    error::reason_text,
    outcome::{CloseReason, Outcome},
};

/// Returns every address of `host`. Blocks for as long as the system waits for name servers.
///
/// Checks before and after the lookup that a descriptor is free: without one, a system's resolver may answer that the name
/// does not exist.
pub(super) fn look_up(host: &str) -> Answer {
    spare_descriptor(host)?;
    ask_system(host).or_else(|failed| spare_descriptor(host).and(Err(failed)))
}

fn spare_descriptor(host: &str) -> Result<(), Outcome> {
    match Descriptor::new() {
        Err(error) if is_exhaustion(&error) => Err(exhausted(host, error)),
        _ => Ok(()),
    }
}

fn exhausted(host: &str, error: io::Error) -> Outcome {
    let Outcome { reason, error, .. } = Outcome::from_connect(error);
    Outcome::explained(reason, format!("{host:?} cannot be looked up: {}", error.unwrap_or_default()))
}

fn ask_system(host: &str) -> Answer {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let failed = |reason, why: String| Err(Outcome::explained(reason, format!("{host:?} {why}")));
    match getaddrinfo(Some(host), None, Some(hints)) {
        Ok(found) => {
            let addresses: io::Result<Vec<SocketAddr>> = found.map(|entry| entry.map(|info| info.sockaddr)).collect();
            match addresses {
                Ok(addresses) if !addresses.is_empty() => Ok(addresses.into()),
                Ok(_) => failed(CloseReason::NameNotFound, "has no address".into()),
                Err(error) => failed(CloseReason::ResolveFailed, format!("cannot be looked up: {}", reason_text(&error))),
            }
        }
        Err(error) => match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => {
                failed(CloseReason::NameNotFound, "does not resolve: no such name".into())
            }
            LookupErrorKind::Again => failed(CloseReason::ResolveFailed, "cannot be looked up: no name server answered".into()),
            _ => match io::Error::from(error) {
                error if is_exhaustion(&error) => Err(exhausted(host, error)),
                error => failed(CloseReason::ResolveFailed, format!("cannot be looked up: {}", reason_text(&error))),
            },
        },
    }
}
