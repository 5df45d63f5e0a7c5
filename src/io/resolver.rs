//! Name lookup: one lookup per name at a time; names without an answer do not delay other names.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{
    lookup,
    name_cache::{Answer, Due, Names},
};
use crate::words::{
    lock::EvenPoisoned,
    outcome::{CloseReason, Outcome},
};

/// A running lookup. Completes with `None` if the system refused a thread.
type Asked = Pin<Box<dyn Future<Output = Option<Answer>> + Send>>;

/// The age at which a lookup counts as slow and no longer takes one of the places of young lookups.
const SLOW: Duration = Duration::from_millis(100);

/// Looks up names, and keeps recent answers. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(Arc<ResolverShared>);

struct ResolverShared {
    names: Mutex<Names>,
    look_up: Box<dyn Fn(String) -> Asked + Send + Sync>,
    runtime: Handle,
}

impl fmt::Debug for ResolverShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.fmt(f)
    }
}

impl Resolver {
    /// Returns a resolver that runs each lookup on a thread of its own, at most `name_cache::MOST_LOOKUPS` at once. The tasks
    /// that wait for these threads run on `runtime`.
    pub(crate) fn on(runtime: Handle) -> Self {
        Self::with(runtime, |name| {
            Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                let ask = move || drop(answer.send(lookup::look_up(&name)));
                // Not the runtime's blocking pool: it panics where the system refuses a thread.
                thread::Builder::new().name("interpose-dns".to_owned()).spawn(ask).ok()?;
                answered.await.ok()
            })
        })
    }

    fn with(runtime: Handle, look_up: impl Fn(String) -> Asked + Send + Sync + 'static) -> Self {
        Self(Arc::new(ResolverShared { names: Mutex::default(), look_up: Box::new(look_up), runtime }))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().even_poisoned()
    }

    /// Returns every address of `host`, in the system's order (RFC 6724), with port 0.
    ///
    /// A running lookup goes on when its caller leaves, for the other callers of the same name; a lookup that has not begun
    /// is dropped once nobody waits for it.
    pub(crate) async fn resolve(&self, host: &str) -> Answer {
        let asked = self.names().ask(host);
        let (mut receiver, due) = match asked {
            Ok(answer) => return answer,
            Err(asked) => asked,
        };
        self.go_on(due);
        let answer = match receiver.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| {
            let why = "no thread could be started for it; raise the limit of processes (ulimit -u)";
            Err(Outcome::explained(CloseReason::ResolveFailed, format!("{host:?} cannot be looked up: {why}")))
        })
    }

    /// Starts the lookups and the timer that are due. Called without the lock: a runtime that has ended drops a spawned task
    /// here, and that drop takes the lock.
    fn go_on(&self, due: Due) {
        for name in due.begin {
            let running = Running { resolver: self.clone(), name, slow: false, answered: false };
            self.0.runtime.spawn(running.run());
        }
        if let Some(at) = due.look_again {
            let resolver = self.clone();
            self.0.runtime.spawn(async move {
                sleep_until(at).await;
                let due = resolver.names().look_again();
                resolver.go_on(due);
            });
        }
    }
}

/// A lookup that has begun. Counted as running until dropped, also where no thread was available or the runtime has ended.
struct Running {
    resolver: Resolver,
    name: String,
    slow: bool,
    answered: bool,
}

impl Running {
    async fn run(mut self) {
        let begun = Instant::now();
        let mut asked = (self.resolver.0.look_up)(self.name.clone());
        let answer = tokio::select! {
            biased;
            answer = &mut asked => answer,
            () = sleep(SLOW) => {
                self.grow_slow();
                asked.await
            }
        };
        if let Some(answer) = answer {
            self.answered = true;
            self.resolver.names().know(&self.name, answer, begun.elapsed());
        }
    }

    fn grow_slow(&mut self) {
        self.slow = true;
        let due = self.resolver.names().slowed();
        self.resolver.go_on(due);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.answered {
            self.resolver.names().failed(&self.name, self.slow);
            return;
        }
        let due = self.resolver.names().ended(self.slow);
        self.resolver.go_on(due);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::name_cache::MOST_LOOKUPS, *};

    /// The lookups that a test has answered.
    #[derive(Debug, Default)]
    struct Asked {
        names: Vec<String>,
        running: usize,
        most: usize,
    }

