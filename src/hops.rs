//! Loops: a connection that leads through listeners of this process again and again.
//!
//! An upstream connection that may come to a listener of this process is remembered by its local address. A client that
//! comes from such an address is our own, one hop further. Chains are legal; only a long one is cut.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::addr::SocketName;

/// Listeners of this process that one connection may pass.
pub(crate) const MOST_HOPS: u8 = 8;

/// How long a connection that has ended is remembered where it came to a listener of ours: it may still wait there to be
/// accepted, and what it led to counts on from it.
const MEMORY: Duration = Duration::from_secs(1);

/// The connections that this process made to itself, and where it listens.
#[derive(Debug, Default)]
pub(crate) struct Hops(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the connection's local address.
    ours: HashMap<SocketName, Passed>,
    /// From the local address of one to the address of the client that it was made for, where it comes to a listener of
    /// ours: where that client came from may become known later.
    clients: HashMap<SocketName, SocketName>,
    /// Those of them that have ended, and when they are forgotten.
    ended: VecDeque<(Instant, SocketName)>,
    /// How many listeners there are on each place.
    listening: HashMap<Place, usize>,
}

#[derive(Debug)]
struct Passed {
    /// The most of them: two connections to different targets may share a local address.
    hops: u8,
    connections: u32,
}

/// How far a connection has come that is to be continued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came<'a> {
    /// Listeners of this process that its client has passed before.
    pub passed: u8,
    /// Its client, where one is known.
    pub client: Option<&'a SocketName>,
}

/// Where a connect comes to a listener of ours, by whatever address it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Port(u16),
    /// An abstract name.
    Name(String),
    /// A socket's file: device and inode, for a path has many spellings.
    File(u64, u64),
}

impl Place {
    fn of(name: &SocketName) -> Option<Self> {
        match name {
            SocketName::Inet(address) => Some(Self::Port(address.port())),
            SocketName::Unix(path) if path.starts_with('@') => Some(Self::Name(path.clone())),
            #[cfg(unix)]
            SocketName::Unix(path) => {
                use std::os::unix::fs::MetadataExt;
                std::fs::metadata(path).ok().map(|file| Self::File(file.dev(), file.ino()))
            }
            #[cfg(not(unix))]
            SocketName::Unix(_) => None,
        }
    }
}

/// One spelling for each: IPv4 addresses that IPv6 maps are IPv4 addresses, and a scope is no part of a name here.
fn plain(name: &SocketName) -> SocketName {
    match name {
        SocketName::Inet(address) => SocketName::Inet(SocketAddr::new(address.ip().to_canonical(), address.port())),
        SocketName::Unix(_) => name.clone(),
    }
}

/// Whether both are surely of this machine, wherever the connection ends up there.
fn is_same_machine(local: &SocketName, peer: &SocketName) -> bool {
    let ip = |name| match plain(name) {
        SocketName::Inet(address) => Some(address.ip()),
        SocketName::Unix(_) => None,
    };
    let Some((local, peer)) = ip(local).zip(ip(peer)) else { return false };
    local == peer || peer.is_unspecified() || (local.is_loopback() && peer.is_loopback())
}

impl Known {
    /// One connection with this local address is to be known no more.
    fn remove(&mut self, local: &SocketName) {
        if let Some(passed) = self.ours.get_mut(local) {
            passed.connections -= 1;
            if passed.connections == 0 {
                self.ours.remove(local);
                self.clients.remove(local);
            }
        }
    }

    fn forget_ended(&mut self) {
        let now = Instant::now();
        while self.ended.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, local)) = self.ended.pop_front() {
                self.remove(&local);
            }
        }
    }

    fn insert(&mut self, local: SocketName, came: Came<'_>, leads_here: bool) {
        self.forget_ended();
        if let (true, Some(client)) = (leads_here, came.client) {
            self.clients.insert(local.clone(), plain(client));
        }
        let known = self.ours.entry(local).or_insert(Passed { hops: 0, connections: 0 });
        known.hops = known.hops.max(came.passed.saturating_add(1));
        known.connections += 1;
    }
}

impl Hops {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a listener of this process until the guard is dropped.
    pub(crate) fn listen(self: &Arc<Self>, name: &SocketName) -> Option<Listening> {
        let place = Place::of(name)?;
        *self.known().listening.entry(place.clone()).or_default() += 1;
        Some(Listening { place, hops: Arc::clone(self) })
    }

    /// Whether a connect to `peer` may come to a listener of this process.
    pub(crate) fn leads_here(&self, peer: &SocketName) -> bool {
        if matches!(peer, SocketName::Unix(_)) && self.known().listening.keys().all(|place| matches!(place, Place::Port(_))) {
            return false;
        }
        Place::of(peer).is_some_and(|place| self.known().listening.contains_key(&place))
    }

    /// How many of our listeners the client at `peer` has passed before; 0 for anybody else's.
    pub(crate) fn passed(&self, peer: &SocketName) -> u8 {
        let known = self.known();
        let (mut name, mut steps, mut most) = (&plain(peer), 0, 0);
        while steps <= MOST_HOPS {
            most = most.max(known.ours.get(name).map_or(0, |known| known.hops).saturating_add(steps));
            let Some(client) = known.clients.get(name) else { break };
            (name, steps) = (client, steps + 1);
        }
        most
    }

