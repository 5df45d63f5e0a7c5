//! Loops: connections that pass listeners of this process again and again.
//!
//! An upstream connection that may come to a listener of this process is remembered by both its addresses, in the form in
//! which its listener sees them: one local address alone may belong to several connections, some of them of other processes.
//! A Unix socket without an address is remembered by its inode. A client with remembered ends is a connection of this
//! process, one hop further. Chains are legal; only a long chain is cut.

mod known;
mod last_circle;
mod line;
mod listening;
mod slots;

use std::{
    collections::hash_map,
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

pub(crate) use self::{
    known::MOST_HOPS,
    last_circle::LastCircle,
    line::{Came, Ends},
    listening::Listening,
};
use self::{
    known::{Known, Passed},
    line::{Line, Place},
    listening::Listeners,
    slots::Connecting,
};
use crate::words::{addr::SocketName, lock::EvenPoisoned};

/// How long a connection is remembered after its end: it may still wait at our listener to be accepted, and the connections
/// made for it count their hops from it.
const MEMORY: Duration = Duration::from_secs(1);

/// The connections that this process made to itself, and the places where it listens.
///
/// A connection that concerns no listener of ours takes no lock here: it reads the counters of its slot.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    known: Mutex<Known>,
    listeners: Arc<Listeners>,
    /// Notified when a connection is remembered.
    news: Notify,
    pub last_circle: LastCircle,
}

impl Hops {
    /// Locks the remembered connections, and drops the entries whose time is over.
    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().even_poisoned();
        if known.ended.is_empty() {
            return known;
        }
        let now = Instant::now();
        while known.ended.front().is_some_and(|(until, _)| *until <= now) {
            let Some((until, line)) = known.ended.pop_front() else { break };
            // Keeps the entry if its addresses have been used again.
            if known.ours.get(&line).is_some_and(|passed| passed.until == Some(until)) {
                known.ours.remove(&line);
                self.listeners.slots.of_line(&line).remembered.fetch_sub(1, SeqCst);
            }
        }
        known
    }

    /// Registers a listener of this process until the guard is dropped.
    pub(crate) fn listen(&self, name: &SocketName) -> Option<Listening> {
        Listening::new(&self.listeners, name)
    }

    /// Returns true if a listener of this process is where a connect to `peer` comes.
    pub(crate) fn leads_here(&self, peer: &SocketName) -> bool {
        self.listeners.are_at(peer)
    }

    /// Returns the number of our listeners that a client with these ends has passed before; 0 for a client of another
    /// process.
    pub(crate) fn passed<'a>(&self, ends: impl Into<Ends<'a>>) -> u8 {
        let Some(line) = Line::new(ends.into()) else { return 0 };
        let slot = self.listeners.slots.of_line(&line);
        // Read before `remembered`: a connect that has ended by now is remembered by now.
        let is_connecting = slot.connects.load(SeqCst) > 0;
        if !is_connecting && slot.remembered.load(SeqCst) == 0 {
            return 0;
        }
        let passed = self.known().passed(&line);
        if passed > 0 || !is_connecting {
            return passed;
        }
        // The client's own connect may be under way, for the length of one system call: wait until it is remembered.
        drop(self.listeners.places.write());
        self.known().passed(&line)
    }

    /// Completes when a client with these ends is known to have passed `MOST_HOPS` of our listeners.
    pub(crate) async fn is_found_out(&self, ends: Ends<'_>) {
        let mut news = pin!(self.news.notified());
        loop {
            news.as_mut().enable();
            if self.passed(ends) >= MOST_HOPS {
                return;
            }
            news.as_mut().await;
            news.set(self.news.notified());
        }
    }

    /// Remembers an upstream connection. Returns `None` if it cannot come to one of our listeners.
    pub(crate) fn remember<'a>(self: &Arc<Self>, ends: impl Into<Ends<'a>>, came: Came<'_>) -> Option<Hop> {
        let ends = ends.into();
        if self.leads_here(ends.to) { self.hop(ends, came) } else { None }
    }

    /// Remembers an upstream connection that comes to one of our listeners.
    pub(crate) fn hop<'a>(self: &Arc<Self>, ends: impl Into<Ends<'a>>, came: Came<'_>) -> Option<Hop> {
        let line = Line::new(ends.into())?;
        let client = came.client.and_then(Line::new);
        let mut known = self.known();
        let passed = match known.ours.entry(line.clone()) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                self.listeners.slots.of_line(&line).remembered.fetch_add(1, SeqCst);
                entry.insert(Passed::default())
            }
        };
        if passed.until.is_some() {
            *passed = Passed::default();
        }
        passed.hops = passed.hops.max(came.passed.saturating_add(1));
        passed.client = client.or(passed.client.take());
        passed.held += 1;
        drop(known);
        self.news.notify_waiters();
        Some(Hop(Box::new((line, Arc::clone(self)))))
    }

    /// Calls `begin`, which starts a connect to `peer` and returns the socket's local address and the address it connects to;
    /// then remembers the connection as [`remember`](Self::remember) does. A listener of ours that accepts the connection
    /// before `begin` returns still learns that it is ours.
    pub(crate) fn dial(
        self: &Arc<Self>,
        peer: &SocketName,
        came: Came<'_>,
        begin: impl FnOnce() -> io::Result<(SocketName, SocketName)>,
    ) -> io::Result<Option<Hop>> {
        if self.listeners.may_be_at(peer)
            && let Some(place) = Place::of(peer)
        {
            let listening = self.listeners.places.read().even_poisoned();
            if listening.contains_key(&place) {
                let _connecting = Connecting::new(self.listeners.slots.of(peer));
                let (local, peer) = begin()?;
                return Ok(self.hop((&local, &peer), came));
            }
        }
        begin().map(|_| None)
    }
}

