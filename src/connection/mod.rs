//! One connection's way: connect, relay, end once.

pub(crate) mod apart;
pub(crate) mod circle;
pub(crate) mod context;
pub(crate) mod entry;

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use crate::{
    connection::{
        apart::Apart,
        context::ConnectionContext,
        entry::{Admission, Attendance, Entry},
    },
    hooks::Decision,
    io::{
        connector::{self, Connected, Way},
        given::{self, Given},
        hops::{Came, Hop},
        ready::Accepted,
        reserve::Reserve,
        stream::{Stream, Unregistered},
    },
    live::{control::Command, shared::Shared},
    relay::{self, Done},
    threads::workers::Workers,
    words::{
        direction::Direction,
        error::reason_text,
        interest::Interest,
        outcome::{CloseReason, Outcome},
    },
};

/// A connection's task: what it needs wherever it runs.
struct Task {
    entry: Entry,
    workers: Workers,
    admission: Admission,
    on_lane: bool,
    /// The memory of it, if it stays on this machine.
    hop: Option<Hop>,
}

/// Carries an accepted client to its end. To be run on the worker that the admission's seat is on, or on the entry's lane
/// if it has none.
///
/// Not an `async fn`, and its parts box what is over before the relay starts: an idle connection has memory for the relay
/// only.
pub(crate) fn run(entry: Entry, workers: Workers, accepted: Accepted, admission: Admission) -> impl Future<Output = ()> + Send {
    let shared = &entry.shared;
    log::debug!(target: "interpose::connection", "{}: accepted from {}", shared.id, shared.client.peer);
    let client = accepted.into_unregistered(&entry.context.options);
    let on_lane = admission.seat.is_none();
    let mut task = Task { entry, workers, admission, on_lane, hop: None };
    async move {
        match task.carry(client).await {
            Ok(done) => task.follow(done),
            // Reported already: the client may have been listened to since.
            Err(outcome) => task.entry.end(outcome, task.admission),
        }
    }
}

/// Carries an upstream's socket alone to its end, to be run on the entry's lane.
pub(crate) fn run_alone(
    entry: Entry,
    workers: Workers,
    upstream: Unregistered,
    hop: Option<Hop>,
) -> impl Future<Output = ()> + Send {
    let admission = Admission { _permit: None, seat: None, reserve: None };
    let task = Task { entry, workers, admission, on_lane: true, hop };
    async move {
        let done = match upstream.attach() {
            Ok(upstream) => relay::run(Stream::nobody(), upstream, task.order()).await,
            Err(error) => Done::Over(Outcome::from_registering(&error)),
        };
        task.follow(done);
    }
}

impl Task {
    /// The end of its relay, or the reason why there was none.
    async fn carry(&mut self, client: Unregistered) -> Result<Done, Outcome> {
        let relay = match Box::pin(self.connect(client)).await {
            Ok((client, upstream)) => relay::run(client, upstream, self.order()),
            Err(outcome) => return Err(outcome),
        };
        Ok(relay.await)
    }

    /// Both sides, or why there is no upstream. The client was told then.
    async fn connect(&mut self, client: Unregistered) -> Result<(Stream, Stream), Outcome> {
        let client = client.attach();
        let client = client.map_err(|error| {
            let outcome = Outcome::from_registering(&error);
            self.entry.context.server.report_failure(&self.entry.shared, &outcome);
            outcome
        })?;
        let mut client = Unserved(Some(client));
        let outcome = match open(self, &client).await {
            Ok(upstream) => match client.0.take() {
                Some(client) => return Ok((client, upstream)),
                None => Outcome::plain(CloseReason::InternalError),
            },
            Err(outcome) => outcome,
        };
        let Entry { context, shared, .. } = &self.entry;
        if outcome.reason == CloseReason::FdExhausted {
            context.server.short_of_descriptors.store(true, Relaxed);
        }
        context.server.report_failure(shared, &outcome);
        if (shared.has_injected(Direction::ToClient) || outcome.reason == CloseReason::Closed)
            && let Some(stream) = &mut client.0
            && Box::pin(relay::say_goodbye(stream, shared, &context.timeouts)).await
        {
            client.0 = None;
        }
        Err(outcome)
    }

