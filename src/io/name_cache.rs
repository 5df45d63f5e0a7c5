//! The names asked for lately: their answers, and whose turn it is to be looked up.

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

/// How long an answer serves further connections. `getaddrinfo` has no TTL to say, so it is short: a change is
/// followed within a second, and a thousand connections a second cost one lookup.
const KEEP: Duration = Duration::from_secs(1);

/// How long a failure that took at least [`KEEP`] to come serves further connections: the next would wait as long, and
/// keep a thread for it.
const KEEP_LATE_FAILURE: Duration = Duration::from_secs(5);

/// Answers remembered at once.
const MOST_NAMES: usize = 1024;

/// Names that wait for their turn at once.
const MOST_WAITING: usize = 1024;

/// Lookups at once, each of which keeps a thread waiting: nothing can call the system's resolver back.
pub(super) const MOST_LOOKUPS: usize = 256;

/// As many of them are for names that had an address when they were last asked for.
const RESERVED: usize = 16;

/// Lookups that may be not slow yet at once. Older ones hold up no others.
const MOST_YOUNG: usize = 24;

/// From this many slow lookups on, new ones are begun one by one, so that a name asked for later finds a thread as well.
const MANY_SLOW: usize = 208;

/// Between two of those.
const PACE: Duration = Duration::from_millis(100);

/// How long a name waits for its turn while many are slow. Then it is refused, so that its client knows.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Entry {
    /// Waits for its turn, or is being looked up. Without a receiver nobody waits for it any more.
    Asking(watch::Sender<Option<Answer>>),
    Known {
        answer: Answer,
        until: Instant,
    },
}

#[derive(Debug, Default)]
pub(super) struct Names {
    entries: HashMap<String, Entry>,
    /// In the order they were asked for, and when that was.
    waiting: VecDeque<(String, Instant)>,
    running: usize,
    /// Of those running.
    slow: usize,
    /// No earlier than this is the next begun, while many are slow.
    next: Option<Instant>,
    /// Somebody looks again at `next`.
    looks: bool,
    /// The next turn is for the name that was asked for last.
    last_first: bool,
}

/// Work to do once the lock on the names is released.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub begin: Vec<String>,
    pub look_again: Option<Instant>,
}

impl Names {
    /// The answer if it is there, or the channel that will have it, and what is due then.
    pub(super) fn ask(&mut self, host: &str) -> Result<Answer, (Receiver, Due)> {
        let had_addresses = match self.entries.get(host) {
            Some(Entry::Known { answer, until }) if *until > Instant::now() => return Ok(answer.clone()),
            Some(Entry::Asking(sender)) => return Err((sender.subscribe(), Due::default())),
            Some(Entry::Known { answer, .. }) => answer.is_ok(),
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
        self.entries.insert(host.to_owned(), Entry::Asking(sender));
        if had_addresses {
            self.running += 1;
            return Err((receiver, Due { begin: vec![host.to_owned()], look_again: None }));
        }
        self.waiting.push_back((host.to_owned(), Instant::now()));
        Err((receiver, self.due()))
    }

    /// Begins what was due at the time that was to be looked at again.
    pub(super) fn look_again(&mut self) -> Due {
        self.looks = false;
        self.due()
    }

    /// A lookup that runs is slow from now on.
    pub(super) fn slowed(&mut self) -> Due {
        self.slow += 1;
        self.due()
    }

    /// A lookup has ended.
    pub(super) fn ended(&mut self, slow: bool) -> Due {
        self.running -= 1;
        self.slow -= usize::from(slow);
        self.due()
    }

    /// A lookup has ended without an answer, for want of a thread or of a runtime. Those that wait would have none either:
    /// their senders go.
    pub(super) fn failed(&mut self, name: &str, slow: bool) {
        self.running -= 1;
        self.slow -= usize::from(slow);
        self.entries.remove(name);
        for (name, _) in std::mem::take(&mut self.waiting) {
            self.entries.remove(&name);
        }
    }

    /// No thread may be taken for a name that had no address before.
    fn is_full(&self) -> bool {
        self.running >= MOST_LOOKUPS - RESERVED
    }

    /// Takes the next name that somebody waits for. From both ends by turns: whatever came before or after it in one
    /// burst, a name at either end has its turn soon. While many are slow, those before it may be as slow.
    fn take_waiting(&mut self) -> Option<String> {
        loop {
            self.last_first = !self.last_first || self.slow >= MANY_SLOW;
            let (name, _) = if self.last_first { self.waiting.pop_back() } else { self.waiting.pop_front() }?;
            match self.entries.get(&name) {
                Some(Entry::Asking(sender)) if !sender.is_closed() => return Some(name),
                _ => self.entries.remove(&name),
            };
        }
    }

    /// Forgets names that nobody waits for any more before they were begun.
    fn forget_abandoned(&mut self) {
        let entries = &mut self.entries;
        self.waiting.retain(|(name, _)| {
            let wanted = matches!(entries.get(name), Some(Entry::Asking(sender)) if !sender.is_closed());
            if !wanted {
                entries.remove(name);
            }
            wanted
        });
    }

    /// The names whose turn has come.
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

    /// Refuses those that were asked for at `until` or before.
    fn refuse_waiting(&mut self, until: Instant) {
        while self.waiting.front().is_some_and(|(_, asked)| *asked <= until) {
            let Some((name, _)) = self.waiting.pop_front() else { return };
            if let Some(Entry::Asking(sender)) = self.entries.remove(&name) {
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

    /// Answers those who wait for `name`, and remembers the answer for others.
    pub(super) fn know(&mut self, name: &str, answer: Answer, took: Duration) {
        if let Some(Entry::Asking(sender)) = self.entries.remove(name) {
            let _ = sender.send(Some(answer.clone()));
        }
        // That says nothing about the name, and may be over at once.
        if matches!(&answer, Err(outcome) if outcome.reason == CloseReason::FdExhausted) {
            return;
        }
        let keep = if answer.is_err() && took >= KEEP { KEEP_LATE_FAILURE } else { KEEP };
        let now = Instant::now();
        if self.entries.len() >= MOST_NAMES {
            // Stale addresses are worth something: their names need not queue.
            for keep_addresses in [true, false] {
                if self.entries.len() >= MOST_NAMES {
                    self.entries.retain(|_, entry| match entry {
                        Entry::Known { answer, until } => *until > now || (keep_addresses && answer.is_ok()),
                        Entry::Asking(_) => true,
                    });
                }
            }
        }
        if self.entries.len() < MOST_NAMES {
            self.entries.insert(name.to_owned(), Entry::Known { answer, until: now + keep });
        }
    }
}
