//! The entrance of a server: open while it listens, shut while clients are refused; and the orders that change that.

use std::{
    sync::{Mutex, mpsc as blocking},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    io::{listener::Listener, options::SocketOptions, paused::Paused},
    settings::config::Config,
    words::{
        error::{Error, ErrorKind},
        lock::EvenPoisoned,
    },
};

/// Maximum number of orders that wait for the accepting task: callers wait for each.
const ORDERS: usize = 64;

/// How long a caller waits for the accepting task, which never blocks.
const PATIENCE: Duration = Duration::from_secs(5);

/// The place where clients come in.
#[derive(Debug)]
pub(crate) enum Entrance {
    Open(Listener),
    Shut(Paused),
}

impl Entrance {
    /// Opens it or shuts it. The error where that failed comes with the entrance as it was.
    pub(crate) fn turn(self, shut: bool, config: &Config) -> (Self, Result<(), Error>) {
        match (self, shut) {
            (Self::Open(listener), true) => {
                let options = SocketOptions { unacknowledged: config.timeouts.unacknowledged };
                match Paused::of(listener, config.listening.reuse_port, &options) {
                    Ok(paused) => (Self::Shut(paused), Ok(())),
                    Err(failed) => (Self::Open(failed.0), Err(failed.1)),
                }
            }
            (Self::Shut(paused), false) => match paused.resume(config.listening.backlog) {
                Ok(listener) => (Self::Open(listener), Ok(())),
                Err(failed) => (Self::Shut(failed.0), Err(failed.1)),
            },
            (as_wanted, _) => (as_wanted, Ok(())),
        }
    }
}

/// An order to the accepting task.
#[derive(Debug)]
pub(crate) struct Order {
    pub shuts: bool,
    /// `None` if the faults of the server demand it.
    done: Option<blocking::SyncSender<Result<(), Error>>>,
}

impl Order {
    /// Returns the order of the server's faults.
    pub(crate) fn of_faults(shuts: bool) -> Self {
        Self { shuts, done: None }
    }

    /// Returns true if the faults of the server demand it.
    pub(crate) fn is_of_faults(&self) -> bool {
        self.done.is_none()
    }

    /// Lets the caller go on.
    pub(crate) fn answer(self, result: Result<(), Error>) {
        // Without a receiver the caller has given up.
        let _ = self.done.map(|done| done.try_send(result));
    }
}

/// The way of orders to the accepting task.
#[derive(Debug)]
pub(crate) struct Orders {
    sender: mpsc::Sender<Order>,
    /// Until the accepting task has it.
    receiver: Mutex<Option<mpsc::Receiver<Order>>>,
}

impl Orders {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(ORDERS);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }

    /// Returns the orders; none after the first call.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Order>> {
        self.receiver.lock().even_poisoned().take()
    }

    /// Sends an order, and blocks until it is carried out.
    pub(crate) fn give(&self, shuts: bool) -> Result<(), Error> {
        let (done, answer) = blocking::sync_channel(1);
        let stopped = || Error::new(ErrorKind::Stopped, "server: it was stopped; make a new server");
        let late = || {
            let message = format!("server: it has not carried out a pause of listening within {PATIENCE:?}; try it again");
            Error::new(ErrorKind::Runtime, message)
        };
        self.sender.try_send(Order { shuts, done: Some(done) }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => late(),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
            blocking::RecvTimeoutError::Timeout => Err(late()),
            blocking::RecvTimeoutError::Disconnected => Err(stopped()),
        })
    }
}

/// Returns the next order that wants something else than what is; the others are carried out already.
pub(crate) async fn next_order(orders: &mut mpsc::Receiver<Order>, is_shut: bool) -> Order {
    loop {
        match orders.recv().await {
            Some(order) if order.shuts != is_shut => return order,
            Some(order) => order.answer(Ok(())),
            None => std::future::pending().await,
        }
    }
}
