//! The parts of a hello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2). Every length has to fit exactly: what is left over, or missing,
//! is refused.

use super::{
    bytes::Bytes,
    client_hello::{ClientHello, Version},
    extensions,
    refusal::Refusal,
};

/// The bytes of the random number of a client.
const RANDOM: usize = 32;
/// Maximum bytes of the number of a session.
const MOST_SESSION: usize = 32;

/// Reads the contents of the message.
pub(super) fn read(contents: &[u8]) -> Result<ClientHello, Refusal> {
    let mut rest = Bytes(contents);
    let version = rest.number().ok_or(Refusal::Broken("it has no version"))?;
    if version >> 8 != 3 {
        return Err(Refusal::Broken("its version is none of TLS"));
    }
    rest.take(RANDOM).ok_or(Refusal::Broken("it ends in its random number"))?;
    let session = rest.short().ok_or(Refusal::Broken("it ends in the number of its session"))?;
    if session.0.len() > MOST_SESSION {
        return Err(Refusal::Broken("the number of its session is longer than 32 bytes"));
    }
    let suites = rest.long().and_then(Bytes::numbers).ok_or(Refusal::Broken("its list of cipher suites is none"))?;
    let compression = rest.short().ok_or(Refusal::Broken("it ends in its compression methods"))?;
    if compression.is_empty() {
        return Err(Refusal::Broken("it has no compression method"));
    }
    let mut hello = ClientHello {
        server_name: None,
        versions: Vec::new(),
        cipher_suites: suites,
        protocols: Vec::new(),
        extensions: Vec::new(),
        signatures: Vec::new(),
    };
    // Clients of before 2003 have no extensions, and not even the length of them.
    if !rest.is_empty() {
        let all = rest.long().filter(|_| rest.is_empty()).ok_or(Refusal::Broken("the length of its extensions is wrong"))?;
        extensions::read(all, &mut hello)?;
    }
    if hello.versions.is_empty() {
        hello.versions = vec![Version(version)];
    }
    Ok(hello)
}
