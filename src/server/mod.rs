//! A listener, its connections, and their life: bind, start, drain, stop.

mod accept;
pub(crate) mod drain;
mod setbacks;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    connection::{apart::Apart, circle},
    hooks::{Failed, Hooked, Hooks},
    io::{listener::Listener, options::SocketOptions, ready::Accepted},
    live::{handle::Connection, registry::Registry, shared::Shared},
    server::drain::Stop,
    settings::{config::Config, forward::Forward, limits},
    threads::{
        lane::{LaneHandle, Lanes},
        workers::Workers,
    },
    words::{
        addr::{Address, SocketName},
        error::{Error, ErrorKind},
        interest::Interest,
        outcome::Outcome,
        stats::{Direction, Stats},
        throttle::Throttle,
    },
};

/// What all tasks of one server share.
#[derive(Debug)]
pub(crate) struct Core {
    pub config: Config,
    pub address: SocketName,
    /// That of the other socket of a listener that has two.
    pub other_address: Option<SocketName>,
    pub options: SocketOptions,
    pub registry: Registry,
    pub accept_errors: AtomicU64,
    pub accept_paused: AtomicBool,
    /// The process is about to run out of descriptors, or has before.
    pub short_of_descriptors: AtomicBool,
    pub accept_log: Throttle,
    /// Times that a client waited while there was no place for it.
    pub max_connections_reached: AtomicU64,
    pub full_log: Throttle,
    pub connect_log: Throttle,
    pub max_connections: AtomicUsize,
    /// Who sees and changes what flows, once somebody does.
    pub hooked: OnceLock<Arc<Hooked>>,
    /// The lanes on which the hooks run.
    lanes: Arc<Lanes>,
    /// When to abort what is left, once a stop has begun.
    pub stop_by: watch::Sender<Option<Stop>>,
    /// Connections in which nothing is under way are not to be waited for.
    pub is_left: AtomicBool,
    closed: Closed,
}

/// Told once, when the last connection of a stopped server has ended.
#[derive(Debug)]
struct Closed {
    blocking: (Mutex<bool>, Condvar),
    watch: watch::Sender<bool>,
}

impl Closed {
    fn new() -> Self {
        Self { blocking: (Mutex::new(false), Condvar::new()), watch: watch::Sender::new(false) }
    }

    fn announce(&self) {
        // First what is_closed() looks at: whoever wait() lets go finds it closed.
        self.watch.send_replace(true);
        *self.blocking.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.blocking.1.notify_all();
    }

