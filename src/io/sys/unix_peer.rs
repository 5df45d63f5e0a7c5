//! Unix connections with both ends in this process: how one end finds the other.
//!
//! A Unix socket that connects has no name unless it is bound, so its listener cannot tell it from any other. The system
//! knows the connecting process (SO_PEERCRED), and the inode of the socket at the other end (sock_diag(7)).

use std::{io, io::Read, os::fd::AsFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::linux::peer_process;

/// Returns the inode of a socket, by which the other end knows it; 0 if the system does not say.
pub(crate) fn inode(socket: &Socket) -> u32 {
    // The kernel numbers the inodes of sockets in 32 bits, from 1.
    rustix::fs::fstat(socket.as_fd()).ok().and_then(|status| u32::try_from(status.st_ino).ok()).unwrap_or(0)
}

/// Returns the inode of the socket that has connected `accepted`, a Unix socket; 0 once that socket is closed. `None` if it
/// belongs to another process, or if the system does not say. For clients of other processes, which nearly all are, this is
/// one system call.
pub(crate) fn inode_of_client(accepted: &Socket) -> Option<u32> {
    let ours = i32::try_from(std::process::id()).ok();
    if peer_process(accepted).ok() != ours {
        return None;
    }
    inode_of_peer(accepted).ok()
}

/// Asks the kernel for the other end of a Unix socket (sock_diag(7)). Returns an error where that is forbidden, or unknown.
fn inode_of_peer(socket: &Socket) -> io::Result<u32> {
    let asks = Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM.nonblocking(), Some(Protocol::from(SOCK_DIAG)))?;
    asks.send(&question(inode(socket)))?;
    let mut answer = [0; 512];
    // Does not block: the kernel has queued the answer when the write of the request returns.
    let length = (&asks).read(&mut answer)?;
    peer_in(answer.get(..length).unwrap_or_default()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

// Constants of linux/netlink.h, linux/sock_diag.h and linux/unix_diag.h, which libc lacks in part.
const SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;
/// The lengths of nlmsghdr and unix_diag_msg, before the attributes of an answer.
const HEADER: usize = 16;
const MESSAGE: usize = 16;

/// Returns a netlink message that asks for one Unix socket, and its peer.
fn question(inode: u32) -> Vec<u8> {
    let any = u32::MAX.to_ne_bytes();
    let parts: [&[u8]; 10] = [
        &40_u32.to_ne_bytes(), // The length of it all.
        &SOCK_DIAG_BY_FAMILY.to_ne_bytes(),
        &NLM_F_REQUEST.to_ne_bytes(),
        &[0; 8],                         // Sequence and port, for whom several are under way.
        &[libc::AF_UNIX as u8, 0, 0, 0], // Family, protocol, padding.
        &any,                            // In whatever state.
        &inode.to_ne_bytes(),
        &UDIAG_SHOW_PEER.to_ne_bytes(),
        &any, // Without the cookie that would tell it from an earlier socket of that inode.
        &any,
    ];
    parts.concat()
}

/// Returns the inode of the peer that an answer names.
fn peer_in(answer: &[u8]) -> Option<u32> {
    let short = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if short(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut at = HEADER + MESSAGE;
    loop {
        let (length, kind) = (usize::from(short(at)?), short(at + 2)?);
        if kind == UNIX_DIAG_PEER {
            return Some(u32::from_ne_bytes(answer.get(at + 4..at + 8)?.try_into().ok()?));
        }
        // Attributes are aligned to four bytes, and have a header of four bytes.
        at += length.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_client_of_this_process_is_known_by_the_inode_of_its_socket() {
        let folder = std::env::temp_dir().join(format!("interpose-own-socket-{}", std::process::id()));
        let listener = UnixListener::bind(&folder).unwrap();
        let client = Socket::from(UnixStream::connect(&folder).unwrap());
        let accepted = listener.accept().unwrap().0;
        std::fs::remove_file(&folder).unwrap();
        assert_ne!(inode(&client), 0);
        assert_eq!(inode_of_client(&SockRef::from(&accepted)), Some(inode(&client)));
        drop(client);
        assert_eq!(inode_of_client(&SockRef::from(&accepted)), Some(0), "it is gone");
    }

    /// Used on systems without abstract names; its assumptions hold here, too.
    #[test]
    fn a_socket_that_was_named_by_a_file_keeps_its_name_and_leaves_no_file() {
        let path = std::env::temp_dir().join(format!("interpose-named-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let named = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            crate::io::sys::name_unix_socket_by_file(&socket).unwrap();
            socket.connect(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
            let name = listener.accept().unwrap().1.as_pathname().unwrap().to_owned();
            assert_eq!(socket.local_addr().unwrap().as_pathname().unwrap(), name);
            assert!(!name.exists());
            name
        };
        assert_ne!(named(), named());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_answer_that_is_none_names_nobody() {
        // An error, and answers that end too soon.
        let error = [36_u32.to_ne_bytes(), [2, 0, 0, 0], [0; 4], [0; 4], (-2_i32).to_ne_bytes()].concat();
        assert_eq!(peer_in(&error), None);
        assert_eq!(peer_in(&[]), None);
        let mut cut = question(7);
        cut.truncate(HEADER + MESSAGE + 2);
        assert_eq!(peer_in(&cut), None);
    }
}
