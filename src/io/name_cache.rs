//! Recently requested names: their answers, and the order in which they are looked up.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::words::outcome::{CloseReason, Outcome};

pub(super) type Answer = Result<Arc<[SocketAddr]>, Outcome>;

pub(super) type Receiver = watch::Receiver<Option<Answer>>;

/// How long an answer serves further connections. `getaddrinfo` reports no TTL, so the time is short: a change is noticed
/// within a second, and a thousand connections a second cost one lookup.
const KEEP: Duration = Duration::from_secs(1);

/// How long a failure that took at least [`KEEP`] to arrive serves further connections: the next lookup would take as long,
/// and occupy a thread meanwhile.
const KEEP_LATE_FAILURE: Duration = Duration::from_secs(5);

/// Maximum number of cached answers. Names that wait for an answer count as well.
const MOST_NAMES: usize = 1024;

/// Maximum number of names that wait for a lookup.
const MOST_WAITING: usize = 1024;

/// Maximum number of running lookups. Each occupies a waiting thread, because the system's resolver has no asynchronous
/// interface.
pub(super) const MOST_LOOKUPS: usize = 256;

/// Lookups among `MOST_LOOKUPS` that are reserved for names that had an address at their last lookup.
const RESERVED: usize = 16;

/// Maximum number of running lookups that are not slow yet. Slow lookups do not delay others.
const MOST_YOUNG: usize = 24;

/// Number of slow lookups from which on new lookups begin one at a time, [`PACE`] apart, so that a name requested later finds
/// a free thread as well.
const MANY_SLOW: usize = 208;

/// Time between two such lookups.
const PACE: Duration = Duration::from_millis(100);

/// How long a name waits for its lookup while many are slow. After that it is refused, so that its client gets an answer.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum CachedName {
    /// Waits for its lookup, or is being looked up. Without a receiver, nobody waits for the answer any more.
    Asking(watch::Sender<Option<Answer>>),
    Known {
        answer: Answer,
        until: Instant,
    },
}

#[derive(Debug, Default)]
pub(super) struct Names {
    entries: HashMap<String, CachedName>,
    /// Names in the order of their requests, with the time of each request.
    waiting: VecDeque<(String, Instant)>,
    running: usize,
    /// Number of running lookups that are slow.
    slow: usize,
    /// Earliest time of the next lookup while many are slow.
    next: Option<Instant>,
    /// True while a task is going to call [`look_again`](Self::look_again) at `next`.
    looks: bool,
    /// True if the last lookup was taken from the newest end of the queue.
    last_first: bool,
}

/// Work to do once the lock on the names is released.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub begin: Vec<String>,
    pub look_again: Option<Instant>,
}

impl Names {
    /// Returns the answer if it is cached; otherwise the channel that will receive it, and the work that is due.
    pub(super) fn ask(&mut self, host: &str) -> Result<Answer, (Receiver, Due)> {
        let had_addresses = match self.entries.get(host) {
            Some(CachedName::Known { answer, until }) if *until > Instant::now() => return Ok(answer.clone()),
            Some(CachedName::Asking(sender)) => return Err((sender.subscribe(), Due::default())),
            Some(CachedName::Known { answer, .. }) => answer.is_ok(),
            None => false,
        };
        if self.waiting.len() >= MOST_WAITING {
            self.forget_abandoned();
        }
        let full =
            if had_addresses { self.running >= MOST_LOOKUPS } else { self.is_full() || self.waiting.len() >= MOST_WAITING };
        if full {
            return Ok(self.refusal(host));
        }
        let (sender, receiver) = watch::channel(None);
        self.entries.insert(host.to_owned(), CachedName::Asking(sender));
        if had_addresses {
            self.running += 1;
            return Err((receiver, Due { begin: vec![host.to_owned()], look_again: None }));
        }
        self.waiting.push_back((host.to_owned(), Instant::now()));
        Err((receiver, self.due()))
    }

    /// Returns the lookups that are due after the pause.
    pub(super) fn look_again(&mut self) -> Due {
        self.looks = false;
        self.due()
    }

    /// Counts a running lookup as slow from now on. Returns the work that is due.
    pub(super) fn slowed(&mut self) -> Due {
        self.slow += 1;
        self.due()
    }

    /// Records the end of a lookup. Returns the work that is due.
    pub(super) fn ended(&mut self, slow: bool) -> Due {
        self.running -= 1;
        self.slow -= usize::from(slow);
        self.due()
    }