    /// Returns a resolver for which names that begin with `slow` fail after 30 s, and all others have an answer after 1 ms.
    fn resolver() -> (Resolver, Arc<Mutex<Asked>>) {
        let asked = Arc::new(Mutex::new(Asked::default()));
        let of = Arc::clone(&asked);
        let look_up = move |name: String| -> super::Asked {
            let of = Arc::clone(&of);
            Box::pin(async move {
                {
                    let mut asked = of.lock().unwrap();
                    asked.names.push(name.clone());
                    asked.running += 1;
                    asked.most = asked.most.max(asked.running);
                }
                let slow = name.starts_with("slow");
                sleep(if slow { Duration::from_secs(30) } else { Duration::from_millis(1) }).await;
                of.lock().unwrap().running -= 1;
                Some(if slow { Err(Outcome::plain(CloseReason::ResolveFailed)) } else { Ok([([127, 0, 0, 1], 0).into()].into()) })
            })
        };
        (Resolver::with(Handle::current(), look_up), asked)
    }

    /// Starts clients that wait for `count` names without an answer, with a connect timeout of 10 s each.
    fn hang(resolver: &Resolver, from: usize, count: usize) -> Vec<tokio::task::JoinHandle<Option<Answer>>> {
        let wait = |name: String| {
            let resolver = resolver.clone();
            async move { tokio::time::timeout(Duration::from_secs(10), resolver.resolve(&name)).await.ok() }
        };
        (from..from + count).map(|number| tokio::spawn(wait(format!("slow{number}")))).collect()
    }

    async fn time_for(resolver: &Resolver, name: &str) -> Duration {
        let begun = Instant::now();
        resolver.resolve(name).await.unwrap();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn names_without_an_answer_hold_up_no_other() {
        for (before, after) in [(40, 0), (200, 0), (0, 200), (100, 100), (1000, 0)] {
            let (resolver, asked) = resolver();
            let early = hang(&resolver, 0, before);
            tokio::task::yield_now().await;
            let good = {
                let resolver = resolver.clone();
                tokio::spawn(async move { time_for(&resolver, "good").await })
            };
            tokio::task::yield_now().await;
            let late = hang(&resolver, before, after);
            let took = good.await.unwrap();
            assert!(took < Duration::from_secs(1), "{took:?} beside {before} before and {after} after it");
            // Nor a while later.
            sleep(Duration::from_secs(3)).await;
            let took = time_for(&resolver, "better").await;
            assert!(took < Duration::from_secs(1), "{took:?} later, beside {before} and {after}");
            assert!(asked.lock().unwrap().most <= MOST_LOOKUPS);
            early.iter().chain(&late).for_each(tokio::task::JoinHandle::abort);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_nobody_waits_for_any_more_is_not_begun() {
        let (resolver, asked) = resolver();
        let waiting = hang(&resolver, 0, 40);
        sleep(Duration::from_millis(10)).await;
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(asked.lock().unwrap().names.len(), 24);
        assert_eq!(time_for(&resolver, "good").await, Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_once_however_many_wait() {
        let (resolver, asked) = resolver();
        let waiting: Vec<_> = (0..50).flat_map(|_| hang(&resolver, 0, 1)).collect();
        for client in waiting {
            assert!(client.await.unwrap().is_none(), "given up after its connect timeout");
        }
        // The lookup still runs, and serves later callers.
        assert!(resolver.resolve("slow0").await.is_err());
        assert_eq!(asked.lock().unwrap().names, ["slow0"]);
        // The failure took long, so it is kept for 5 s.
        sleep(Duration::from_secs(4)).await;
        let begun = Instant::now();
        assert!(resolver.resolve("slow0").await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        sleep(Duration::from_secs(2)).await;
        let again = hang(&resolver, 0, 1);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(asked.lock().unwrap().names, ["slow0", "slow0"]);
        drop(again);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_thread_left_a_name_is_refused_at_once_and_one_that_had_an_address_is_not() {
        let (resolver, asked) = resolver();
        time_for(&resolver, "good").await;
        // Each wave is given up before the next comes; its lookups go on.
        let mut full = HashSet::new();
        for wave in 0..20 {
            let clients = hang(&resolver, wave * 100, 100);
            sleep(Duration::from_secs(1)).await;
            clients.iter().for_each(tokio::task::JoinHandle::abort);
            let begun = Instant::now();
            if let Err(outcome) = resolver.resolve(&format!("other{wave}")).await {
                assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
                assert_eq!(outcome.reason, CloseReason::ResolveFailed);
                assert!(outcome.error.unwrap().contains("had no answer yet"));
                full.insert(wave);
            }
            assert!(time_for(&resolver, "good").await < Duration::from_millis(10));
        }
        assert!(!full.is_empty(), "the bound is reached");
        assert!(asked.lock().unwrap().most <= MOST_LOOKUPS);
        // Names are accepted again once those lookups have ended.
        sleep(Duration::from_secs(31)).await;
        assert!(time_for(&resolver, "new").await < Duration::from_secs(1));
    }
}
