//! The state of a server that only accepting needs: the limit, the failures, and the shutdown.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};

use crate::{
    connection::context::{ConnectionContext, ServerShared},
    server::shutdown::Shutdown,
    settings::config::Config,
    words::throttle::Throttle,
};

/// The state of one server, from bind to close.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub shared: Arc<ServerShared>,
    pub shutdown: Shutdown,
    pub accept_errors: AtomicU64,
    /// True while the accepting task waits after a failure before it accepts again.
    pub accept_paused: AtomicBool,
    pub accept_log: Throttle,
    /// Number of times that a client waited in the backlog because `max_connections` was reached.
    pub max_connections_reached: AtomicU64,
    pub full_log: Throttle,
    /// The limit in force; 0 before the start when it depends on the descriptors of the process.
    pub max_connections: AtomicUsize,
    current: Mutex<Current>,
}

/// The settings for clients accepted from now on.
#[derive(Debug)]
struct Current {
    config: Config,
    context: Arc<ConnectionContext>,
}

impl ServerState {
    pub(crate) fn new(shared: ServerShared, config: Config) -> Self {
        let shared = Arc::new(shared);
        let context = Arc::new(ConnectionContext::new(Arc::clone(&shared), &config));
        Self {
            shared,
            shutdown: Shutdown::new(),
            accept_errors: AtomicU64::new(0),
            accept_paused: AtomicBool::new(false),
            accept_log: Throttle::default(),
            max_connections_reached: AtomicU64::new(0),
            full_log: Throttle::default(),
            max_connections: AtomicUsize::new(config.limits.max_connections.unwrap_or(0)),
            current: Mutex::new(Current { config, context }),
        }
    }

    /// Returns the settings for a client that is accepted now.
    pub(crate) fn context(&self) -> Arc<ConnectionContext> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).context)
    }

    /// Calls `read` with the configuration.
    pub(crate) fn config<T>(&self, read: impl FnOnce(&Config) -> T) -> T {
        read(&self.current.lock().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Closes the server: its lanes may end, and all waiting threads and tasks are woken.
    pub(crate) fn announce_closed(&self) {
        self.shared.lanes.leave();
        self.shutdown.announce_closed();
    }
}