    fn order(&self) -> relay::Order<'_> {
        relay::Order {
            shared: &self.entry.shared,
            timeouts: &self.entry.context.timeouts,
            splice: self.entry.context.splice,
            coalesce: self.entry.context.coalesce,
            attendant: self.entry.attendant(),
            on_lane: self.on_lane,
        }
    }

    /// Ends the connection, or goes on with it where it belongs.
    fn follow(mut self, done: Done) {
        let detached = match done {
            Done::Over(outcome) => {
                // Neither peer has done anything.
                if matches!(outcome.reason, CloseReason::FdExhausted | CloseReason::InternalError) {
                    self.entry.context.server.report_failure(&self.entry.shared, &outcome);
                }
                self.entry.end(outcome, self.admission);
                return;
            }
            Done::Migrate(detached) => detached,
        };
        let lane = match &mut self.entry.attendance {
            Some(attendance) if !self.on_lane => {
                attendance.known = true;
                attendance.attendant.lane().cloned()
            }
            _ => None,
        };
        self.on_lane = lane.is_some();
        match lane {
            Some(lane) => {
                self.admission.seat = None;
                lane.spawn(self.go_on(detached));
            }
            None => {
                let (runtime, seat) = self.workers.seat();
                self.admission.seat = Some(seat);
                runtime.spawn(self.go_on(detached));
            }
        }
    }

    /// Boxed, because it ends in a task of the same kind.
    fn go_on(self, detached: Box<relay::Detached>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let done = relay::go_on(detached, self.order()).await;
            self.follow(done);
        })
    }
}

/// A side without its other one yet. Nothing was sent to it, so the RST that it gets when this is dropped tells it as much
/// as a direct connection would have: there is none.
struct Unserved(Option<Stream>);

impl Unserved {
    fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.0.as_ref().map_or(Poll::Pending, |client| client.poll_failure(cx))
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(side) = &mut self.0 {
            side.abort_on_close();
        }
    }
}

/// Connects the upstream, unless the client or the outside ends the connection first.
async fn open(task: &mut Task, client: &Unserved) -> Result<Stream, Outcome> {
    let Entry { context, shared, attendance, .. } = &mut task.entry;
    let commons = task.workers.commons();
    let reserve = task.admission.reserve.take();
    circle::identify(&commons.hops, client.0.as_ref(), shared)?;
    let mut passed = circle::refuse(&context.server, &commons.hops, shared)?;
    if attendance.is_some() && circle::may_be_late(&context.server, shared) {
        unless_ended(circle::wait_in_doubt(&commons.hops, shared), shared, client).await?;
        passed = circle::refuse(&context.server, &commons.hops, shared)?;
    }
    let came = Came { passed, client: Some(shared.ends()) };
    let way = Way { resolver: &commons.resolver, hops: &commons.hops, options: &context.options, came };
    let reaching = reach(context, way, attendance.as_mut(), task.on_lane, reserve);
    let reached = unless_ended(reaching, shared, client).await?;
    let reached = reached.map(|Connected { stream, peer, local, hop }| (Unserved(Some(stream)), (peer, local), hop));
    if attendance.as_ref().is_some_and(|attendance| attendance.known) {
        // Once more: a connection that a script has made was remembered only after it was accepted here. Each way round that
        // such connections make leads through hooks.
        let passed = circle::refuse(&context.server, &commons.hops, shared)?;
        if let Some((_, _, Some(hop))) = &reached {
            hop.raise(passed);
        }
    }
    let Some((mut upstream, names, hop)) = reached else {
        let _ = shared.upstream.set(None);
        let apart = attendance.as_ref().is_some_and(Attendance::is_apart);
        return Ok(if apart { Stream::nobody() } else { Stream::nowhere() });
    };
    let hop = circle::note_names(&context.server, shared, names, hop)?;
    if attendance.as_ref().is_some_and(Attendance::is_apart) {
        part(task, client, upstream, hop).await?;
        return Ok(Stream::nobody());
    }
    if let Some(attendant) = attendance.as_mut().and_then(|attendance| attendance.wanted(Interest::CONNECT)) {
        let asked = attendant.ask(task.on_lane, |hooks, connection| hooks.on_connect(connection));
        let asked = async { asked.await.map_err(Outcome::from) };
        match unless_ended(asked, shared, client).await {
            // Both sides are there, so they are ended in order, by the relay.
            Err(outcome) if outcome.reason == CloseReason::Closed => {}
            asked => asked?,
        }
    }
    task.hop = hop;
    upstream.0.take().ok_or_else(|| Outcome::plain(CloseReason::InternalError))
}

/// Makes the upstream of a client a connection of its own, where hooks have each socket carried alone.
async fn part(task: &mut Task, client: &Unserved, mut upstream: Unserved, hop: Option<Hop>) -> Result<(), Outcome> {
    let Entry { context, shared, attendance, .. } = &mut task.entry;
    let names = shared.upstream.get().cloned().flatten();
    let (Some(names), Some(attendance)) = (names, attendance.as_mut()) else { return Ok(()) };
    attendance.known = true;
    let Some(upstream) = upstream.0.take() else { return Ok(()) };
    let upstream = upstream.detach().map_err(|error| Outcome::explained(CloseReason::InternalError, reason_text(&error)))?;
    let apart = Apart::new(Arc::clone(context), &task.workers, (upstream, *names), hop, shared.passed.load(Relaxed));
    let adopted = apart.connection();
    let asked = attendance.attendant.ask(task.on_lane, move |hooks, connection| hooks.on_connect_apart(connection, &adopted));
    let asked = async { asked.await.map_err(Outcome::from) };
    match unless_ended(asked, shared, client).await {
        // Both sides are there, so they are ended in order.
        Err(outcome) if outcome.reason == CloseReason::Closed => {}
        asked => asked?,
    }
    apart.carry();
    Ok(())
}

