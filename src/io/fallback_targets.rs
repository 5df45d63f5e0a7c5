//! The targets of a forward: tried in order, and all of them again after a pause, until one is connected.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    connector::{ConnectedUpstream, Way, connect_once},
    reserve::Reserve,
};
use crate::{
    settings::forward::Forward,
    words::outcome::{CloseReason, Outcome},
};

/// Pause before the targets are tried a second time. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Maximum of a pause: an upstream that has come up waits no longer for its clients.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connects to the first target of `forward` that can be connected, or returns the reason of the last failure. The first
/// attempt uses the descriptors of `reserve`; none is held during a pause.
pub(crate) async fn connect(forward: &Forward, way: Way<'_>, reserve: Option<Reserve>) -> Result<ConnectedUpstream, Outcome> {
    if forward.fallback.is_empty() && forward.retry.is_none() {
        let failed = |outcome: Outcome| Failures::of(forward, outcome).into_outcome(forward);
        return connect_once(forward, way, reserve).await.map_err(failed);
    }
    // Boxed: most forwards have one target, and their connections need no memory for this.
    Box::pin(connect_any(forward, way, reserve)).await
}

async fn connect_any(forward: &Forward, way: Way<'_>, mut reserve: Option<Reserve>) -> Result<ConnectedUpstream, Outcome> {
    let mut failures =
        Failures { begin: Instant::now(), rounds: 0, last: Vec::new(), reason: CloseReason::ConnectFailed, fault: None };
    let mut pause = FIRST_PAUSE;
    loop {
        failures.rounds += 1;
        for (at, target) in forward.targets().enumerate() {
            match connect_once(target, way, reserve.take()).await {
                Ok(connected) => {
                    let passed_over = failures.passed_over(forward, at);
                    return Ok(ConnectedUpstream { passed_over, ..connected });
                }
                Err(outcome) => {
                    let is_final = !is_of_the_target(outcome.reason);
                    failures.note(at, outcome);
                    if is_final {
                        return Err(failures.into_outcome(forward));
                    }
                }
            }
        }
        let left = forward.retry.unwrap_or_default().saturating_sub(failures.begin.elapsed());
        if left.is_zero() {
            return Err(failures.into_outcome(forward));
        }
        sleep(shortened(pause).min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns true for a failure for which another target, or a later attempt, may make up. Not for a shortage of this machine,
/// which another target would only hide, nor for a connection that leads back here.
fn is_of_the_target(reason: CloseReason) -> bool {
    use CloseReason as Reason;
    matches!(
        reason,
        Reason::Refused
            | Reason::Unreachable
            | Reason::ConnectTimeout
            | Reason::NameNotFound
            | Reason::ResolveFailed
            | Reason::UpstreamReset
            | Reason::ConnectFailed
    )
}

/// Returns `pause`, shortened by up to a half at random: clients that were refused together do not all come back together.
fn shortened(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1024;
    pause - pause.mul_f64(random as f64 / 2048.0)
}

/// The failed attempts of one connection.
struct Failures {
    begin: Instant,
    /// Number of times that the targets were tried.
    rounds: u32,
    /// The explanation of each target's last failure, in the order of the targets; shorter in an unfinished first round.
    last: Vec<String>,
    /// The reason of the last failure.
    reason: CloseReason,
    /// The fault of the last target's certificate, if that was the reason.
    fault: Option<u8>,
}

impl Failures {
    /// Returns the failure of the only attempt.
    fn of(forward: &Forward, outcome: Outcome) -> Self {
        debug_assert!(forward.fallback.is_empty(), "it has one target");
        let mut failures = Self { begin: Instant::now(), rounds: 1, last: Vec::new(), reason: outcome.reason, fault: None };
        failures.note(0, outcome);
        failures
    }

    fn note(&mut self, at: usize, outcome: Outcome) {
        (self.reason, self.fault) = (outcome.reason, outcome.certificate_fault);
        let why = outcome.error.unwrap_or_default();
        match self.last.get_mut(at) {
            Some(known) => *known = why,
            None => self.last.push(why),
        }
    }

    /// Returns each target that has failed, with its reason.
    fn list(&self, forward: &Forward) -> String {
        let list: Vec<String> =
            forward.targets().zip(&self.last).map(|(target, why)| format!("{}: {why}", target.address)).collect();
        list.join("; ")
    }

    fn into_outcome(self, forward: &Forward) -> Outcome {
        let mut error = format!("cannot connect to {}", self.list(forward));
        if forward.retry.is_some() {
            error.push_str(&format!("; tried {} in {:.1} s", self.times(), self.begin.elapsed().as_secs_f64()));
        }
        Outcome { certificate_fault: self.fault, ..Outcome::explained(self.reason, error) }
    }

    /// Returns the line about targets that have failed before the one at `at` was connected, if any have.
    fn passed_over(&self, forward: &Forward, at: usize) -> Option<Box<str>> {
        if self.last.is_empty() {
            return None;
        }
        let target = forward.targets().nth(at).map(|target| &target.address)?;
        let mut line = format!("connected to {target}");
        if self.rounds > 1 {
            line.push_str(&format!(", tried {} in {:.1} s", self.times(), self.begin.elapsed().as_secs_f64()));
        }
        Some(format!("{line}; before that cannot connect to {}", self.list(forward)).into())
    }

    fn times(&self) -> String {
        if self.rounds == 1 { "once".to_owned() } else { format!("{} times", self.rounds) }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        net::{SocketAddr, TcpListener},
        sync::Arc,
    };

    use tokio::runtime::Handle;

    use super::*;
    use crate::io::{
        hops::{Came, Hops},
        options::SocketOptions,
        resolver::Resolver,
    };

    /// Returns an address on which nobody listens.
    fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    async fn connect_to(forward: &Forward) -> Result<ConnectedUpstream, Outcome> {
        let (resolver, hops) = (Resolver::on(Handle::current()), Arc::<Hops>::default());
        let options = SocketOptions { unacknowledged: None };
        let way =
            Way { resolver: &resolver, hops: &hops, options: &options, came: Came { passed: 0, client: None }, inside: None };
        connect(forward, way, None).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_is_tried_again_with_growing_pauses_until_the_time_is_over() {
        let (target, begin) = (nobody(), Instant::now());
        let forward = Forward { retry: Some(Duration::from_secs(20)), ..Forward::to(target) };
        let outcome = connect_to(&forward).await.err().unwrap();
        let elapsed = begin.elapsed();
        assert!(elapsed >= Duration::from_secs(20) && elapsed < Duration::from_millis(20_100), "{elapsed:?}");
        assert_eq!(outcome.reason, CloseReason::Refused);
        let error = outcome.error.unwrap();
        let rest = error.strip_prefix(&format!("cannot connect to {target}: connection refused; tried ")).unwrap();
        let (times, rest) = rest.split_once(" times in ").unwrap();
        // 50, 100, 200, 400 and 800 ms, then a second each: from a half to the whole of that.
        assert!((24..=46).contains(&times.parse::<u32>().unwrap()), "{error}");
        assert_eq!(rest, "20.0 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_comes_up_is_connected_and_the_line_tells_of_the_wait() {
        let target = nobody();
        let forward = Forward { retry: Some(Duration::from_secs(60)), ..Forward::to(target) };
        let comes_up = async {
            sleep(Duration::from_secs(10)).await;
            TcpListener::bind(target).unwrap()
        };
        let (connected, _listener) = tokio::join!(connect_to(&forward), comes_up);
        let line = connected.unwrap().passed_over.unwrap();
        assert!(line.starts_with(&format!("connected to {target}, tried ")), "{line}");
        assert!(line.ends_with(&format!("; before that cannot connect to {target}: connection refused")), "{line}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_tries_every_target_in_order() {
        let (first, second) = (nobody(), nobody());
        let forward = Forward { retry: Some(Duration::from_secs(60)), ..Forward::to(first) };
        let forward = forward.or_else(Forward::to(second));
        let comes_up = async {
            sleep(Duration::from_secs(5)).await;
            TcpListener::bind(second).unwrap()
        };
        let (connected, _listener) = tokio::join!(connect_to(&forward), comes_up);
        let line = connected.unwrap().passed_over.unwrap();
        assert!(line.starts_with(&format!("connected to {second}, tried ")), "{line}");
        assert!(line.contains(&format!("{first}: connection refused; {second}: connection refused")), "{line}");
    }

    #[tokio::test]
    async fn the_failures_of_all_targets_are_in_one_line_and_the_last_ones_reason_counts() {
        let first = nobody();
        let forward =
            Forward::to(first).or_else(Forward::to("unix:/nowhere/at/all".parse::<crate::words::addr::Address>().unwrap()));
        let outcome = connect_to(&forward).await.err().unwrap();
        assert_eq!(outcome.reason, CloseReason::Refused);
        let error = outcome.error.unwrap();
        assert!(error.starts_with(&format!("cannot connect to {first}: connection refused; unix:/nowhere/at/all: ")), "{error}");
    }

    #[test]
    fn a_shortage_of_this_machine_is_not_passed_over() {
        use CloseReason as Reason;
        for reason in [Reason::FdExhausted, Reason::PortExhausted, Reason::LoopDetected, Reason::Stopped, Reason::InternalError] {
            assert!(!is_of_the_target(reason), "{reason}");
        }
    }

    #[test]
    fn a_pause_is_shortened_by_half_at_most() {
        for _ in 0..1000 {
            let pause = shortened(LONGEST_PAUSE);
            assert!(pause <= LONGEST_PAUSE && pause >= LONGEST_PAUSE / 2, "{pause:?}");
        }
    }
}
