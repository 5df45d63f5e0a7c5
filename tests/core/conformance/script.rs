//! HC-16: Any interleaving of writes, ends and pauses shows both peers what a plain TCP connection would.
//!
//! Random scripts of two peers, played on a plain TCP connection and through the proxy. What each peer
//! received, and how that ended for it, must be the same.
//!
//! 300 scripts are a part of the suite. `INTERPOSE_SEEDS=10000 cargo test --test core hc_16 -- --nocapture` plays
//! ten thousand, `INTERPOSE_SEED=77 cargo test --test core hc_16 -- --nocapture` the one of a failure.
//!
//! # Which scripts
//!
//! Only those whose outcome on a plain connection does not depend on a race, or the model would differ from itself:
//!
//! * A peer reads exactly what the script has made the other write so far, and asks for the end only when the script
//!   has made the other end. So a pause stops at a known byte, however the network cuts.
//! * An orderly close comes after everything written to the closer so far was read (and the end, if it is due), and
//!   the other writes no more afterwards: bytes that meet a closed socket are answered with a reset, which
//!   destroys what is still on its way in the other direction, or not, as it happens.
//! * A reset, and a close that resets because bytes are unread, waits until the other kernel has
//!   acknowledged all that this peer wrote: otherwise the reset overtakes some of it, and how much is a race.
//! * Of a pair, one goes early at most. The other may still end its direction, pause and read, and write to one who
//!   reset (its own send then fails or not; that is a race too, and not a part of the outcome).
//!
//! Everything else is free: both peers write, read, block on full buffers and end at once, and
//! the steps run into each other because each peer has a thread that works through its own.

use std::{
    fmt,
    net::TcpListener,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use interpose::words::outcome::CloseReason;

use super::{Pair, Rig, Setup, Site};
use crate::support::{
    pattern::{Pattern, Prng},
    peers::{DEADLINE, End, Peer, clamp, pass, spawn},
    running::wait_end,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Write(usize),
    HalfClose,
    /// A FIN, or a reset when bytes are unread.
    Close {
        unread: bool,
    },
    Reset,
    Pause,
    Resume,
}

/// What one peer does next, and how long the script waits before it goes on (for variety, not for order).
#[derive(Debug, Clone, Copy)]
struct Step {
    peer: usize,
    action: Action,
    rest: Duration,
}

struct Script {
    seed: u64,
    /// Clamped kernel buffers of both peers.
    buffers: Option<usize>,
    steps: Vec<Step>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, buffers {:?}:", self.seed, self.buffers)?;
        self.steps.iter().try_for_each(|step| write!(f, " {}:{:?}", ["near", "far"][step.peer], step.action))
    }
}

/// What the script's writer knows of a peer.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    written: u64,
    paused_at: Option<u64>,
    ended: bool,
    left: Option<Action>,
}

impl Script {
    fn random(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let buffers = prng.once_in(2).then(|| prng.between(4096, 40_000));
        let mut plans = [Plan::default(); 2];
        let mut steps = Vec::new();
        for _ in 0..prng.between(4, 24) {
            let peer = prng.between(0, 1);
            // Now and then more than the kernel's buffers take, so that interpose has to hold some.
            let most = if buffers.is_none() && prng.once_in(12) { 12_000_000 } else { 400_000 };
            let size = prng.size(most);
            let Some(action) = pick(&mut prng, size, plans[peer], plans[1 - peer]) else { continue };
            let other = plans[1 - peer].written;
            let plan = &mut plans[peer];
            match action {
                Action::Write(size) => plan.written += size as u64,
                Action::HalfClose => plan.ended = true,
                Action::Pause => plan.paused_at = Some(other),
                Action::Resume => plan.paused_at = None,
                Action::Close { .. } | Action::Reset => plan.left = Some(action),
            }
            let rest = if prng.once_in(3) { Duration::from_micros(prng.size(3000) as u64) } else { Duration::ZERO };
            steps.push(Step { peer, action, rest });
        }
        Self { seed, buffers, steps }
    }
}