    /// Records the end of a lookup that had no answer, for lack of a thread or a runtime. Drops the channels of all waiting
    /// names, because their lookups would fail for the same cause.
    pub(super) fn failed(&mut self, name: &str, slow: bool) {
        self.running -= 1;
        self.slow -= usize::from(slow);
        self.entries.remove(name);
        for (name, _) in std::mem::take(&mut self.waiting) {
            self.entries.remove(&name);
        }
    }

    /// Returns true if no further thread may be used for a name that had no address before.
    fn is_full(&self) -> bool {
        self.running >= MOST_LOOKUPS - RESERVED
    }

    /// Takes the next name for which somebody waits, from both ends of the queue in turn: a name at either end of a burst is
    /// looked up soon, however many came before or after it. While many lookups are slow, only the newest end is used,
    /// because the older names may be as slow.
    fn take_waiting(&mut self) -> Option<String> {
        loop {
            self.last_first = !self.last_first || self.slow >= MANY_SLOW;
            let (name, _) = if self.last_first { self.waiting.pop_back() } else { self.waiting.pop_front() }?;
            match self.entries.get(&name) {
                Some(CachedName::Asking(sender)) if !sender.is_closed() => return Some(name),
                _ => self.entries.remove(&name),
            };
        }
    }

    /// Removes waiting names whose callers have all left.
    fn forget_abandoned(&mut self) {
        let entries = &mut self.entries;
        self.waiting.retain(|(name, _)| {
            let wanted = matches!(entries.get(name), Some(CachedName::Asking(sender)) if !sender.is_closed());
            if !wanted {
                entries.remove(name);
            }
            wanted
        });
    }

    /// Returns the lookups that may begin now.
    fn due(&mut self) -> Due {
        let mut due = Due::default();
        while self.running - self.slow < MOST_YOUNG && !self.waiting.is_empty() {
            let now = Instant::now();
            if self.is_full() {
                self.refuse_waiting(now);
                break;
            }
            if self.slow >= MANY_SLOW
                && let Some(until) = now.checked_sub(PATIENCE)
            {
                self.refuse_waiting(until);
            }
            if self.slow >= MANY_SLOW
                && let Some(next) = self.next.filter(|next| *next > now)
            {
                due.look_again = (!std::mem::replace(&mut self.looks, true)).then_some(next);
                break;
            }
            let Some(name) = self.take_waiting() else { break };
            self.next = Some(now + PACE);
            self.running += 1;
            due.begin.push(name);
        }
        due
    }

    /// Refuses waiting names that were requested at `until` or before.
    fn refuse_waiting(&mut self, until: Instant) {
        while self.waiting.front().is_some_and(|(_, asked)| *asked <= until) {
            let Some((name, _)) = self.waiting.pop_front() else { return };
            if let Some(CachedName::Asking(sender)) = self.entries.remove(&name) {
                let _ = sender.send(Some(self.refusal(&name)));
            }
        }
    }

    fn refusal(&self, host: &str) -> Answer {
        let (running, waiting) = (self.running, self.waiting.len());
        let why = format!(
            "{host:?} cannot be looked up now: {running} lookups of other names have had no answer yet, and {waiting} wait for \
             their turn; look after the name server (/etc/resolv.conf), or after the names that clients may choose"
        );
        Err(Outcome::explained(CloseReason::ResolveFailed, why))
    }

    /// Sends `answer` to the callers that wait for `name`, and caches it.
    pub(super) fn know(&mut self, name: &str, answer: Answer, took: Duration) {
        if let Some(CachedName::Asking(sender)) = self.entries.remove(name) {
            let _ = sender.send(Some(answer.clone()));
        }
        // Exhaustion concerns this process, not the name, and may end at once.
        if matches!(&answer, Err(outcome) if outcome.reason == CloseReason::FdExhausted) {
            return;
        }
        let keep = if answer.is_err() && took >= KEEP { KEEP_LATE_FAILURE } else { KEEP };
        let now = Instant::now();
        if self.entries.len() >= MOST_NAMES {
            // Expired addresses are removed last: a name that had an address does not queue.
            for keep_addresses in [true, false] {
                if self.entries.len() >= MOST_NAMES {
                    self.entries.retain(|_, entry| match entry {
                        CachedName::Known { answer, until } => *until > now || (keep_addresses && answer.is_ok()),
                        CachedName::Asking(_) => true,
                    });
                }
            }
        }
        if self.entries.len() < MOST_NAMES {
            self.entries.insert(name.to_owned(), CachedName::Known { answer, until: now + keep });
        }
    }
}