    fn wait(&self, timeout: Option<Duration>) -> bool {
        let closed = self.blocking.0.lock().unwrap_or_else(PoisonError::into_inner);
        match timeout {
            None => *self.blocking.1.wait_while(closed, |closed| !*closed).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let waited = self.blocking.1.wait_timeout_while(closed, timeout, |closed| !*closed);
                *waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

/// A server: bound when made, accepting once started. Clones are handles of the same server.
///
/// ```
/// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};
/// use interpose::{config::Config, forward::Forward, server::Server, workers::Workers};
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
    core: Arc<Core>,
    /// The listener until the accepting task has it; nothing once stopped.
    listener: Mutex<Option<Listener>>,
    workers: OnceLock<Workers>,
}

impl Server {
    /// Binds and listens: on return a client's connect succeeds, and [`address`](Self::address) is real.
    pub fn bind(config: Config) -> Result<Self, Error> {
        config.check()?;
        let options = SocketOptions { unacknowledged: config.timeouts.unacknowledged };
        let listener = Listener::bind(&config.listen, config.backlog, config.reuse_port, &options)?;
        let (address, other_address) = (listener.name().clone(), listener.other_name());
        let max_connections = AtomicUsize::new(config.limits.max_connections.unwrap_or(0));
        let core = Core {
            config,
            address,
            other_address,
            options,
            registry: Registry::new(),
            accept_errors: AtomicU64::new(0),
            accept_paused: AtomicBool::new(false),
            short_of_descriptors: AtomicBool::new(false),
            accept_log: Throttle::default(),
            max_connections_reached: AtomicU64::new(0),
            full_log: Throttle::default(),
            connect_log: Throttle::default(),
            max_connections,
            hooked: OnceLock::new(),
            lanes: Arc::default(),
            stop_by: watch::Sender::new(None),
            is_left: AtomicBool::new(false),
            closed: Closed::new(),
        };
        core.refuse_itself()?;
        Ok(Self(Arc::new(Inner { core: Arc::new(core), listener: Mutex::new(Some(listener)), workers: OnceLock::new() })))
    }

    /// The name the listener's socket really has.
    pub fn address(&self) -> &SocketName {
        &self.0.core.address
    }

    /// Registers these hooks, to be asked for what [`set_interest`](Self::set_interest) says about connections accepted from
    /// then on; the hooks of the first call stay. The lanes may come with a later call, also for connections that live:
    /// before there are some, nothing is asked. A closed server takes none.
    pub fn hook(&self, hooks: Arc<dyn Hooks>, lanes: impl IntoIterator<Item = LaneHandle>) {
        let core = &self.0.core;
        core.hooked.get_or_init(|| Arc::new(Hooked::new(hooks, Arc::clone(&core.lanes), core.config.chunk)));
        core.lanes.enter(lanes.into_iter().collect());
    }

    /// Carries an upstream's socket alone, with nobody in a client's place, on a lane of its hooks. It is not read before
    /// [`Connection::resume`]. `client`: the connection whose hook gives it. For a server that has hooks and has been started.
    pub fn adopt(&self, socket: socket2::Socket, client: Option<&Connection>) -> Result<Connection, Error> {
        let (Some(workers), false, true) = (self.0.workers.get(), self.is_stopping(), self.0.core.hooked.get().is_some()) else {
            let message = format!("server {}: it does not run, so it takes over no socket; start it before", self.address());
            return Err(Error::new(ErrorKind::Stopped, message));
        };
        let apart = Apart::of_socket(&self.0.core, workers, socket, client)?;
        let connection = apart.connection();
        connection.pause(Direction::ToClient);
        apart.carry();
        Ok(connection)
    }

    /// Refuses a client that has passed too many listeners of this process, by what is known now. For an `on_accept` that may
    /// connect by itself: what earlier ones have connected may have become known since the client was accepted.
    pub fn refuse_circle(&self, client: &Connection) -> Result<(), Failed> {
        let Some(workers) = self.0.workers.get() else { return Ok(()) };
        let passed = client.origin().came(&workers.commons().hops).passed;
        circle::refuse_long_way(&self.0.core, passed).map(|_| ()).map_err(Failed::from)
    }

    /// Which hooks are wanted from now on. Live connections follow before their next chunk.
    pub fn set_interest(&self, interest: Interest) {
        if let Some(hooked) = self.0.core.hooked.get()
            && hooked.interest() != interest
        {
            hooked.set_interest(interest);
            self.0.core.registry.wake_all();
        }
    }

    /// Begins to accept, on these workers. A second start has no effect; a stopped server stays stopped.
    pub fn start(&self, workers: &Workers) -> Result<(), Error> {
        let mut listener = self.0.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping() {
            let message = format!("server {}: it was stopped; make a new server", self.address());
            return Err(Error::new(ErrorKind::Stopped, message));
        }
        if let Some(listener) = listener.take() {
            let core = &self.0.core;
            let configured = core.config.limits.max_connections;
            core.max_connections.store(configured.unwrap_or_else(limits::default_max_connections), Ordering::Relaxed);
            accept::spawn(Arc::clone(core), listener, workers.clone());
            let _ = self.0.workers.set(workers.clone());
        }
        Ok(())
    }

    /// Begins to stop and returns at once: clients that wait in the backlog are taken, then the listener is
    /// closed; connections may finish for `drain` and are aborted then. Of several calls the earliest deadline holds.
    pub fn stop(&self, drain: Duration) {
        let mut listener = self.0.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Beyond what the clock can count is a year, which nobody waits for either.
        let deadline = now.checked_add(drain).unwrap_or(now + Duration::from_secs(365 * 86_400));
        self.0.core.stop_by.send_modify(|stop| stop.get_or_insert_default().by(deadline));
        if listener.take().is_some() {
            // It was never started, so there is no task to close it.
            self.0.core.announce_closed();
        }
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.0.core)
    }

    /// Does what [`stop`](Self::stop) does, but only connections in which something is under way may go on for `drain`. The
    /// others are ended in order at once, and those as soon as nothing moves any more.
    pub fn leave(&self, drain: Duration) {
        self.0.core.is_left.store(true, Ordering::Relaxed);
        self.stop(drain);
    }

    /// Blocks until the server has stopped and its last connection has ended. `false`: the time was over first.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.0.core.closed.wait(timeout)
    }

