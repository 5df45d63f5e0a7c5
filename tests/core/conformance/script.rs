//! HC-16: Any interleaving of writes, ends and pauses shows both peers what a plain TCP connection would.
//!
//! Random scripts of two peers, played on a plain TCP connection and through the proxy. What each peer
//! received, and how that ended for it, must be the same. A script that fails is shortened while it still fails.
//!
//! # Which scripts
//!
//! Only those whose outcome on a plain connection does not depend on a race, or the model would differ from itself:
//!
//! * A peer reads exactly what the script has made the other write so far, and asks for the end only when the script
//!   has made the other end. So a pause stops at a known byte, however the network cuts.
//! * An orderly close comes after everything written to the closer so far was read (and the end, if it is due), and
//!   the other writes no more afterwards: bytes that meet a closed socket are answered with a reset, which
//!   destroys what is still on its way in the other direction, or not, as it happens. With TLS the other's end is such bytes,
//!   so there the closer's socket stays until they have come.
//! * A reset, and a close that resets because bytes are unread, waits until the other kernel has
//!   acknowledged all that this peer wrote: otherwise the reset overtakes some of it, and how much is a race.
//! * Of a pair, one goes early at most. The other may still end its direction, pause and read, and write to one who
//!   reset (its own send then fails or not; that is a race too, and not a part of the outcome).
//!
//! Where hooks are called, a reset behind the peer's own end is left out as well. The end may be unread while an answer is
//! pending, while the other direction has its turn, or while the connection changes its thread; and once interpose has ended
//! the other direction too, the kernel reports that reset like any other.
//!
//! Everything else is free: both peers write, read, block on full buffers and end at once, and
//! the steps run into each other because each peer has a thread that works through its own.

use std::{
    fmt,
    net::TcpListener,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use interpose::words::outcome::CloseReason;
use proptest::{bool::weighted, collection::vec, option, prelude::*};

use super::{Pair, Path, Rig, Setup, Site, players::play};
use crate::support::{
    pattern::Pattern,
    peers::{Peer, clamp},
    property::{Property, sizes},
    running::wait_end,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
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
pub(super) struct Step {
    pub peer: usize,
    pub action: Action,
    pub rest: Duration,
}

#[derive(Clone)]
pub(super) struct Script {
    /// Clamped kernel buffers of both peers.
    buffers: Option<usize>,
    pub steps: Vec<Step>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "buffers {:?}:", self.buffers)?;
        let peer = |step: &Step| ["near", "far"][step.peer];
        self.steps.iter().try_for_each(|step| write!(f, " {}:{:?}, then {:?};", peer(step), step.action, step.rest))
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

/// A step that is taken if it leaves the outcome certain.
#[derive(Debug, Clone, Copy)]
struct Wish {
    peer: usize,
    kind: Kind,
    size: usize,
    /// More than the kernel's buffers take where they are not clamped, so that interpose has to hold some.
    huge: bool,
    rest: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Write,
    Pause,
    Resume,
    HalfClose,
    Close,
    Reset,
}

impl Script {
    fn of(buffers: Option<usize>, wishes: &[Wish], path: Path) -> Self {
        let mut plans = [Plan::default(); 2];
        let mut steps = Vec::new();
        for wish in wishes {
            let Wish { peer, rest, .. } = *wish;
            let size = if wish.huge && buffers.is_none() { 30 * wish.size } else { wish.size };
            let Some(action) = allowed(wish.kind, size, plans[peer], plans[1 - peer]) else { continue };
            let resets = matches!(action, Action::Reset | Action::Close { unread: true });
            if path.calls_hooks() && plans[peer].ended && resets {
                continue;
            }
            let other = plans[1 - peer].written;
            let plan = &mut plans[peer];
            match action {
                Action::Write(size) => plan.written += size as u64,
                Action::HalfClose => plan.ended = true,
                Action::Pause => plan.paused_at = Some(other),
                Action::Resume => plan.paused_at = None,
                Action::Close { .. } | Action::Reset => plan.left = Some(action),
            }
            steps.push(Step { peer, action, rest });
        }
        Self { buffers, steps }
    }
}

/// The action, if it leaves the outcome certain (see the module's documentation).
fn allowed(kind: Kind, size: usize, me: Plan, other: Plan) -> Option<Action> {
    let unread = me.paused_at.is_some_and(|at| at < other.written);
    let left_in_order = matches!(other.left, Some(Action::Close { unread: false }));
    let (action, allowed) = match kind {
        Kind::Write => (Action::Write(size), !me.ended && !left_in_order),
        Kind::HalfClose => (Action::HalfClose, !me.ended),
        Kind::Close => (Action::Close { unread }, other.left.is_none()),
        Kind::Reset => (Action::Reset, other.left.is_none()),
        Kind::Pause => (Action::Pause, me.paused_at.is_none()),
        Kind::Resume => (Action::Resume, me.paused_at.is_some()),
    };
    (allowed && me.left.is_none()).then_some(action)
}

fn wishes() -> impl Strategy<Value = Wish> {
    let kind = prop_oneof![
        8 => Just(Kind::Write),
        2 => Just(Kind::Pause),
        3 => Just(Kind::Resume),
        1 => Just(Kind::HalfClose),
        1 => Just(Kind::Close),
        1 => Just(Kind::Reset),
    ];
    let rest = prop_oneof![2 => Just(0), 1 => sizes(3000)].prop_map(|micros| Duration::from_micros(micros as u64));
    let wish = |(peer, kind, size, huge, rest)| Wish { peer, kind, size, huge, rest };
    (0..2_usize, kind, sizes(400_000), weighted(1.0 / 12.0), rest).prop_map(wish)
}

fn scripts(path: Path) -> impl Strategy<Value = Script> {
    let script = move |(buffers, wishes): (_, Vec<Wish>)| Script::of(buffers, &wishes, path);
    (option::of(4096..=40_000_usize), vec(wishes(), 4..=24)).prop_map(script)
}

/// The model: a connection with nobody in between.
fn plain_connection(buffers: Option<usize>) -> [Peer; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    clamp(&socket2::SockRef::from(&listener), buffers);
    let near = Peer::connect_with(listener.local_addr().unwrap(), buffers);
    [near, Peer::new(listener.accept().unwrap().0)]
}

fn compare(site: &Site, script: &Script) {
    // Scripts run at the same time, so each has bytes of its own.
    static STREAMS: AtomicU64 = AtomicU64::new(0);
    let stream = STREAMS.fetch_add(2, Ordering::Relaxed);
    let (out, back) = (Pattern::new(stream), Pattern::new(stream + 1));
    let model = play(script, plain_connection(script.buffers), [&out, &back]);
    let Pair { near, far, link } = site.pair_with(script.buffers, script.buffers);
    let proxied = play(script, [near, far], [&out, &back]);
    let reason = wait_end(&link.connection);
    let seen = (link.connection.error(), link.out(), link.back());
    assert_eq!(proxied, model, "through the proxy, and on a plain connection (near, far); {reason}: {seen:?}");
    let (finished, resets) = (CloseReason::Finished, [CloseReason::ClientReset, CloseReason::UpstreamReset]);
    let was_reset = script.steps.iter().any(|step| matches!(step.action, Action::Reset | Action::Close { unread: true }));
    assert!(reason == finished || was_reset && resets.contains(&reason), "{reason}: {seen:?}");
}

pub fn hc_16_random_scripts(rig: &Rig) {
    let site = rig.site(Setup::default());
    Property { cases: rig.path.random_cases(), threads: 8 }.holds(|| scripts(rig.path), |script| compare(&site, &script));
}