/// An action that leaves the outcome certain (see the module's documentation), if the dice fall on one.
fn pick(prng: &mut Prng, size: usize, me: Plan, other: Plan) -> Option<Action> {
    let unread = me.paused_at.is_some_and(|at| at < other.written);
    let left_in_order = matches!(other.left, Some(Action::Close { unread: false }));
    let (action, allowed) = match prng.between(1, 16) {
        1..=8 => (Action::Write(size), !me.ended && !left_in_order),
        9 => (Action::HalfClose, !me.ended),
        10 => (Action::Close { unread }, other.left.is_none()),
        11 => (Action::Reset, other.left.is_none()),
        12..=13 => (Action::Pause, me.paused_at.is_none()),
        _ => (Action::Resume, me.paused_at.is_some()),
    };
    (allowed && me.left.is_none()).then_some(action)
}

/// How far a peer may read: so many bytes, and then the end or not.
#[derive(Debug, Clone, Copy, Default)]
struct Limit {
    bytes: u64,
    end: bool,
}

/// How far a peer may read, and how far it has read.
#[derive(Debug, Default)]
struct Reading {
    /// What the script has made the other do so far.
    due: Limit,
    /// What was due when this peer was made to pause or to leave.
    frozen: Option<Limit>,
    /// Read what is allowed, then stop.
    last_call: bool,
    received: u64,
    end: Option<End>,
}

#[derive(Debug, Default)]
struct Desk {
    reading: Mutex<Reading>,
    changed: Condvar,
}

enum Permit {
    Bytes(usize),
    End,
    Done,
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.reading.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait_for_permit(&self) -> Permit {
        let mut reading = self.reading.lock().unwrap();
        loop {
            let limit = reading.frozen.unwrap_or(reading.due);
            if reading.received < limit.bytes {
                return Permit::Bytes((limit.bytes - reading.received) as usize);
            }
            if limit.end {
                return Permit::End;
            }
            if reading.last_call {
                return Permit::Done;
            }
            let (next, timeout) = self.changed.wait_timeout(reading, DEADLINE).unwrap();
            assert!(!timeout.timed_out(), "the script stands still");
            reading = next;
        }
    }

    fn read(&self, mut peer: Peer, mut pattern: Pattern) {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let room = match self.wait_for_permit() {
                Permit::Bytes(allowed) => allowed.min(buffer.len()),
                Permit::End => 1,
                Permit::Done => return,
            };
            match peer.receive(&mut buffer[..room]) {
                Ok(got) => {
                    pattern.check(&buffer[..got]);
                    self.change(|reading| reading.received += got as u64);
                }
                Err(end) => return self.change(|reading| reading.end = Some(end)),
            }
        }
    }
}

/// One peer at work: a thread that writes and ends, and one that reads.
struct Player {
    desk: Arc<Desk>,
    orders: SyncSender<Action>,
    thread: JoinHandle<Outcome>,
}

/// What a peer received, and how that ended for it (not at all if it left before).
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    received: u64,
    end: Option<End>,
}

impl Player {
    fn start(peer: Peer, own: Pattern, others: Pattern) -> Self {
        let desk = Arc::new(Desk::default());
        let (orders, queue) = sync_channel(64);
        let reader = {
            let (desk, peer) = (desk.clone(), peer.try_clone());
            spawn(move || desk.read(peer, others))
        };
        let work = {
            let desk = desk.clone();
            move || {
                let was_reset = work_through(peer, own, queue.into_iter(), reader);
                let reading = desk.reading.lock().unwrap();
                // The error of a reset is given once, to whoever asks first: here it was the writer.
                let end = if was_reset { Some(End::Reset) } else { reading.end };
                Outcome { received: reading.received, end }
            }
        };
        Self { desk, orders, thread: spawn(work) }
    }
}

/// Obeys a peer's orders up to its end, or leaves in order after the last one. Says whether a write met a reset.
fn work_through(mut peer: Peer, mut own: Pattern, orders: impl Iterator<Item = Action>, reader: JoinHandle<()>) -> bool {
    let mut was_reset = false;
    for order in orders {
        match order {
            Action::Write(size) => {
                let written = peer.try_send(&own.take(size));
                was_reset |= written.is_err_and(|error| match error.kind() {
                    std::io::ErrorKind::ConnectionReset => true,
                    std::io::ErrorKind::BrokenPipe => false,
                    _ => panic!("write: {error}"),
                });
            }
            Action::HalfClose => peer.half_close(),
            Action::Close { unread } => {
                reader.join().unwrap();
                if unread {
                    peer.wait_readable();
                    peer.wait_acknowledged();
                }
                peer.close();
                return was_reset;
            }
            Action::Reset => {
                reader.join().unwrap();
                peer.wait_acknowledged();
                peer.reset();
                return was_reset;
            }
            Action::Pause | Action::Resume => unreachable!("reading is the desk's"),
        }
    }
    reader.join().unwrap();
    was_reset
}