/// Remembers an upstream connection that may come to one of our listeners, until [`MEMORY`] after the drop. Boxed, because
/// few connections have one.
#[derive(Debug)]
pub(crate) struct Hop(Box<(Line, Arc<Hops>)>);

impl Hop {
    /// Raises the number of listeners that its client has passed, where more are known now than when the connection was made.
    pub(crate) fn raise(&self, passed: u8) {
        let (line, hops) = &*self.0;
        if let Some(known) = hops.known().ours.get_mut(line) {
            known.hops = known.hops.max(passed.saturating_add(1));
        }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        let (line, hops) = &*self.0;
        let mut known = hops.known();
        let Some(passed) = known.ours.get_mut(line) else { return };
        passed.held -= 1;
        if passed.held == 0 {
            let until = Instant::now() + MEMORY;
            passed.until = Some(until);
            known.ended.push_back((until, line.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const NEW: Came<'_> = Came { passed: 0, client: None };

    fn name(text: &str) -> SocketName {
        SocketName::Inet(text.parse().unwrap())
    }

    fn unix(name: &str) -> SocketName {
        SocketName::Unix(name.to_owned())
    }

    /// Makes all times of forgetting `MEMORY` earlier, as if that time had passed.
    fn wait(hops: &Hops) {
        let mut known = hops.known();
        let Known { ours, ended } = &mut *known;
        for (until, line) in ended {
            *until -= MEMORY;
            if let Some(passed) = ours.get_mut(line) {
                passed.until = passed.until.map(|until| until - MEMORY);
            }
        }
    }

    #[test]
    fn what_becomes_known_of_a_client_later_counts() {
        let hops = Arc::new(Hops::default());
        let (here, there) = (name("127.0.0.1:80"), name("127.0.0.1:81"));
        let _listening = [hops.listen(&here), hops.listen(&there)];
        let (outside, first, second) = (name("127.0.0.1:1000"), name("127.0.0.1:1001"), name("127.0.0.1:1002"));
        let came = Came { passed: hops.passed((&first, &here)), client: Some((&first, &here).into()) };
        let _second = hops.remember((&second, &there), came);
        assert_eq!(hops.passed((&second, &there)), 1);
        let _first = hops.remember((&first, &here), Came { passed: 0, client: Some((&outside, &there).into()) });
        assert_eq!(hops.passed((&second, &there)), 2);
        // Addresses that form a circle, as reused addresses may, end the count too.
        let _outside = hops.remember((&outside, &there), Came { passed: 0, client: Some((&second, &there).into()) });
        assert!(hops.passed((&second, &there)) > MOST_HOPS);
    }

    /// The kernel chooses ports per destination, so clients of other processes can have the same local ports as ours.
    #[test]
    fn a_stranger_that_shares_a_local_address_with_one_of_ours_has_passed_nothing() {
        let hops = Arc::new(Hops::default());
        let listeners = [name("127.0.0.1:80"), name("127.0.0.1:81"), name("127.0.0.2:81"), name("127.0.0.1:143")];
        let _listening = listeners.each_ref().map(|listener| hops.listen(listener));
        let port = name("127.0.0.1:40000");
        let _hop = hops.remember((&port, &listeners[1]), Came { passed: 4, client: Some((&port, &listeners[0]).into()) });
        let passed = listeners.each_ref().map(|listener| hops.passed((&port, listener)));
        assert_eq!(passed, [0, 5, 0, 0]);
    }

    #[test]
    fn a_connection_to_a_listener_of_ours_is_remembered_whatever_its_addresses_are_spelled_like() {
        let hops = Arc::new(Hops::default());
        let (local, peer) = (name("10.0.0.1:40000"), name("10.0.0.2:80"));
        assert!(hops.remember((&local, &peer), NEW).is_none(), "nobody listens");
        let _listening = [hops.listen(&name("0.0.0.0:80")), hops.listen(&name("[::1]:80"))];
        let _hop = hops.remember((&local, &peer), Came { passed: 3, client: None }).unwrap();
        assert_eq!(hops.passed((&local, &peer)), 4);
        assert_eq!(hops.passed((&name("[::ffff:10.0.0.1]:40000"), &name("[::ffff:10.0.0.2]:80"))), 4, "mapped");
        assert!(hops.remember((&local, &name("10.0.0.2:143")), NEW).is_none(), "another port of the slot");
    }

    #[test]
    fn a_connection_is_remembered_until_a_while_after_its_last_memory_is_dropped() {
        let hops = Arc::new(Hops::default());
        let (local, peer) = (name("127.0.0.2:40000"), name("127.0.0.1:80"));
        let listening = hops.listen(&peer);
        let hop = hops.remember((&local, &peer), NEW).unwrap();
        hop.raise(5);
        let again = hops.remember((&local, &peer), NEW).unwrap();
        drop((hop, listening));
        wait(&hops);
        assert_eq!(hops.passed((&local, &peer)), 6, "it is held still");
        drop(again);
        assert_eq!(hops.passed((&local, &peer)), 6, "for a while");
        wait(&hops);
        assert_eq!(hops.passed((&local, &peer)), 0);
        assert!(hops.listeners.slots.all(|slot| slot.remembered.load(SeqCst) == 0), "nothing is left");
        assert!(hops.known().ours.is_empty());
    }

    #[test]
    fn addresses_that_are_used_again_are_those_of_the_new_connection() {
        let hops = Arc::new(Hops::default());
        let (local, peer) = (name("127.0.0.1:40000"), name("127.0.0.1:80"));
        let _listening = hops.listen(&peer);
        let outside = name("127.0.0.1:1");
        let before = Came { passed: 6, client: Some((&outside, &peer).into()) };
        drop(hops.remember((&local, &peer), before));
        let _hop = hops.remember((&local, &peer), NEW);
        assert_eq!(hops.passed((&local, &peer)), 1);
        wait(&hops);
        assert_eq!(hops.passed((&local, &peer)), 1, "the end of the one before is not its own");
    }

    #[test]
    fn unix_sockets_are_known_by_their_names_and_not_by_having_none() {
        let hops = Arc::new(Hops::default());
        let (listener, nobody) = (unix("@listener"), unix(""));
        let _listening = hops.listen(&listener);
        let came = Came { passed: 2, client: Some((&nobody, &listener).into()) };
        let _ours = hops.remember((&unix("@0001"), &listener), came).unwrap();
        assert_eq!(hops.passed((&unix("@0001"), &listener)), 3);
        assert!(hops.remember((&nobody, &listener), NEW).is_none());
        assert_eq!(hops.passed((&nobody, &listener)), 0);
        assert!(hops.remember((&unix("@0002"), &unix("@elsewhere")), NEW).is_none());
    }

    /// Another thread accepts the connection before the call that connects returns.
    #[test]
    fn a_connection_that_is_accepted_while_it_is_made_is_known() {
        let hops = Arc::new(Hops::default());
        let (local, peer) = (name("127.0.0.1:40000"), name("127.0.0.1:80"));
        let _listening = hops.listen(&peer);
        let accept = {
            let (hops, local, peer) = (Arc::clone(&hops), local.clone(), peer.clone());
            move || hops.passed((&local, &peer))
        };
        let mut accepting = None;
        let hop = hops.dial(&peer, NEW, || {
            let accepting = accepting.insert(thread::Builder::new().spawn(accept).unwrap());
            // Until the accepting thread has read the slot and waits, or has its answer.
            let end = Instant::now() + MEMORY;
            while hops.listeners.places.try_read().is_ok() && !accepting.is_finished() && Instant::now() < end {
                thread::yield_now();
            }
            Ok((local, peer.clone()))
        });
        assert_eq!(accepting.unwrap().join().unwrap(), 1);
        let failed = hops.dial(&peer, NEW, || Err(io::ErrorKind::AddrNotAvailable.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        drop(hop);
        assert!(hops.listeners.slots.all(|slot| slot.connects.load(SeqCst) == 0));
    }
}
