//! Sockets that a script has connected, taken over as upstreams.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use socket2::{SockRef, Socket};

use super::{
    connector::{ConnectedUpstream, Way},
    hops::{Came, Ends, Hop, Hops},
    names::socket_name,
    stream::Unregistered,
    sys,
};
use crate::words::{
    addr::SocketName,
    error::reason_text,
    outcome::{CloseReason, Outcome},
};

/// A socket that a script has connected, registered with no runtime.
#[derive(Debug)]
pub(crate) struct Given {
    pub socket: Unregistered,
    pub peer: SocketName,
    pub local: SocketName,
    pub hop: Option<Hop>,
}

/// Takes over a socket that a script has connected. Also accepts a socket that its peer has ended or reset meanwhile, or that
/// was shut down: bytes that came from the peer are read before the end is.
pub(crate) fn adopt(socket: Socket, way: Way<'_>) -> Result<Given, Outcome> {
    let adopt = || -> io::Result<Given> {
        let (peer, local) = names_of(&socket)?;
        let is_tcp = local.inet().is_some();
        if is_tcp {
            way.options.apply_to_upstream(&SockRef::from(&socket));
        }
        socket.set_nonblocking(true)?;
        let hop = remember(&socket, (&local, &peer), way.hops, way.came);
        let of_kind = if is_tcp { Unregistered::of_tcp } else { Unregistered::of_unix };
        Ok(Given { socket: of_kind(socket), peer, local, hop })
    };
    adopt().map_err(given_in_vain)
}

/// Remembers a socket that a script has connected, before it is taken over.
pub(crate) fn remember_early(socket: &Socket, hops: &Arc<Hops>, came: Came<'_>) -> Option<Hop> {
    let (peer, local) = names_of(socket).ok()?;
    remember(socket, (&local, &peer), hops, came)
}

fn remember(socket: &Socket, (local, peer): (&SocketName, &SocketName), hops: &Arc<Hops>, came: Came<'_>) -> Option<Hop> {
    if !hops.leads_here(peer) {
        return None;
    }
    let has_no_name = matches!(local, SocketName::Unix(name) if name.is_empty());
    let inode = if has_no_name { sys::inode(socket) } else { 0 };
    hops.hop(Ends { from: local, to: peer, inode }, came)
}

/// Returns the names of a connected socket's peer and of the socket itself. The system forgets the peer's name once both have
/// ended; then the unspecified address of the socket's family stands for it.
pub(crate) fn names_of(socket: &Socket) -> io::Result<(SocketName, SocketName)> {
    let local = socket_name(&socket.local_addr()?);
    let peer = match socket.peer_addr() {
        Ok(peer) => socket_name(&peer),
        Err(error) if !has_been_connected(socket) => return Err(error),
        Err(_) => match &local {
            SocketName::Inet(SocketAddr::V4(_)) => SocketName::Inet((Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketName::Inet(SocketAddr::V6(_)) => SocketName::Inet((Ipv6Addr::UNSPECIFIED, 0).into()),
            SocketName::Unix(_) => SocketName::Unix(String::new()),
        },
    };
    Ok((peer, local))
}

/// Returns true for a socket that was connected at some time, so that a read finds its end without waiting. Leaves a pending
/// error for the first read.
#[cfg(unix)]
pub(crate) fn has_been_connected(socket: &Socket) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(socket, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    socket.peer_addr().is_ok() || poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::IN)
}

#[cfg(not(unix))]
pub(crate) fn has_been_connected(socket: &Socket) -> bool {
    socket.peer_addr().is_ok()
}

impl Given {
    /// Registers the socket with the runtime of the calling thread.
    pub(crate) fn register(self) -> Result<ConnectedUpstream, Outcome> {
        let Self { socket, peer, local, hop } = self;
        Ok(ConnectedUpstream { stream: socket.attach().map_err(given_in_vain)?, peer, local, hop, passed_over: None, host: None })
    }
}

fn given_in_vain(error: io::Error) -> Outcome {
    Outcome::explained(CloseReason::ConnectFailed, format!("the upstream that was given: {}", reason_text(&error)))
}