/// The outcome of `work`, unless the client leaves or the outside ends the connection before it is done.
async fn unless_ended<T>(
    work: impl Future<Output = Result<T, Outcome>>,
    shared: &Shared,
    client: &Unserved,
) -> Result<T, Outcome> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        shared.control.register(cx);
        if let Some(Command::Abort | Command::Stop) = shared.control.command() {
            let stopped = shared.control.command() == Some(Command::Stop);
            let reason = if stopped { CloseReason::Stopped } else { CloseReason::Aborted };
            return Poll::Ready(Err(Outcome::plain(reason)));
        }
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if shared.control.command() == Some(Command::Close) {
            return Poll::Ready(Err(Outcome::plain(CloseReason::Closed)));
        }
        // Only RST is leaving. A FIN may be a client that has said all it wants to, and bytes stay in the kernel.
        client.poll_failure(cx).map(|error| Err(Outcome::explained(CloseReason::ClientGone, reason_text(&error))))
    })
    .await
}

/// Asks where the client goes, and connects there. Nothing is connected for one that goes nowhere.
async fn reach(
    context: &ConnectionContext,
    way: Way<'_>,
    attendance: Option<&mut Attendance>,
    on_lane: bool,
    mut reserve: Option<Reserve>,
) -> Result<Option<Connected>, Outcome> {
    let (decision, _early) = match attendance.and_then(|attendance| attendance.wanted(Interest::ACCEPT)) {
        Some(attendant) => {
            // The hook may itself connect the upstream.
            drop(reserve.take());
            let known = Arc::clone(way.hops);
            let asked = attendant.ask(on_lane, move |hooks, connection| {
                let decision = hooks.on_accept(connection)?;
                // Before the next one is asked, whose client may be what this one has connected.
                let early = match &decision {
                    Decision::Connected(socket) => given::remember_early(socket, &known, connection.origin().came(&known)),
                    _ => None,
                };
                Ok((decision, early))
            });
            asked.await.map_err(Outcome::from)?
        }
        None => (Decision::Default, None),
    };
    let failed = |error: String| Outcome::explained(CloseReason::ConnectFailed, error);
    match decision {
        Decision::Default => match &context.forward {
            Some(forward) => connector::connect(forward, way, reserve).await.map(Some),
            None => Err(failed("there is no forward_to, and on_accept named no target; give one of the two".to_owned())),
        },
        Decision::Forward(forward) => {
            forward.check().map_err(|error| failed(error.to_string()))?;
            connector::connect(&forward, way, reserve).await.map(Some)
        }
        Decision::Connected(socket) => given::adopt(socket, way).and_then(Given::register).map(Some),
        Decision::Nowhere => Ok(None),
        Decision::Refuse => Err(Outcome::plain(CloseReason::Rejected)),
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::{fs::File, net::SocketAddr};

    use super::*;
    use crate::{
        connection::context::ServerShared,
        live::shared::SideNames,
        settings::{config::Config, forward::Forward},
        words::addr::SocketName,
    };

    /// A server, and the place of an upstream's socket in it.
    fn adopted() -> (Arc<ServerShared>, Entry) {
        let forward = Forward::to(SocketAddr::from(([127, 0, 0, 1], 1)));
        let config = Config::new("127.0.0.1:0".parse().unwrap(), forward);
        let name = || SocketName::Unix(String::new());
        let server = Arc::new(ServerShared::new(name(), None));
        let context = ConnectionContext::new(Arc::clone(&server), &config);
        let entry = Entry::adopted(Arc::new(context), SideNames { peer: name(), local: name() });
        (server, entry)
    }

    #[tokio::test]
    async fn a_socket_that_cannot_be_watched_is_reported() {
        let ((server, entry), workers) = (adopted(), Workers::start(1).unwrap());
        let shared = Arc::clone(&entry.shared);
        // A file, which epoll_ctl(2) refuses.
        let refused = Unregistered::of_unix(std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()).into());
        run_alone(entry, workers, refused, None).await;
        assert_eq!(shared.outcome.get().unwrap().reason, CloseReason::InternalError);
        assert!(server.connect_log.pass().is_none(), "it has said nothing this second");
    }

    #[tokio::test]
    async fn an_end_by_this_process_is_reported_before_a_move_too() {
        for (reason, is_reported) in [(CloseReason::InternalError, true), (CloseReason::ClientReset, false)] {
            let ((server, entry), workers) = (adopted(), Workers::start(1).unwrap());
            let admission = Admission { _permit: None, seat: None, reserve: None };
            let task = Task { entry, workers, admission, on_lane: false, hop: None };
            task.follow(Done::Over(Outcome::plain(reason)));
            assert_eq!(server.connect_log.pass().is_none(), is_reported, "{reason}");
        }
    }
}
