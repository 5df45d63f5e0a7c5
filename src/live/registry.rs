//! The live connections of a server, and the totals of its ended ones.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    inspect::faults::draws::Draws,
    live::{
        by_id::ById,
        control::{Command, Control},
        handle::Connection,
        shared::{Shared, SideNames},
    },
    taps::event::ConnectionKey,
    words::{
        direction::{Both, Direction},
        lock::EvenPoisoned,
        outcome::{CloseReason, Outcome},
        stats::{Ledger, Totals},
    },
};

/// The number of the next server.
static SERVERS: AtomicU32 = AtomicU32::new(1);

/// The live connections of one server, and the figures of its ended ones.
#[derive(Debug)]
pub(crate) struct Registry {
    connections: Mutex<Connections>,
    accepted: AtomicU64,
    /// The number of the server, of those of this process.
    server: u32,
    /// The source of what the faults of the server draw.
    draws: Arc<Draws>,
    /// Number of connections entered, adopted ones included: the number of the last.
    entered: AtomicU64,
    /// Number of live connections without a client.
    adopted: AtomicUsize,
    /// Maximum number of live connections since the last call of [`live_and_peak`](Self::live_and_peak).
    peak: AtomicUsize,
    /// Number of ended connections whose on_close has not returned yet.
    pending_close_hooks: AtomicUsize,
    /// Notified when the last live connection ends.
    empty: Notify,
}

/// The live connections and the totals of those that ended, under one lock: so a snapshot never lacks a connection, nor
/// counts one twice.
#[derive(Debug)]
struct Connections {
    live: ById<Arc<Shared>>,
    ended: Ended,
    /// The last ones that have ended, as far as they are kept.
    kept: VecDeque<Arc<Shared>>,
    /// Maximum number of those.
    most_kept: usize,
}

#[derive(Debug)]
struct Ended {
    by_reason: Vec<u64>,
    bytes: Both<Ledger>,
}

impl Shared {
    /// Returns the connection among those of all servers.
    pub(crate) fn key(&self) -> ConnectionKey {
        ConnectionKey { number: self.id, server: self.server }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().even_poisoned()
    }

    pub(crate) fn new(draws: Arc<Draws>) -> Self {
        let ended = Ended { by_reason: vec![0; CloseReason::ALL.len()], bytes: Both::default() };
        Self {
            connections: Mutex::new(Connections { live: ById::default(), ended, kept: VecDeque::new(), most_kept: 0 }),
            accepted: AtomicU64::new(0),
            server: SERVERS.fetch_add(1, Ordering::Relaxed),
            draws,
            entered: AtomicU64::new(0),
            adopted: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            pending_close_hooks: AtomicUsize::new(0),
            empty: Notify::new(),
        }
    }

    /// Lets faults draw for the connections to come as they did for the first ones.
    pub(crate) fn draw_anew(&self) {
        self.draws.begin_anew(self.entered.load(Ordering::Relaxed));
    }

