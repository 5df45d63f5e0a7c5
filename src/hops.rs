//! Loops: a connection that leads through listeners of this process again and again.
//!
//! An upstream connection that stays on this machine is remembered by its local address. A client that comes
//! from such an address is our own, one hop further. Chains are legal; only a long one is cut.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Listeners of this process that one connection may pass.
pub(crate) const MOST_HOPS: u8 = 8;

/// The connections that this process made to itself, by their local address.
#[derive(Debug, Default)]
pub(crate) struct Hops(Mutex<HashMap<SocketAddr, u8>>);

impl Hops {
    fn ours(&self) -> MutexGuard<'_, HashMap<SocketAddr, u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of our listeners the client at `peer` has passed before; 0 for anybody else's.
    pub(crate) fn passed(&self, peer: SocketAddr) -> u8 {
        self.ours().get(&peer).copied().unwrap_or(0)
    }

    /// Remembers an upstream connection. `None` if it leaves this machine: then its peer cannot be one of our listeners.
    pub(crate) fn remember(self: &Arc<Self>, local: SocketAddr, peer: SocketAddr, passed: u8) -> Option<Hop> {
        let same_machine = local.ip() == peer.ip() || (local.ip().is_loopback() && peer.ip().is_loopback());
        same_machine.then(|| {
            self.ours().insert(local, passed.saturating_add(1));
            Hop { local, hops: Arc::clone(self) }
        })
    }
}

/// An upstream connection on this machine, remembered until dropped.
#[derive(Debug)]
pub(crate) struct Hop {
    local: SocketAddr,
    hops: Arc<Hops>,
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.hops.ours().remove(&self.local);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_on_this_machine_is_remembered_until_it_ends() {
        let hops = Arc::new(Hops::default());
        let (local, peer) = ("127.0.0.2:40000".parse().unwrap(), "127.0.0.1:80".parse().unwrap());
        let hop = hops.remember(local, peer, 3).unwrap();
        assert_eq!(hops.passed(local), 4);
        drop(hop);
        assert_eq!(hops.passed(local), 0);
        assert!(hops.remember("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:80".parse().unwrap(), 0).is_none());
    }
}
