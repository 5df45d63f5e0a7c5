//! A listener, its connections, and their life: bind, start, drain, stop.

mod accept;
mod entrance;
mod setbacks;
mod shutdown;
mod state;
mod upkeep;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    connection::{self, apart::Apart, circle, context::ServerShared},
    hooks::{Failed, Hooks, ServerHooks},
    inspect::faults::set::{FaultSet, Faults},
    io::{listener::Listener, options::SocketOptions},
    live::handle::Connection,
    server::{entrance::Entrance, shutdown::ServerPhase, state::ServerState},
    settings::config::{Config, LiveSettings},
    threads::{lane::LaneHandle, workers::Workers},
    words::{
        addr::SocketName,
        direction::Direction,
        error::{Error, ErrorKind},
        interest::Interest,
        lock::EvenPoisoned,
        stats::Stats,
    },
};

/// A server: bound when made, accepting once started. Clones are handles of the same server.
///
/// ```
/// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};
/// use interpose::{server::Server, settings::{config::Config, forward::Forward}, threads::workers::Workers};
///
/// let upstream = TcpListener::bind("127.0.0.1:0")?;
/// let forward = Forward::to(upstream.local_addr()?);
/// let server = Server::bind(Config::new("127.0.0.1:0".parse()?, forward))?;
/// server.start(&Workers::start(1)?)?;
///
/// let mut client = TcpStream::connect(server.address().to_string())?;
/// client.write_all(b"ping")?;
/// let (mut side, _) = upstream.accept()?;
/// let mut four = [0; 4];
/// side.read_exact(&mut four)?;
/// assert_eq!(&four, b"ping");
///
/// server.stop(Duration::ZERO);
/// assert!(server.wait(Some(Duration::from_secs(5))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Arc<ServerState>,
    /// The entrance, until the accepting task takes it or the server is stopped.
    entrance: Mutex<Option<Entrance>>,
    workers: OnceLock<Workers>,
}

impl Server {
    /// Binds and listens: on return a client's connect succeeds, and [`address`](Self::address) is real.
    pub fn bind(config: Config) -> Result<Self, Error> {
        config.check()?;
        let options = SocketOptions { unacknowledged: config.timeouts.unacknowledged };
        let listener = Listener::bind(&config.listen, config.listening.backlog, config.listening.reuse_port, &options)?;
        let faults = FaultSet::new(config.faults.clone(), config.seed);
        let shared = ServerShared::new(listener.name().clone(), listener.other_name(), faults);
        shared.refuse_itself("forward_to", config.forward.as_ref())?;
        shared.refuse_itself("mirror_to", config.mirror.as_ref())?;
        config
            .by_name
            .iter()
            .flat_map(|names| names.targets())
            .try_for_each(|target| shared.refuse_itself("tls:", Some(target)))?;
        let state = Arc::new(ServerState::new(shared, config, listener.is_inherited()));
        state.check_faults(&state.shared.faults.get())?;
        let entrance = Mutex::new(Some(Entrance::Open(listener)));
        let server = Self(Arc::new(Inner { state, entrance, workers: OnceLock::new() }));
        if server.0.state.wants_shut().0 {
            server.turn_entrance(|_| ())?;
        }
        Ok(server)
    }

    /// Returns the actual name of the listener's socket.
    pub fn address(&self) -> &SocketName {
        &self.0.state.shared.address
    }

    /// Registers these hooks. They are called for connections accepted from then on, as [`set_interest`](Self::set_interest)
    /// says; the hooks of the first call stay. The lanes may come with a later call, also for connections that live: without
    /// lanes no hook is called. A closed server takes no lanes.
    pub fn hook(&self, hooks: Arc<dyn Hooks>, lanes: impl IntoIterator<Item = LaneHandle>) {
        let (state, shared) = (&self.0.state, &self.0.state.shared);
        let relay = state.config(|config| config.relay.clone());
        shared.hooked.get_or_init(|| Arc::new(ServerHooks::new(hooks, Arc::clone(&shared.lanes), &relay)));
        shared.lanes.enter(lanes.into_iter().collect());
    }

    /// Carries an upstream's socket alone, with nobody in a client's place, on a lane of its hooks. It is not read before
    /// [`Connection::resume`]. `client` is the connection whose hook has connected it. For a server that has hooks and has
    /// been started.
    pub fn adopt(&self, socket: socket2::Socket, client: Option<&Connection>) -> Result<Connection, Error> {
        let (Some(workers), false, true) = (self.0.workers.get(), self.is_stopping(), self.0.state.shared.hooked.get().is_some())
        else {
            let message = format!("server {}: it does not run, so it takes over no socket; start it before", self.address());
            return Err(Error::new(ErrorKind::Stopped, message));
        };
        let apart = Apart::of_socket(self.0.state.context(), workers, socket, client)?;
        let connection = apart.connection();
        connection.pause(Direction::ToClient);
        connection::spawn_apart(apart);
        Ok(connection)
    }

