//! The state of a server that only accepting needs: the limit, the failures, and the shutdown.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    connection::{
        context::{ConnectionContext, ServerShared},
        permits::Permits,
    },
    inspect::faults::{entering, fault::Fault},
    server::{
        entrance::{Entrance, Order, Orders},
        shutdown::Shutdown,
    },
    settings::{
        config::{Config, LiveSettings},
        limits,
    },
    words::{
        error::{Error, ErrorKind},
        lock::EvenPoisoned,
        log_target,
        throttle::Throttle,
    },
};

/// The state of one server, from bind to close.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub shared: Arc<ServerShared>,
    pub shutdown: Shutdown,
    pub orders: Orders,
    /// True if the process was started with the listening socket: then clients cannot be refused.
    is_inherited: bool,
    /// True while clients are refused.
    pub is_shut: AtomicBool,
    /// True while the user wants clients to be refused.
    pub is_paused: AtomicBool,
    /// Notified when the server has other faults.
    pub faults_changed: Notify,
    pub accept_errors: AtomicU64,
    /// True while the accepting task waits after a failure before it accepts again.
    pub accept_paused: AtomicBool,
    pub accept_log: Throttle,
    /// Number of times that a client waited in the backlog because `max_connections` was reached.
    pub max_connections_reached: AtomicU64,
    pub full_log: Throttle,
    /// Their limit is `max_connections`; 0 before the start when it depends on the descriptors of the process.
    pub permits: Arc<Permits>,
    current: Mutex<Current>,
}

/// The settings for clients accepted from now on.
#[derive(Debug)]
struct Current {
    config: Config,
    context: Arc<ConnectionContext>,
    is_started: bool,
    /// The unacknowledged bound that clients' sockets have from the listener.
    of_listener: Option<Duration>,
}

impl ServerState {
    /// Returns the state of a server. `is_inherited`: the process was started with its socket.
    pub(crate) fn new(shared: ServerShared, config: Config, is_inherited: bool) -> Self {
        let shared = Arc::new(shared);
        let context = Arc::new(ConnectionContext::new(Arc::clone(&shared), &config));
        Self {
            shared,
            shutdown: Shutdown::new(),
            orders: Orders::new(),
            is_inherited,
            is_shut: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            faults_changed: Notify::new(),
            accept_errors: AtomicU64::new(0),
            accept_paused: AtomicBool::new(false),
            accept_log: Throttle::default(),
            max_connections_reached: AtomicU64::new(0),
            full_log: Throttle::default(),
            permits: Arc::new(Permits::new(config.limits.max_connections.unwrap_or(0))),
            current: Mutex::new(Current { of_listener: config.timeouts.unacknowledged, config, context, is_started: false }),
        }
    }

    /// Returns true if clients are to be refused now, by the user or by faults, and the instant at which that changes by itself.
    pub(crate) fn wants_shut(&self) -> (bool, Option<Instant>) {
        let by_user = self.is_paused.load(Relaxed);
        if self.shared.faults.is_unused() {
            return (by_user, None);
        }
        let (by_faults, next) = entering::refuses(&self.shared.faults.get(), Instant::now().into_std());
        (by_user || by_faults, next.map(Instant::from_std))
    }

    /// Refuses faults that refuse clients, now or later, where that cannot be.
    pub(crate) fn check_faults(&self, faults: &[Arc<Fault>]) -> Result<(), Error> {
        let Some(fault) = faults.iter().find(|fault| self.is_inherited && entering::may_refuse(fault)) else { return Ok(()) };
        let message = format!(
            "faults: {} refuses clients, and {} is a socket that this process was started with, on which the one that started \
             it listens too; listen on an address of your own",
            fault.name, self.shared.address
        );
        Err(Error::new(ErrorKind::Config, message))
    }

    /// Completes once the entrance is to be turned because of faults.
    pub(crate) async fn turns(&self, is_shut: bool) -> Order {
        loop {
            let changed = self.faults_changed.notified();
            let (shut, next) = self.wants_shut();
            if shut != is_shut {
                return Order::of_faults(shut);
            }
            match next {
                Some(next) => tokio::select! {
                    () = sleep_until(next) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// Returns the settings for a client that is accepted now.
    pub(crate) fn context(&self) -> Arc<ConnectionContext> {
        Arc::clone(&self.current().context)
    }

    /// Calls `read` with the configuration.
    pub(crate) fn config<T>(&self, read: impl FnOnce(&Config) -> T) -> T {
        read(&self.current().config)
    }

    /// Puts the limit of connections in force that is known from the start on.
    pub(crate) fn begin(&self) {
        let mut current = self.current();
        current.is_started = true;
        self.limit_connections(&current);
    }

    /// Changes settings for clients that come from now on. Live connections keep theirs, but count for the limits.
    /// An error leaves everything as it was.
    pub(crate) fn change(&self, change: impl FnOnce(LiveSettings<'_>)) -> Result<(), Error> {
        let mut current = self.current();
        let mut config = current.config.clone();
        change(config.live());
        config.check()?;
        self.shared.refuse_itself("forward_to", config.forward.as_ref())?;
        self.shared.refuse_itself("mirror_to", config.mirror.as_ref())?;
        let (before, limit) = (&current.context, config.timeouts.unacknowledged);
        let context = ConnectionContext {
            unlike_listener: (limit != current.of_listener).then(|| limit.unwrap_or_default()),
            arrival: before.arrival.clone(),
            outbound: before.outbound.clone(),
            ..ConnectionContext::new(Arc::clone(&self.shared), &config)
        };
        current.context = Arc::new(context);
        current.config = config;
        self.limit_connections(&current);
        Ok(())
    }

    fn limit_connections(&self, current: &Current) {
        let is_mirrored = current.config.mirror.is_some();
        let by_default = || if current.is_started { limits::default_max_connections(is_mirrored) } else { 0 };
        self.permits.set_most(current.config.limits.max_connections.unwrap_or_else(by_default));
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().even_poisoned()
    }

    /// Opens or shuts the entrance, and returns it as it is then. `answer` gets the error where that failed.
    pub(crate) fn turn(&self, entrance: Entrance, shut: bool, answer: impl FnOnce(Result<(), Error>)) -> Entrance {
        let was_shut = matches!(entrance, Entrance::Shut(_));
        let (entrance, result) = self.config(|config| entrance.turn(shut, config));
        let is_shut = matches!(entrance, Entrance::Shut(_));
        self.is_shut.store(is_shut, Relaxed);
        if is_shut != was_shut {
            let what = if is_shut { "clients are refused until it listens again" } else { "listening again" };
            log::info!(target: log_target::LISTENER, "{}: {what}", self.shared.address);
        }
        answer(result);
        entrance
    }

    /// Closes the server: its lanes may end, and all waiting threads and tasks are woken.
    pub(crate) fn announce_closed(&self) {
        self.shared.lanes.leave();
        self.shutdown.announce_closed();
    }
}
