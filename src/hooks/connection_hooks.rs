//! The hooks of one connection: which are wanted, where they are called, and the wait for an answer before bytes are relayed.

use std::sync::{Arc, OnceLock};

use super::{Answer, Failed, Hooks, ServerHooks};
use crate::{
    live::handle::Connection,
    threads::lane::{LaneHandle, Place},
    words::{interest::Interest, outcome::CloseReason},
};

/// The hooks of one connection, and the lane with which it stays.
#[derive(Debug)]
pub(crate) struct ConnectionHooks {
    pub server: Arc<ServerHooks>,
    pub connection: Connection,
    /// Taken when the first hook is wanted. Boxed: a connection without hooks needs only the pointer.
    place: OnceLock<Box<Place>>,
    /// True once any hook may have run; on_close must then be called.
    pub known: bool,
}

impl ConnectionHooks {
    pub(crate) fn new(server: &Arc<ServerHooks>, connection: Connection) -> Self {
        let mut hooks = Self { server: Arc::clone(server), connection, place: OnceLock::new(), known: false };
        hooks.known = hooks.interest() != Interest::NONE;
        hooks
    }

    /// Returns true if the hooks have each socket carried alone.
    pub(crate) fn is_apart(&self) -> bool {
        self.server.apart
    }

    /// Returns the lane that the connection stays with, from the first call on; none while the server has none.
    #[inline]
    pub(crate) fn lane(&self) -> Option<&LaneHandle> {
        self.known_lane().or_else(|| self.take_place())
    }

    /// Returns the lane that the connection has a place on.
    pub(crate) fn known_lane(&self) -> Option<&LaneHandle> {
        self.place.get().map(|place| &place.lane)
    }

    #[cold]
    fn take_place(&self) -> Option<&LaneHandle> {
        if let Some(place) = self.server.lanes.place() {
            let _ = self.place.set(Box::new(place));
        }
        self.known_lane()
    }

    /// Returns the hooks that are wanted of this connection now.
    #[inline]
    pub(crate) fn interest(&self) -> Interest {
        let wanted = self.server.interest();
        // First: most connections have no hooks.
        if wanted == Interest::NONE {
            return wanted;
        }
        let wanted = wanted.without(self.connection.passed_through());
        // Asked for each read of connections whose rest passes as well.
        if wanted == Interest::NONE {
            return wanted;
        }
        let on_lane = wanted.on_lane();
        // Without a lane none of these can be called.
        if on_lane == Interest::NONE || self.lane().is_some() { wanted } else { wanted.without(on_lane) }
    }

    /// Returns true if a relay on this thread calls hooks: one on the lane, or one whose hooks need none.
    pub(crate) fn calls_here(&self, on_lane: bool) -> bool {
        let calls = || {
            let wanted = self.interest();
            wanted.has(Interest::RELAYED) && !wanted.needs_lane()
        };
        on_lane || calls()
    }

    /// Returns the connection's hooks, if `hook` is wanted now.
    pub(crate) fn wanted(&mut self, hook: Interest) -> Option<&Self> {
        let wanted = self.interest().has(hook);
        self.known |= wanted;
        wanted.then_some(self)
    }

    /// Calls `hook` by `question`, on the lane if that is where it is called, and waits for the answer. `on_lane` is true if
    /// the calling thread is the lane. The caller registers the task with the connection's control: a later answer wakes that.
    pub(crate) async fn ask<T, F>(&self, hook: Interest, on_lane: bool, question: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<Answer<T>, Failed> + Send + 'static,
    {
        self.ask_then(hook, on_lane, question, |answer, _| answer).await
    }

    /// Calls a hook as [`ask`](Self::ask) does, and maps the answer with `then`: before another hook runs on that thread, if
    /// the answer is there at once.
    pub(crate) async fn ask_then<T, U, F, G>(&self, hook: Interest, on_lane: bool, question: F, then: G) -> Result<U, Failed>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<Answer<T>, Failed> + Send + 'static,
        G: FnOnce(T, &Connection) -> U + Send + 'static,
    {
        let question = move |hooks: &dyn Hooks, connection: &Connection| match question(hooks, connection)? {
            Answer::Now(answer) => Ok((Some(then(answer, connection)), None)),
            Answer::Later(ticket) => Ok((None, Some((ticket, then)))),
        };
        let wanted = self.interest();
        let elsewhere = wanted.on_lane().has(hook) || !wanted.has(hook) && self.known_lane().is_some();
        match self.ask_first(on_lane || !elsewhere, question).await? {
            (_, Some((ticket, then))) => Ok(then(ticket.answer().await?, &self.connection)),
            (answer, None) => answer.ok_or_else(lane_ended),
        }
    }

    async fn ask_first<T, F>(&self, here: bool, question: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hooks, &Connection) -> Result<T, Failed> + Send + 'static,
    {
        if here {
            return question(&*self.server.hooks, &self.connection);
        }
        let Some(lane) = self.lane() else { return Err(lane_ended()) };
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (hooks, connection) = (Arc::clone(&self.server.hooks), self.connection.clone());
        lane.spawn(async move {
            let _ = answer.send(question(&*hooks, &connection));
        });
        answered.await.unwrap_or_else(|_| Err(lane_ended()))
    }
}

fn lane_ended() -> Failed {
    Failed { reason: CloseReason::Stopped, error: "the lane has ended".to_owned() }
}