    /// Enters a client that was just accepted.
    pub(crate) fn enter(&self, client: SideNames) -> Arc<Shared> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.enter_side(client, false, OnceLock::new())
    }

    /// Enters an upstream's socket that is carried alone. The counts of connections cover clients only; those of bytes cover
    /// it too.
    pub(crate) fn adopt(&self, upstream: SideNames) -> Arc<Shared> {
        let names = OnceLock::from(Some(Box::new(upstream.clone())));
        self.enter_side(upstream, true, names)
    }

    fn enter_side(&self, client: SideNames, is_adopted: bool, upstream: OnceLock<Option<Box<SideNames>>>) -> Arc<Shared> {
        let id = self.entered.fetch_add(1, Ordering::Relaxed) + 1;
        let shared = Arc::new(Shared {
            id,
            server: self.server,
            draws: Arc::clone(&self.draws),
            is_adopted,
            client: Box::new(client),
            upstream,
            meters: Both::default(),
            control: Control::default(),
            outcome: OnceLock::new(),
            since: std::time::Instant::now(),
            lived: AtomicU64::new(0),
            close_notified: AtomicBool::new(false),
            passed: AtomicU8::new(0),
            inode: AtomicU32::new(0),
            seldom: OnceLock::new(),
        });
        let live = &mut self.lock().live;
        live.insert(id, Arc::clone(&shared));
        if is_adopted {
            self.adopted.fetch_add(1, Ordering::Relaxed);
        }
        self.peak.fetch_max(live.len(), Ordering::Relaxed);
        shared
    }

    /// Records the end of a connection. The first outcome counts; bytes that went nowhere are counted as undeliverable. Calls
    /// `seen` once both are known, and before anybody can know that the connection has left.
    pub(crate) fn leave(&self, shared: &Shared, outcome: Outcome, seen: impl FnOnce(&Outcome)) {
        for direction in Direction::ALL {
            shared.end_inbox(direction);
            shared.meters[direction].balance();
        }
        shared.end_age();
        shared.control.forget_task();
        let Connections { live, ended, kept, most_kept } = &mut *self.lock();
        if shared.outcome.set(outcome).is_ok() {
            let reason = shared.outcome.get().map_or(CloseReason::InternalError, |outcome| outcome.reason);
            if !shared.is_adopted {
                ended.by_reason[reason as usize] += 1;
            }
            shared.add_bytes_to(&mut ended.bytes);
        }
        if let Some(left) = live.remove(&shared.id) {
            if shared.is_adopted {
                self.adopted.fetch_sub(1, Ordering::Relaxed);
            } else if *most_kept > 0 {
                kept.drain(..(kept.len() + 1).saturating_sub(*most_kept));
                kept.push_back(left);
            }
        }
        if let Some(outcome) = shared.outcome.get() {
            seen(outcome);
        }
        if live.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// Counts a connection that has ended and whose on_close is still to be called.
    pub(crate) fn add_pending_close_hook(&self) {
        self.pending_close_hooks.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts an on_close that has returned, or that cannot be called any more.
    pub(crate) fn remove_pending_close_hook(&self) {
        self.pending_close_hooks.fetch_sub(1, Ordering::AcqRel);
        self.empty.notify_waiters();
    }

    /// Returns the live connections, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Shared>> {
        self.lock().live.values().cloned().collect()
    }

    pub(crate) fn connection(&self, id: u64) -> Option<Connection> {
        self.lock().live.get(&id).cloned().map(Connection)
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        let connections = self.lock();
        let clients = connections.live.values().filter(|shared| !shared.is_adopted);
        let mut found: Vec<Connection> = clients.cloned().map(Connection).collect();
        drop(connections);
        found.sort_by_key(Connection::id);
        found
    }

    /// Keeps the last `most` connections that end from now on, for [`ended`](Self::ended).
    pub(crate) fn keep_ended(&self, most: usize) {
        let Connections { kept, most_kept, .. } = &mut *self.lock();
        *most_kept = most;
        kept.drain(..kept.len().saturating_sub(most));
    }

    /// Returns the connections that have ended and are kept, in the order of their ends.
    pub(crate) fn ended(&self) -> Vec<Connection> {
        self.lock().kept.iter().cloned().map(Connection).collect()
    }

    /// Wakes every connection, because the hooks that are wanted, or what a stage looks at, have changed.
    pub(crate) fn wake_all(&self) {
        for shared in self.lock().live.values() {
            shared.control.wake();
        }
    }

    /// Requests a keepalive check from every connection that may have bytes in flight.
    pub(crate) fn check_peers(&self) {
        for shared in self.lock().live.values() {
            let delivered = shared.delivered();
            if shared.control.keepalive_checks.ask(delivered) {
                shared.control.wake();
            }
        }
    }

    /// Asks every connection to end in order if nothing is under way. `delivered` is the caller's memory from one call to the
    /// next.
    pub(crate) fn leave_all(&self, delivered: &mut HashMap<u64, (u64, Instant)>) {
        let now = Instant::now();
        let live = &self.lock().live;
        delivered.retain(|id, _| live.contains_key(id));
        for shared in live.values() {
            let bytes = shared.delivered();
            let known = delivered.entry(shared.id).or_insert((bytes, now));
            if known.0 != bytes {
                *known = (bytes, now);
            }
            shared.control.leave(now - known.1);
        }
    }

    pub(crate) fn abort_all(&self) {
        for shared in self.lock().live.values() {
            shared.control.request(Command::Stop);
        }
    }

    /// Returns the number of live connections, and its maximum since the last call.
    pub(crate) fn live_and_peak(&self) -> (usize, usize) {
        let live = self.lock().live.len();
        (live, self.peak.swap(live, Ordering::Relaxed))
    }

    /// Returns the number of live connections, and that of ended ones whose on_close has not returned.
    pub(crate) fn remaining(&self) -> (usize, usize) {
        (self.lock().live.len(), self.pending_close_hooks.load(Ordering::Acquire))
    }

    /// Completes when no connection lives and on_close has returned for all.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.lock().live.is_empty() && self.pending_close_hooks.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Returns the totals: accepted, active, closed by reason, and the bytes of both directions.
    pub(crate) fn totals(&self) -> Totals {
        let Connections { live, ended, .. } = &*self.lock();
        let mut bytes = ended.bytes;
        live.values().for_each(|shared| shared.add_bytes_to(&mut bytes));
        let closed = CloseReason::ALL.iter().map(|reason| (*reason, ended.by_reason[*reason as usize])).collect();
        Totals {
            accepted: self.accepted.load(Ordering::Relaxed),
            active: live.len() - self.adopted.load(Ordering::Relaxed),
            closed,
            bytes,
        }
    }
}
