//! Servers that run while a test does, on I/O threads whose use can be measured.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use interpose::{
    hooks::Hooks,
    live::handle::{Connection, State},
    server::Server,
    settings::{config::Config, forward::Forward},
    threads::{
        lane::{Lane, LaneHandle},
        workers::Workers,
    },
    words::{addr::Address, direction::Direction, interest::Interest, outcome::CloseReason, stats::Ledger},
};

use super::{
    kernel::{self, Usage},
    peers::{DEADLINE, pass, until},
};

/// I/O threads of one test. Tests share a process, so these are told from other tests' by when they came up.
#[derive(Clone)]
pub struct IoThreads {
    pub workers: Workers,
    threads: Vec<u32>,
}

static STARTING: Mutex<()> = Mutex::new(());

impl IoThreads {
    pub fn start(count: usize) -> Self {
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kernel::threads_named("interpose-io");
        let workers = Workers::start(count).unwrap();
        let new = || kernel::threads_named("interpose-io").into_iter().filter(|id| !before.contains(id));
        until("the I/O threads run", || new().count() >= count);
        let threads = new().collect();
        Self { workers, threads }
    }

    pub fn usage(&self) -> Usage {
        let sum = |a: Usage, b: Usage| Usage { cpu: a.cpu + b.cpu, sleeps: a.sleeps + b.sleeps };
        self.usage_each().into_iter().reduce(sum).unwrap()
    }

    /// Of `looks` looks, ten milliseconds apart, how many found a thread running. One that spins always does, however
    /// little of the processor others leave to it.
    pub fn busy_looks(&self, looks: usize) -> usize {
        let look = |_: &usize| {
            pass(Duration::from_millis(10));
            self.threads.iter().any(|id| kernel::is_running(*id))
        };
        (0..looks).filter(look).count()
    }

    pub fn usage_each(&self) -> Vec<Usage> {
        self.threads.iter().map(|id| kernel::usage(*id)).collect()
    }
}

/// A started server, aborted and closed at the end of the test.
pub struct Running {
    pub server: Server,
    pub io: IoThreads,
    /// Where it forwards to.
    pub target: Address,
    lanes: Vec<LaneThread>,
}

/// A thread that drives a lane until its server is closed and nobody is on it.
struct LaneThread {
    handle: LaneHandle,
    id: u32,
    thread: Option<JoinHandle<()>>,
}

impl LaneThread {
    fn start(server: &Server) -> Self {
        let lane = Lane::new(|| {}).unwrap();
        let handle = lane.handle();
        let closed = server.closed();
        let (tell, told) = mpsc::sync_channel(1);
        let body = move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()).unwrap();
            let on_it = lane.handle();
            lane.run(async {
                closed.await;
                on_it.emptied().await;
            });
            lane.shut_down();
        };
        let thread = thread::Builder::new().name("lane".to_owned()).spawn(body).unwrap();
        Self { handle, id: told.recv().unwrap(), thread: Some(thread) }
    }
}

/// The settings of the target.
pub fn forward(config: &mut Config) -> &mut Forward {
    config.forward.as_mut().unwrap()
}

pub fn loopback() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// A listener on a free loopback port with the default settings.
pub fn to(upstream: SocketAddr) -> Config {
    Config::new(loopback(), Forward::to(upstream))
}

impl Running {
    pub fn start(config: Config) -> Self {
        Self::start_on(&IoThreads::start(1), config)
    }

    pub fn start_on(io: &IoThreads, config: Config) -> Self {
        let target = config.forward.as_ref().map_or_else(loopback, |forward| forward.address.clone());
        let server = Server::bind(config).unwrap();
        server.start(&io.workers).unwrap();
        Self { server, io: io.clone(), target, lanes: Vec::new() }
    }

    /// With hooks of this interest, on a lane of its own.
    pub fn start_hooked(config: Config, hooks: Arc<dyn Hooks>, interest: Interest) -> Self {
        let mut running = Self::bind_hooked(config, hooks, interest, 1);
        running.server.start(&running.io.workers).unwrap();
        running.io.threads.extend(running.lanes.iter().map(|lane| lane.id));
        running
    }

    /// The same, not started, with this many lanes.
    pub fn bind_hooked(config: Config, hooks: Arc<dyn Hooks>, interest: Interest, lanes: usize) -> Self {
        let target = config.forward.as_ref().map_or_else(loopback, |forward| forward.address.clone());
        let io = IoThreads::start(1);
        let server = Server::bind(config).unwrap();
        let lanes: Vec<LaneThread> = (0..lanes).map(|_| LaneThread::start(&server)).collect();
        server.hook(hooks, lanes.iter().map(|lane| lane.handle.clone()));
        server.set_interest(interest);
        Self { server, io, target, lanes }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address().inet().unwrap()
    }

    /// The live connection of the client with this name.
    pub fn connection_of(&self, client: SocketAddr) -> Connection {
        let find = || self.server.connections().into_iter().find(|c| c.client().peer.inet() == Some(client));
        until("the client was accepted", || find().is_some());
        find().unwrap()
    }

    /// Waits until exactly one connection has ended for `reason`, whatever the others do.
    pub fn wait_one_closed_for(&self, reason: CloseReason) {
        until("a connection ended", || self.server.stats().closed_for(reason) == 1);
    }

    /// Waits until `count` connections have ended for `reason`, and none lives.
    pub fn wait_closed_for(&self, reason: CloseReason, count: u64) {
        let stats = || self.server.stats();
        until("all connections ended", || stats().active == 0 && stats().closed.iter().map(|c| c.1).sum::<u64>() >= count);
        assert_eq!(stats().closed_for(reason), count, "{:?}", closed(&self.server));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.stop(Duration::ZERO);
        let closed = self.server.wait(Some(DEADLINE));
        assert!(closed || thread::panicking(), "the server did not close");
        for lane in &mut self.lanes {
            let ended = lane.thread.take().map(JoinHandle::join);
            assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()), "the lane did not end well");
        }
    }
}

/// The reasons that were recorded, without the zeros.
pub fn closed(server: &Server) -> Vec<(CloseReason, u64)> {
    server.stats().closed.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Waits for a connection's end; its ledgers must balance. Gives the reason.
pub fn wait_end(connection: &Connection) -> CloseReason {
    until("the connection ended", || connection.state() == State::Closed);
    for direction in [Direction::ToUpstream, Direction::ToClient] {
        let ledger = connection.ledger(direction);
        let Ledger { read, added, delivered, dropped, undeliverable } = ledger;
        assert_eq!(read + added, delivered + dropped + undeliverable, "{direction:?}: {ledger:?} does not balance");
    }
    connection.reason().expect("a closed connection has a reason")
}
