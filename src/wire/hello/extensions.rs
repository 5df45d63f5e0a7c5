//! The parts of the extensions of a hello. Each kind may be there once (RFC 8446 §4.2).

use super::{
    bytes::{Bytes, is_grease},
    client_hello::{ClientHello, PROTOCOLS, SERVER_NAME, Version},
    refusal::Refusal,
    server_name::ServerName,
};

const SIGNATURES: u16 = 13;
const VERSIONS: u16 = 43;

/// The type of a server's name that is the name of a host, the only one there is (RFC 6066 §3).
const HOST: u8 = 0;

/// Reads all extensions into `hello`.
pub(super) fn read(all: Bytes<'_>, hello: &mut ClientHello) -> Result<(), Refusal> {
    let mut rest = all;
    while !rest.is_empty() {
        let (kind, contents) = rest.number().zip(rest.long()).ok_or(Refusal::Broken("it ends in an extension"))?;
        if is_grease(kind) {
            continue;
        }
        hello.extensions.push(kind);
        match kind {
            SERVER_NAME => hello.server_name = Some(server_name(contents)?),
            PROTOCOLS => hello.protocols = protocols(contents).ok_or(Refusal::Broken("its list of protocols (ALPN) is none"))?,
            SIGNATURES => {
                hello.signatures = list(contents, Bytes::long).ok_or(Refusal::Broken("its list of signatures is none"))?;
            }
            VERSIONS => {
                let versions = list(contents, Bytes::short).ok_or(Refusal::Broken("its list of versions is none"))?;
                hello.versions = versions.into_iter().map(Version).collect();
            }
            _ => {}
        }
    }
    let mut kinds = hello.extensions.clone();
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::Broken("it has an extension twice"));
    }
    Ok(())
}

/// Returns the numbers of an extension that is one list of them, behind its length.
fn list<'a>(mut contents: Bytes<'a>, length: impl Fn(&mut Bytes<'a>) -> Option<Bytes<'a>>) -> Option<Vec<u16>> {
    length(&mut contents).filter(|_| contents.is_empty())?.numbers()
}

fn server_name(mut contents: Bytes<'_>) -> Result<ServerName, Refusal> {
    const BROKEN: Refusal = Refusal::Broken("its list of server names is none");
    let mut names = contents.long().filter(|_| contents.is_empty()).ok_or(BROKEN)?;
    let kind = names.byte().ok_or(BROKEN)?;
    if kind != HOST {
        return Err(Refusal::BadName("it is of a kind that does not exist"));
    }
    let name = names.long().ok_or(BROKEN)?;
    if !names.is_empty() {
        return Err(Refusal::BadName("there is more than one"));
    }
    ServerName::of_wire(name.0).map_err(Refusal::BadName)
}

/// Returns the list of protocols as it is, without GREASE, if each of them has a name.
fn protocols(mut contents: Bytes<'_>) -> Option<Vec<u8>> {
    let mut names = contents.long().filter(|_| contents.is_empty())?;
    if names.is_empty() {
        return None;
    }
    let mut kept = Vec::with_capacity(names.0.len());
    while !names.is_empty() {
        let whole = names.0;
        let name = names.short().filter(|name| !name.is_empty())?;
        if !<[u8; 2]>::try_from(name.0).is_ok_and(|name| is_grease(u16::from_be_bytes(name))) {
            kept.extend_from_slice(&whole[..=name.0.len()]);
        }
    }
    Some(kept)
}
