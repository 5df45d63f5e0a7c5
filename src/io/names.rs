//! The name of a socket, from the address that the system returns for it.

use socket2::SockAddr;

use crate::words::addr::SocketName;

/// Returns the name for an address that the system has returned: address and port, a path, or `@` before an abstract name. An
/// unnamed Unix socket, as most clients' are, has the empty path.
pub(crate) fn socket_name(address: &SockAddr) -> SocketName {
    if let Some(address) = address.as_socket() {
        return address.into();
    }
    #[cfg(unix)]
    if let Some(name) = address.as_abstract_namespace() {
        return SocketName::Unix(format!("@{}", String::from_utf8_lossy(name)));
    }
    #[cfg(unix)]
    if let Some(path) = address.as_pathname() {
        return SocketName::Unix(path.to_string_lossy().into_owned());
    }
    SocketName::Unix(String::new())
}