    /// The same, for a task.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut watch = self.0.core.closed.watch.subscribe();
        let core = Arc::clone(&self.0.core);
        async move {
            // The sender lives in `core`, so waiting cannot fail.
            let _ = watch.wait_for(|closed| *closed).await;
            drop(core);
        }
    }

    /// Whether it has been started.
    pub fn is_started(&self) -> bool {
        self.0.workers.get().is_some()
    }

    /// Whether a stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.0.core.stop_by.borrow().is_some()
    }

    /// Whether it has stopped and its last connection has ended.
    pub fn is_closed(&self) -> bool {
        *self.0.core.closed.watch.borrow()
    }

    /// The live connections, oldest first.
    pub fn connections(&self) -> Vec<Connection> {
        self.0.core.registry.connections()
    }

    /// The figures of this moment.
    pub fn stats(&self) -> Stats {
        let core = &self.0.core;
        let totals = core.registry.totals();
        Stats {
            accepted: totals.accepted,
            active: totals.active,
            closed: totals.closed,
            to_upstream: totals.to_upstream,
            to_client: totals.to_client,
            accept_errors: core.accept_errors.load(Ordering::Relaxed),
            accept_paused: core.accept_paused.load(Ordering::Relaxed),
            callback_errors: core.hooked.get().map_or(0, |hooked| hooked.hooks.errors()),
            max_connections: core.max_connections.load(Ordering::Relaxed),
            max_connections_reached: core.max_connections_reached.load(Ordering::Relaxed),
        }
    }
}

impl Core {
    /// Refuses a target that can only be this listener itself.
    fn refuse_itself(&self) -> Result<(), Error> {
        let Some(Forward { address, .. }) = &self.config.forward else { return Ok(()) };
        let target = address.socket_addr();
        let own = match (address, &self.address) {
            (Address::Unix(target), SocketName::Unix(own)) => target == own,
            _ => target.is_some_and(|target| {
                let reaches_wildcard = target.ip().is_loopback() || target.ip().is_unspecified();
                self.address.inet() == Some(target) || (self.is_own_wildcard(target) && reaches_wildcard)
            }),
        };
        if !own {
            return Ok(());
        }
        let message = format!("forward_to {address}: it is the listener's own address; forward to the upstream's");
        Err(Error::new(ErrorKind::Config, message))
    }

    /// Returns true if this listener serves `target` beside the address that it is known by: as its other address, or because it
    /// has the port and serves every address of the family, or of both.
    pub(crate) fn is_own_wildcard(&self, target: SocketAddr) -> bool {
        if self.other_address.as_ref().and_then(SocketName::inet) == Some(target) {
            return true;
        }
        let serves = |own: SocketAddr| own.ip().is_unspecified() && (own.is_ipv6() || target.ip().to_canonical().is_ipv4());
        self.address.inet().is_some_and(|own| serves(own) && own.port() == target.port())
    }

    /// Our end of an accepted connection. Asked of the kernel only where the listener does not say it.
    pub(crate) fn client_local(&self, accepted: &Accepted) -> SocketName {
        match self.address.inet() {
            Some(own) if own.ip().is_unspecified() => accepted.local().unwrap_or_else(|_| self.address.clone()),
            _ => match &self.other_address {
                Some(other) if accepted.peer().inet().is_some_and(|peer| peer.is_ipv6()) => other.clone(),
                _ => self.address.clone(),
            },
        }
    }

    /// Logs that a client found no upstream, or that a connection was ended by this process or its system: once a second at
    /// most.
    pub(crate) fn report_failure(&self, shared: &Shared, outcome: &Outcome) {
        use crate::words::outcome::CloseReason as Reason;
        // Asked for, or told of already by whoever ran the hook.
        let told = matches!(
            outcome.reason,
            Reason::Closed | Reason::Aborted | Reason::Stopped | Reason::ClientGone | Reason::Rejected | Reason::CallbackError
        );
        if told {
            return;
        }
        if let Some(more) = self.connect_log.pass() {
            let why = outcome.error.as_deref().unwrap_or_default();
            let side = if shared.is_adopted { "upstream" } else { "client" };
            log::warn!(target: "interpose::connection", "{}: {side} {} closed ({}): {why}{more}", shared.id, shared.client.peer, outcome.reason);
        }
    }

    pub(crate) fn announce_closed(&self) {
        self.lanes.leave();
        self.closed.announce();
    }
}