/// Plays a script between two connected peers.
fn play(script: &Script, near: Peer, far: Peer) -> [Outcome; 2] {
    let pattern = |number: u64| Pattern::new(2 * script.seed + number);
    let players = [Player::start(near, pattern(0), pattern(1)), Player::start(far, pattern(1), pattern(0))];
    let mut left = [false; 2];
    let mut ended = [false; 2];
    for Step { peer, action, rest } in &script.steps {
        let (me, other) = (&players[*peer], &players[1 - *peer]);
        match action {
            Action::Write(size) => other.desk.change(|reading| reading.due.bytes += *size as u64),
            Action::Pause => me.desk.change(|reading| reading.frozen = Some(reading.due)),
            Action::Resume => me.desk.change(|reading| reading.frozen = None),
            Action::Close { unread: false } => me.desk.change(|reading| {
                reading.frozen = Some(reading.due);
                reading.last_call = true;
            }),
            Action::Close { unread: true } | Action::Reset => me.desk.change(|reading| {
                reading.frozen.get_or_insert(reading.due);
                reading.last_call = true;
            }),
            Action::HalfClose => {}
        }
        left[*peer] |= matches!(action, Action::Close { .. } | Action::Reset);
        if !matches!(action, Action::Pause | Action::Resume) {
            // One who has left takes no more orders, and needs none.
            let _ = me.orders.send(*action);
        }
        if left[*peer] || *action == Action::HalfClose {
            ended[*peer] = true;
            other.desk.change(|reading| reading.due.end = true);
        }
        pass(*rest);
    }
    for number in 0..2 {
        if !ended[number] {
            let _ = players[number].orders.send(Action::HalfClose);
        }
    }
    for player in players.iter().zip(left).filter_map(|(player, left)| (!left).then_some(player)) {
        player.desk.change(|reading| {
            reading.frozen = None;
            reading.due.end = true;
            reading.last_call = true;
        });
    }
    players.map(|player| {
        drop(player.orders);
        player.thread.join().expect("a peer failed")
    })
}

/// The model: a connection with nobody in between.
fn plain_connection(buffers: Option<usize>) -> (Peer, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    clamp(&socket2::SockRef::from(&listener), buffers);
    let near = Peer::connect_with(listener.local_addr().unwrap(), buffers);
    (near, Peer::new(listener.accept().unwrap().0))
}

/// Names the script when one of its peers panics.
struct Named<'a>(&'a Script);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed: {}", self.0);
        }
    }
}

fn compare(site: &Site, script: &Script) {
    let _named = Named(script);
    let (near, far) = plain_connection(script.buffers);
    let model = play(script, near, far);
    let Pair { near, far, link } = site.pair_with(script.buffers, script.buffers);
    let proxied = play(script, near, far);
    assert_eq!(proxied, model, "through the proxy, and on a plain connection (near, far)");
    let reason = wait_end(&link.connection);
    let (finished, resets) = (CloseReason::Finished, [CloseReason::ClientReset, CloseReason::UpstreamReset]);
    let was_reset = script.steps.iter().any(|step| matches!(step.action, Action::Reset | Action::Close { unread: true }));
    assert!(reason == finished || was_reset && resets.contains(&reason), "{reason}");
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

pub fn hc_16_random_scripts(rig: &Rig) {
    let site = rig.site(Setup::default());
    if let Some(seed) = number_from("INTERPOSE_SEED") {
        return compare(&site, &Script::random(seed));
    }
    let (next, count) = (AtomicU64::new(0), number_from("INTERPOSE_SEEDS").unwrap_or(300));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < count) {
                    compare(&site, &Script::random(seed));
                }
            });
        }
    });
}