    /// Refuses a client that has passed too many listeners of this process, by the current knowledge. For an `on_accept` that
    /// may connect by itself: the client's earlier hops may have become known since it was accepted.
    pub fn refuse_circle(&self, client: &Connection) -> Result<(), Failed> {
        let Some(workers) = self.0.workers.get() else { return Ok(()) };
        let hops = workers.commons().hops;
        let passed = client.origin().came(&hops).passed;
        circle::refuse_long_way(&self.0.state.shared, &hops, passed).map(|_| ()).map_err(Failed::from)
    }

    /// Sets which hooks are called from now on. Live connections follow before their next chunk.
    pub fn set_interest(&self, interest: Interest) {
        if let Some(hooked) = self.0.state.shared.hooked.get()
            && hooked.interest() != interest
        {
            hooked.set_interest(interest);
            self.0.state.shared.registry.wake_all();
        }
    }

    /// Changes settings, started or not: for clients that are accepted from now on. Live connections keep theirs; a lower
    /// `max_connections` ends none, and lets nobody in before enough have ended. An error leaves everything as it was.
    ///
    /// ```
    /// use std::time::Duration;
    /// use interpose::{server::Server, settings::{config::Config, forward::Forward}, words::addr::Address};
    ///
    /// let target: Address = "192.0.2.1:80".parse()?;
    /// let server = Server::bind(Config::new("127.0.0.1:0".parse()?, Forward::to(target)))?;
    /// server.change(|settings| settings.timeouts.idle = Some(Duration::from_secs(60)))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn change(&self, change: impl FnOnce(LiveSettings<'_>)) -> Result<(), Error> {
        self.0.state.change(change)
    }

    /// Puts other faults in force, for live connections as well: from their next bytes on. A fault that stays goes on as it was.
    /// One that refuses clients is in force on return; an error where that cannot be leaves the faults as they were. Then it
    /// blocks for a moment, and so must not be called on an I/O thread.
    pub fn set_faults(&self, faults: Faults) -> Result<(), Error> {
        self.swap_faults(None, faults).map(|_| ())
    }

    /// Puts other faults in force as [`set_faults`](Self::set_faults) does, but only in the places of those of these numbers, if
    /// some are given. Returns false, and changes nothing, if others are in force: somebody else has changed them.
    pub fn swap_faults(&self, numbers: Option<&[u64]>, faults: Faults) -> Result<bool, Error> {
        let (state, before) = (&self.0.state, self.faults());
        state.check_faults(&faults)?;
        if !connection::watching::swap_faults(&state.shared, numbers, Arc::clone(&faults)) {
            return Ok(false);
        }
        state.faults_changed.notify_waiters();
        if state.wants_shut().0 == state.is_shut.load(Ordering::Relaxed) || self.is_stopping() {
            return Ok(true);
        }
        let undo = |_: &Error| {
            let failed: Vec<u64> = faults.iter().map(|fault| fault.number).collect();
            connection::watching::swap_faults(&state.shared, Some(&failed), before);
        };
        self.turn_entrance(|_| ()).inspect_err(undo).map(|()| true)
    }

    /// Returns the faults in force.
    pub fn faults(&self) -> Faults {
        self.0.state.shared.faults.get()
    }

    /// Returns the seed of what faults draw.
    pub fn seed(&self) -> u64 {
        self.0.state.shared.faults.draws.seed
    }

    /// Lets faults draw for the connections that are accepted from now on as they did for the first ones.
    pub fn draw_anew(&self) {
        self.0.state.shared.registry.draw_anew();
    }

    /// Begins to accept, on these workers. A second start has no effect; a stopped server stays stopped.
    pub fn start(&self, workers: &Workers) -> Result<(), Error> {
        let mut entrance = self.0.entrance.lock().even_poisoned();
        if self.is_stopping() {
            let message = format!("server {}: it was stopped; make a new server", self.address());
            return Err(Error::new(ErrorKind::Stopped, message));
        }
        if let Some(entrance) = entrance.take() {
            let state = &self.0.state;
            state.begin();
            accept::spawn(Arc::clone(state), entrance, workers.clone());
            let _ = self.0.workers.set(workers.clone());
        }
        Ok(())
    }

    /// Refuses clients from now on, as a server does that is not running: a connect fails with ECONNREFUSED. No other program
    /// can take the address meanwhile. Clients that have connected already are served. Blocks for a moment, and so must not
    /// be called on an I/O thread. Fails for a socket that the process was started with, and once the server was stopped.
    pub fn pause_listening(&self) -> Result<(), Error> {
        self.turn_entrance(|paused| paused.store(true, Ordering::Relaxed))
    }

    /// Listens again after [`pause_listening`](Self::pause_listening): on return a client's connect succeeds.
    pub fn resume_listening(&self) -> Result<(), Error> {
        self.turn_entrance(|paused| paused.store(false, Ordering::Relaxed))
    }

    /// Returns true while clients can connect.
    pub fn is_listening(&self) -> bool {
        !self.0.state.is_shut.load(Ordering::Relaxed) && !self.is_stopping()
    }

    /// Opens the entrance or shuts it, as the user and the faults want once the user's wish has changed.
    fn turn_entrance(&self, change: impl FnOnce(&AtomicBool)) -> Result<(), Error> {
        let (state, mut place) = (&self.0.state, self.0.entrance.lock().even_poisoned());
        let was_paused = state.is_paused.load(Ordering::Relaxed);
        let undo = |_: &Error| state.is_paused.store(was_paused, Ordering::Relaxed);
        if self.is_stopping() {
            let message = format!("server {}: it was stopped; make a new server", self.address());
            return Err(Error::new(ErrorKind::Stopped, message));
        }
        change(&state.is_paused);
        let (shut, _) = state.wants_shut();
        let Some(entrance) = place.take() else {
            drop(place);
            return state.orders.give(shut).inspect_err(undo);
        };
        let mut result = Ok(());
        *place = Some(state.turn(entrance, shut, |done| result = done));
        result.inspect_err(undo)
    }

    /// Begins to stop, and returns at once: clients that wait in the backlog are taken, then the listener is closed;
    /// connections may finish for `drain` and are aborted then. Of several calls the earliest deadline holds.
    pub fn stop(&self, drain: Duration) {
        let mut entrance = self.0.entrance.lock().even_poisoned();
        self.0.state.shutdown.stop_within(drain);
        if entrance.take().is_some() {
            // The server was never started, so there is no task to close it.
            self.0.state.announce_closed();
        }
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> Arc<ServerState> {
        Arc::clone(&self.0.state)
    }

    /// Stops as [`stop`](Self::stop) does, but only connections in which something is under way may go on for `drain`. Idle
    /// connections are ended in order at once, the others as soon as nothing moves any more.
    pub fn leave(&self, drain: Duration) {
        self.0.state.shutdown.end_idle();
        self.stop(drain);
    }

    /// Blocks until the server has stopped and its last connection has ended. Returns `false` if the time was over first.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.0.state.shutdown.wait(timeout)
    }

    /// Completes when the server has stopped and its last connection has ended.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut closed = self.0.state.shutdown.watch_closed();
        let state = Arc::clone(&self.0.state);
        async move {
            // The sender lives in `state`, so waiting cannot fail.
            let _ = closed.wait_for(|closed| *closed).await;
            drop(state);
        }
    }

    /// Returns true once the server was started.
    pub fn is_started(&self) -> bool {
        self.0.workers.get().is_some()
    }

    /// Returns true once a stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.0.state.shutdown.phase() != ServerPhase::Running
    }

    /// Returns true once the server has stopped and its last connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.state.shutdown.phase() == ServerPhase::Closed
    }

    /// Returns the live connections, oldest first.
    pub fn connections(&self) -> Vec<Connection> {
        self.0.state.shared.registry.connections()
    }

    /// Returns the live connection with this number.
    pub fn connection(&self, id: u64) -> Option<Connection> {
        self.0.state.shared.registry.connection(id)
    }

    /// Wakes every connection, because something that a stage looks at has changed.
    pub fn wake_all(&self) {
        self.0.state.shared.registry.wake_all();
    }

    /// Keeps the last `most` connections that end from now on, for [`ended`](Self::ended); 0 forgets those that are kept.
    pub fn keep_ended(&self, most: usize) {
        self.0.state.shared.registry.keep_ended(most);
    }

    /// Returns the connections that have ended and are kept, in the order of their ends.
    pub fn ended(&self) -> Vec<Connection> {
        self.0.state.shared.registry.ended()
    }

    /// Returns the figures of this moment.
    pub fn stats(&self) -> Stats {
        let state = &self.0.state;
        let totals = state.shared.registry.totals();
        let (mirror_bytes, mirror_missed_bytes) = state.shared.mirror.counts();
        Stats {
            accepted: totals.accepted,
            active: totals.active,
            closed: totals.closed,
            to_upstream: totals.bytes.to_upstream,
            to_client: totals.bytes.to_client,
            accept_errors: state.accept_errors.load(Ordering::Relaxed),
            accept_paused: state.accept_paused.load(Ordering::Relaxed),
            callback_errors: state.shared.hooked.get().map_or(0, |hooked| hooked.hooks.errors()),
            callback_timeouts: state.shared.hooked.get().map_or(0, |hooked| hooked.hooks.timeouts()),
            max_connections: state.permits.most(),
            max_connections_reached: state.max_connections_reached.load(Ordering::Relaxed),
            mirror_bytes,
            mirror_missed_bytes,
        }
    }
}
