//! Name lookup: the system's own resolver, each name asked once at a time.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

use super::{connector::is_exhaustion, reserve::Descriptor};
use crate::{
    error::reason_text,
    outcome::{CloseReason, Outcome},
};

type Answer = Result<Arc<[SocketAddr]>, Outcome>;

/// How long an answer serves further connections. `getaddrinfo` tells no TTL, so it is short: a change is
/// followed within a second, and a thousand connections a second cost one lookup.
const KEEP: Duration = Duration::from_secs(1);

/// Names remembered at once; beyond it all answers that are no longer fresh are forgotten.
const MOST_NAMES: usize = 1024;

#[derive(Debug)]
enum Entry {
    Asking(watch::Receiver<Option<Answer>>),
    Known(Instant, Answer),
}

/// Names looked up at once, each of which keeps a thread waiting. Further ones wait for their turn, within the
/// connect timeout of those who ask.
pub(crate) const MOST_LOOKUPS: usize = 16;

/// The names asked for lately. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    names: Mutex<HashMap<String, Entry>>,
    turns: Semaphore,
    runtime: Handle,
}

impl Resolver {
    /// One whose lookups run in the blocking threads of this runtime, whoever asks.
    pub(crate) fn on(runtime: Handle) -> Self {
        Self(Arc::new(Shared { names: Mutex::default(), turns: Semaphore::new(MOST_LOOKUPS), runtime }))
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every address of `host`, in the system's order (RFC 6724), with port 0.
    ///
    /// The lookup runs on its own: a caller that goes away does not end it for the others who wait for it.
    pub(crate) async fn resolve(&self, host: &str) -> Answer {
        let mut receiver = match self.ask(host) {
            Ok(answer) => return answer,
            Err(receiver) => receiver,
        };
        let answer = match receiver.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| {
            Err(Outcome::explained(
                CloseReason::ResolveFailed,
                format!(
                    "{host:?} cannot be looked up: no thread could be started for it; raise the limit of processes (ulimit -u)"
                ),
            ))
        })
    }

    /// The answer if it is fresh, or the channel that will have it.
    fn ask(&self, host: &str) -> Result<Answer, watch::Receiver<Option<Answer>>> {
        let mut names = self.names();
        match names.get(host) {
            Some(Entry::Known(at, answer)) if at.elapsed() < KEEP => return Ok(answer.clone()),
            // A sender that is gone went with its runtime: ask again.
            Some(Entry::Asking(receiver)) if receiver.has_changed().is_ok() => return Err(receiver.clone()),
            _ => {}
        }
        if names.len() >= MOST_NAMES {
            names.retain(|_, entry| match entry {
                Entry::Known(at, _) => at.elapsed() < KEEP,
                Entry::Asking(receiver) => receiver.has_changed().is_ok(),
            });
        }
        let (sender, receiver) = watch::channel(None);
        names.insert(host.to_owned(), Entry::Asking(receiver.clone()));
        let (resolver, name) = (self.clone(), host.to_owned());
        // A task of its own: if the system refuses the thread, that is the end of this task only, and the channel tells.
        self.0.runtime.spawn(async move {
            let turn = resolver.0.turns.acquire().await;
            let asked = name.clone();
            #[expect(clippy::disallowed_methods, reason = "bounded by the turns, and each name is asked once at a time")]
            let looked_up = tokio::task::spawn_blocking(move || look_up(&asked)).await;
            drop(turn);
            if let Ok(answer) = looked_up {
                if matches!(&answer, Err(outcome) if outcome.reason == CloseReason::FdExhausted) {
                    // That says nothing about the name, and may be over at once.
                    resolver.names().remove(&name);
                } else {
                    resolver.names().insert(name, Entry::Known(Instant::now(), answer.clone()));
                }
                let _ = sender.send(Some(answer));
            }
        });
        Err(receiver)
    }
}

/// Before and after the question: a system's resolver without a descriptor may say that there is no such name.
fn look_up(host: &str) -> Answer {
    spare_descriptor(host)?;
    ask_system(host).or_else(|failed| spare_descriptor(host).and(Err(failed)))
}

fn spare_descriptor(host: &str) -> Result<(), Outcome> {
    match Descriptor::new() {
        Err(error) if is_exhaustion(&error) => Err(exhausted(host, error)),
        _ => Ok(()),
    }
}

fn exhausted(host: &str, error: io::Error) -> Outcome {
    let Outcome { reason, error } = Outcome::from_connect(error);
    Outcome::explained(reason, format!("{host:?} cannot be looked up: {}", error.unwrap_or_default()))
}

fn ask_system(host: &str) -> Answer {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let failed = |reason, why: String| Err(Outcome::explained(reason, format!("{host:?} {why}")));
    match getaddrinfo(Some(host), None, Some(hints)) {
        Ok(found) => {
            let addresses: io::Result<Vec<SocketAddr>> = found.map(|entry| entry.map(|info| info.sockaddr)).collect();
            match addresses {
                Ok(addresses) if !addresses.is_empty() => Ok(addresses.into()),
                Ok(_) => failed(CloseReason::NameNotFound, "has no address".into()),
                Err(error) => failed(CloseReason::ResolveFailed, format!("cannot be looked up: {}", reason_text(&error))),
            }
        }
        Err(error) => match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => {
                failed(CloseReason::NameNotFound, "does not resolve: no such name".into())
            }
            LookupErrorKind::Again => failed(CloseReason::ResolveFailed, "cannot be looked up: no name server answered".into()),
            _ => match io::Error::from(error) {
                error if is_exhaustion(&error) => Err(exhausted(host, error)),
                error => failed(CloseReason::ResolveFailed, format!("cannot be looked up: {}", reason_text(&error))),
            },
        },
    }
}
