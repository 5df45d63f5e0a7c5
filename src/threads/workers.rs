//! The native runtime: I/O threads, each with a runtime of its own, that never touch an interpreter.
//!
//! A connection stays on the worker on which it begins, so threads share none of its state and no task is stolen: a
//! work-stealing runtime costs 5 to 9 % more per small message.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::{runtime, sync::oneshot};

use crate::{
    io::hops::{Came, Ends, Hop, Hops},
    io::{
        connector::{ConnectedUpstream, Way},
        fallback_targets, given,
        options::SocketOptions,
        resolver::Resolver,
        sys,
    },
    settings::forward::Forward,
    words::{
        addr::SocketName,
        error::{Error, ErrorKind, reason_text},
        outcome::{CloseReason, Outcome},
    },
};

/// A set of I/O threads. Clones share it; when the last is dropped the threads end, and their tasks with them.
#[derive(Debug, Clone)]
pub struct Workers(Arc<WorkerPool>);

#[derive(Debug)]
struct WorkerPool {
    workers: Vec<Worker>,
    commons: WorkerShared,
}

/// State that all connections on one set of workers share. Not global: a forked child starts with a new one.
#[derive(Debug, Clone)]
pub(crate) struct WorkerShared {
    pub resolver: Resolver,
    pub hops: Arc<Hops>,
}

#[derive(Debug)]
struct Worker {
    runtime: runtime::Handle,
    load: Arc<AtomicUsize>,
    /// Dropped with the pool, which ends the thread.
    _running: oneshot::Sender<()>,
}

/// A socket that a script has connected, or that was connected for it.
#[derive(Debug)]
pub struct Dialled {
    /// The connected socket, registered with no runtime.
    pub socket: socket2::Socket,
    /// The name of the socket's peer.
    pub peer: SocketName,
    /// The name of the socket itself.
    pub local: SocketName,
    /// Marks the connection as one of this process, if it may come to a listener of ours.
    pub memory: Option<Memory>,
}

impl Dialled {
    /// Takes a connected socket from elsewhere, and reads the names of its two ends.
    pub fn of(socket: socket2::Socket) -> io::Result<Self> {
        let (peer, local) = given::names_of(&socket)?;
        Ok(Self { socket, peer, local, memory: None })
    }
}

/// Returns true for a socket that was connected at some time, so that a read finds its end without waiting.
pub fn has_been_connected(socket: &socket2::Socket) -> bool {
    given::has_been_connected(socket)
}

/// Sends as many bytes of `data` as the kernel takes. A closed connection is an error, and no SIGPIPE.
pub fn send(socket: &socket2::Socket, data: &[u8]) -> io::Result<usize> {
    socket.send_with_flags(data, sys::NO_SIGNAL)
}

/// Marks a connection as one of this process until dropped.
#[derive(Debug)]
pub struct Memory(#[expect(dead_code, reason = "held for its drop")] Hop);

/// The connection on whose behalf another one is made.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Number of listeners of this process that it is known to have passed.
    pub passed: u8,
    /// The address of its client, and the address of ours to which that connected. `None` without a client.
    pub client: Option<(SocketName, SocketName)>,
    /// The inode of the client's socket, as in [`Ends`].
    pub(crate) inode: u32,
}

impl Origin {
    /// Returns the client's history as it is known now.
    pub(crate) fn came(&self, hops: &Hops) -> Came<'_> {
        let client = self.client.as_ref().map(|(from, to)| Ends { from, to, inode: self.inode });
        let known = client.map_or(0, |ends| hops.passed(ends));
        Came { passed: known.max(self.passed), client }
    }
}

/// A connected socket, or the outcome of the failed connect.
pub type Connecting = Result<Dialled, Outcome>;

/// A place on one worker. Counts as its load until dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Workers {
    /// Starts `count` I/O threads (at least one), named `interpose-io-N`.
    pub fn start(count: usize) -> Result<Self, Error> {
        let count = count.max(1);
        let workers = (0..count).map(Worker::start).collect::<io::Result<Vec<_>>>();
        let workers = workers.map_err(|error| {
            let why = reason_text(&error);
            let message =
                format!("cannot start {count} I/O threads: {why}; raise the limits of processes and open files (ulimit -u, -n)");
            Error::from_io(ErrorKind::Runtime, message, error)
        })?;
        let commons = WorkerShared { resolver: Resolver::on(workers[0].runtime.clone()), hops: Arc::default() };
        Ok(Self(Arc::new(WorkerPool { workers, commons })))
    }

    /// Starts one I/O thread per processor that this thread may run on.
    pub fn per_core() -> Result<Self, Error> {
        Self::start(thread::available_parallelism().map_or(1, usize::from))
    }

    /// Connects to the target of `forward`, on behalf of `origin`. Calls `done` with the socket or the outcome of the
    /// failure.
    pub fn connect(&self, forward: Forward, origin: Origin, done: impl FnOnce(Connecting) + Send + 'static) {
        let (runtime, seat) = self.seat();
        let WorkerShared { resolver, hops } = self.commons();
        runtime.spawn(async move {
            let options = SocketOptions { unacknowledged: None };
            let way = Way { resolver: &resolver, hops: &hops, options: &options, came: origin.came(&hops), inside: None };
            let connected = fallback_targets::connect(&forward, way, None).await;
            done(connected.and_then(|ConnectedUpstream { stream, peer, local, hop, .. }| {
                let fault = |error| Outcome::explained(CloseReason::ConnectFailed, reason_text(&error));
                let socket = stream.into_socket().map_err(fault)?;
                Ok(Dialled { socket, peer, local, memory: hop.map(Memory) })
            }));
            drop(seat);
        });
    }

    pub(crate) fn commons(&self) -> WorkerShared {
        self.0.commons.clone()
    }

    /// Takes a seat on the worker with the fewest.
    pub(crate) fn seat(&self) -> (runtime::Handle, Seat) {
        // The pool is never empty: start() makes at least one.
        let worker = self.0.workers.iter().min_by_key(|worker| worker.load.load(Relaxed)).unwrap_or(&self.0.workers[0]);
        worker.load.fetch_add(1, Relaxed);
        (worker.runtime.clone(), Seat(Arc::clone(&worker.load)))
    }
}

/// Starts a thread with all signals blocked: they are for the program's own threads.
pub fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    sys::with_signals_blocked(|| thread::Builder::new().name(name).spawn(body))
}

impl Worker {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        let body = move || {
            let _ = runtime.block_on(ended);
            // Not dropped: the drop would wait for a resolver thread, which may be stuck.
            runtime.shutdown_background();
        };
        let name = format!("interpose-io-{index}");
        spawn(name, body)?;
        Ok(Self { runtime: handle, load: Arc::default(), _running: running })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_evenly_and_a_place_that_is_left_is_taken_again() {
        let workers = Workers::start(4).unwrap();
        let loads = || workers.0.workers.iter().map(|worker| worker.load.load(Relaxed)).collect::<Vec<_>>();
        let mut seats: Vec<Seat> = (0..400).map(|_| workers.seat().1).collect();
        assert_eq!(loads(), [100; 4]);
        // Every fourth seat is on the same worker.
        seats.truncate(200);
        assert_eq!(loads(), [50; 4]);
        let left: Vec<Seat> = seats.drain(..).step_by(4).collect();
        drop(left);
        let _new: Vec<Seat> = (0..50).map(|_| workers.seat().1).collect();
        assert!(loads().iter().all(|load| loads()[0].abs_diff(*load) <= 1), "{:?}", loads());
    }
}