    /// Remembers an upstream connection. `None` if it cannot come to one of our listeners.
    pub(crate) fn remember(self: &Arc<Self>, local: &SocketName, peer: &SocketName, came: Came<'_>) -> Option<Hop> {
        let leads_here = self.leads_here(peer);
        (leads_here || is_same_machine(local, peer)).then(|| {
            let local = plain(local);
            self.known().insert(local.clone(), came, leads_here);
            Hop { local, leads_here, hops: Arc::clone(self) }
        })
    }

    /// Does what `begin` does, which starts a connect to `peer` and returns its local address, and remembers the connection
    /// as [`remember`](Self::remember) does. A listener of ours that accepts it meanwhile learns that it is ours all the same.
    pub(crate) fn dial(
        self: &Arc<Self>,
        peer: &SocketName,
        came: Came<'_>,
        begin: impl FnOnce() -> io::Result<SocketName>,
    ) -> io::Result<Option<Hop>> {
        if !self.leads_here(peer) {
            let local = begin()?;
            return Ok(self.remember(&local, peer, came));
        }
        // Whoever asks waits for the end of one system call, and then finds it.
        let mut known = self.known();
        let local = plain(&begin()?);
        known.insert(local.clone(), came, true);
        drop(known);
        Ok(Some(Hop { local, leads_here: true, hops: Arc::clone(self) }))
    }
}

/// A listener of this process, noted until dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    place: Place,
    hops: Arc<Hops>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut known = self.hops.known();
        if let Some(count) = known.listening.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                known.listening.remove(&self.place);
            }
        }
    }
}

/// An upstream connection that may come to one of our listeners, remembered until dropped.
#[derive(Debug)]
pub(crate) struct Hop {
    local: SocketName,
    leads_here: bool,
    hops: Arc<Hops>,
}

impl Hop {
    /// Notes that it has passed more listeners than was known when it was made.
    pub(crate) fn raise(&self, passed: u8) {
        if let Some(known) = self.hops.known().ours.get_mut(&self.local) {
            known.hops = known.hops.max(passed.saturating_add(1));
        }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        let mut known = self.hops.known();
        if self.leads_here {
            known.forget_ended();
            known.ended.push_back((Instant::now() + MEMORY, self.local.clone()));
        } else {
            known.remove(&self.local);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Came<'_> = Came { passed: 0, client: None };

    fn name(text: &str) -> SocketName {
        SocketName::Inet(text.parse().unwrap())
    }

    #[test]
    fn what_becomes_known_of_a_client_later_counts() {
        let hops = Arc::new(Hops::default());
        let _listening = [hops.listen(&name("127.0.0.1:80")), hops.listen(&name("127.0.0.1:81"))];
        let (outside, first, second) = (name("127.0.0.1:1000"), name("127.0.0.1:1001"), name("127.0.0.1:1002"));
        let came = Came { passed: hops.passed(&first), client: Some(&first) };
        let _second = hops.remember(&second, &name("127.0.0.1:81"), came);
        assert_eq!(hops.passed(&second), 1);
        let _first = hops.remember(&first, &name("127.0.0.1:80"), Came { passed: 0, client: Some(&outside) });
        assert_eq!(hops.passed(&second), 2);
        // A name that leads to itself, as a port that is used again may, ends too.
        let _outside = hops.remember(&outside, &name("127.0.0.1:80"), Came { passed: 0, client: Some(&second) });
        assert!(hops.passed(&second) > MOST_HOPS);
    }

    #[test]
    fn a_connection_on_this_machine_is_remembered_until_it_ends() {
        let hops = Arc::new(Hops::default());
        let (local, peer) = (name("127.0.0.2:40000"), name("127.0.0.1:80"));
        let hop = hops.remember(&local, &peer, Came { passed: 3, client: None }).unwrap();
        assert_eq!(hops.passed(&local), 4);
        assert_eq!(hops.passed(&name("[::ffff:127.0.0.2]:40000")), 4, "mapped");
        hop.raise(5);
        assert_eq!(hops.passed(&local), 6);
        let other = hops.remember(&local, &name("127.0.0.1:81"), NEW).unwrap();
        drop(hop);
        assert_eq!(hops.passed(&local), 6, "another has that address too");
        drop(other);
        assert_eq!(hops.passed(&local), 0);
        assert!(hops.remember(&name("10.0.0.1:40000"), &name("10.0.0.2:80"), NEW).is_none());
    }

    #[test]
    fn a_connection_to_a_port_that_is_listened_on_is_remembered_whatever_its_addresses() {
        let hops = Arc::new(Hops::default());
        let (local, peer) = (name("10.0.0.1:40000"), name("10.0.0.2:80"));
        let listening = [hops.listen(&name("0.0.0.0:80")), hops.listen(&name("[::1]:80"))];
        let hop = hops.dial(&peer, NEW, || Ok(local.clone())).unwrap();
        assert_eq!(hops.passed(&local), 1);
        drop((hop, listening));
        assert_eq!(hops.passed(&local), 1, "for a while");
        assert!(hops.dial(&peer, NEW, || Ok(local.clone())).unwrap().is_none());
        let failed = hops.dial(&peer, NEW, || Err(io::ErrorKind::AddrNotAvailable.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
