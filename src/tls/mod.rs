//! TLS without a socket: certificates and keys, trust, the session of one side, and the words for failures.
//!
//! | file | contents |
//! |---|---|
//! | `files` | certificates and keys, read from PEM files |
//! | `terminate` | the settings of a listener that speaks TLS to its clients, and their reload |
//! | `intercept` | looking inside: the client is shown what its upstream has shown us |
//! | `mirrored` | the properties that the client has of the upstream then, and the upstream of the client |
//! | `originate` | the settings of a target that speaks TLS |
//! | `renewed` | settings made of files, made anew when those change |
//! | `tickets` | the sessions of upstreams that later connections continue |
//! | `trust` | the checks of an upstream's certificate |
//! | `authority` | the issuer of this user: one file, made at its first use |
//! | `mint` | certificates for the names that clients ask for |
//! | `start` | the TLS that begins amid a connection |
//! | `session` | the TLS of one side: bytes in, bytes out |
//! | `records` | the records of a session, and the memory that they pass through |
//! | `failure` | the ways a session fails, in one line each |
//! | `description` | the properties of an established session |
//! | `key_log` | the file of session secrets, for programs that decrypt captures |
//!
//! rustls with ring does the cryptography and the protocol. TLS 1.2 and 1.3; no renegotiation, no early data.

pub mod authority;
pub mod description;
pub(crate) mod failure;
pub(crate) mod files;
pub mod intercept;
pub mod key_log;
mod mint;
pub(crate) mod mirrored;
pub mod originate;
mod records;
mod renewed;
pub(crate) mod session;
pub mod start;
pub mod terminate;
mod tickets;
mod trust;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

use crate::words::error::{Error, ErrorKind};

/// How a stream of TLS that ends without the notice of its end (close_notify) is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Truncation {
    /// As a reset: nobody knows whether the rest was cut off.
    #[default]
    Reset,
    /// As an orderly end, for programs that never send the notice.
    Allow,
}

/// Returns the cryptography that every session uses.
fn provider() -> Arc<CryptoProvider> {
    use std::sync::OnceLock;
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// Maximum bytes of all names of protocols with a byte before each, so that a hello has room for the rest.
const MOST_ALPN: usize = 8 * 1024;

/// Checks names of protocols (ALPN) before a handshake is to carry them.
fn check_alpn(alpn: &[Vec<u8>]) -> Result<(), Error> {
    let message = if !alpn.iter().all(|name| (1..=255).contains(&name.len())) {
        "alpn: a name is empty or longer than 255 bytes; give names such as \"h2\" and \"http/1.1\""
    } else if alpn.iter().map(|name| 1 + name.len()).sum::<usize>() > MOST_ALPN {
        "alpn: its names have more than 8 KiB together; give those that are spoken"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Config, message))
}
