//! Reads what a client says first, for the hook that decides by it where the client goes.

use std::{future::poll_fn, io::ErrorKind};

use bytes::{Bytes, BytesMut};

use crate::{
    connection::unserved::{Unserved, unless_ended},
    hooks::{Decision, connection_hooks::ConnectionHooks},
    io::deadline,
    live::{handle::Connection, shared::Shared},
    settings::config::{Preread, Undecided},
    words::{
        direction::Side,
        interest::Interest,
        outcome::{CloseReason, Outcome},
    },
};

/// Maximum bytes of one read.
const STEP: usize = 4 * 1024;

/// The hook, and what it decides about.
pub(super) struct Prereading<'a> {
    pub hooks: &'a ConnectionHooks,
    pub on_lane: bool,
    pub shared: &'a Shared,
    pub bounds: &'a Preread,
}

impl Prereading<'_> {
    /// Reads from the client until the hook has decided by what it has said, maps the decision with `then` as [`ask_then`]
    /// does, and puts everything that was read back in front of the stream.
    ///
    /// [`ask_then`]: ConnectionHooks::ask_then
    pub(super) async fn decide<T, F>(&self, client: &mut Unserved, then: F) -> Result<Option<T>, Outcome>
    where
        T: Send + 'static,
        F: Fn(Decision, &Connection) -> T + Clone + Send + 'static,
    {
        let mut said = BytesMut::new();
        let deciding = self.decide_by(client, &mut said, then);
        let decided = match self.bounds.timeout {
            Some(limit) => deadline::within(limit, deciding)
                .await
                .unwrap_or_else(|| self.undecided(format!("on_preread had not decided within {limit:?}"))),
            None => deciding.await,
        };
        if let Some(client) = &mut client.0 {
            client.unread(said.freeze());
        }
        decided
    }

    async fn decide_by<T, F>(&self, client: &mut Unserved, said: &mut BytesMut, then: F) -> Result<Option<T>, Outcome>
    where
        T: Send + 'static,
        F: Fn(Decision, &Connection) -> T + Clone + Send + 'static,
    {
        loop {
            let limit = self.bounds.limit;
            if said.len() >= limit {
                return self.undecided(format!("on_preread had not decided by the first {limit} bytes (preread_limit)"));
            }
            if !self.read_more(client, said).await? {
                return self.undecided(format!("on_preread had not decided when the client ended, after {} bytes", said.len()));
            }
            let (data, then) = (Bytes::copy_from_slice(said), then.clone());
            let asked = self.hooks.ask_then(
                Interest::PREREAD,
                self.on_lane,
                move |hooks, connection| hooks.on_preread(connection, &data),
                move |decision, connection| decision.map(|decision| then(decision, connection)),
            );
            let asked = async { asked.await.map_err(Outcome::from) };
            if let Some(decided) = unless_ended(asked, self.shared, Some(client)).await? {
                return Ok(Some(decided));
            }
        }
    }

    /// Appends bytes of the client to those that were read. Returns false at its end.
    async fn read_more(&self, client: &mut Unserved, said: &mut BytesMut) -> Result<bool, Outcome> {
        let Some(stream) = &mut client.0 else { return Ok(false) };
        let mut buffer = vec![0; STEP.min(self.bounds.limit - said.len())];
        let reading = async {
            loop {
                match poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(Outcome::from_handshake(Side::Client, &error)),
                    Ok(bytes) => return Ok(bytes),
                }
            }
        };
        let bytes = unless_ended(reading, self.shared, None).await?;
        said.extend_from_slice(&buffer[..bytes]);
        Ok(bytes > 0)
    }

    /// Returns the outcome of a client about which nothing was decided; `None` if it goes to the server's own forward.
    fn undecided<T>(&self, why: String) -> Result<Option<T>, Outcome> {
        match self.bounds.undecided {
            Undecided::Default => Ok(None),
            Undecided::Refuse => Err(Outcome::explained(CloseReason::Undecided, why)),
        }
    }
}
