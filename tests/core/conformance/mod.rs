//! What every relay path must do, whichever side acts: one list of cases, run for each path with the sides swapped.
//!
//! A case is written for two peers: `near`, which acts, and `far`, which sees the effect through the proxy. The
//! [`Rig`] says which relay path lies between them and whether the client or the upstream is the near one.

use std::sync::{Mutex, PoisonError};

use interpose::{
    live::handle::{Connection, State},
    settings::config::Timeouts,
    words::{direction::Direction, outcome::CloseReason, stats::Ledger},
};

pub use self::path::Path;
use crate::support::{
    peers::{Peer, clamp, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

mod half_close;
mod integrity;
mod path;
mod players;
mod pressure;
mod reset;
mod script;
pub mod watching;

/// The most that interpose may hold of one direction: one read buffer.
pub const BUFFER: u64 = 256 * 1024;

/// Which side is the near one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acting {
    Client,
    Upstream,
}

/// One line of the list.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Rig),
}

/// Where a case runs.
#[derive(Debug, Clone, Copy)]
pub struct Rig {
    pub path: Path,
    pub acting: Acting,
}

/// What a case asks of its server and its peers.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub timeouts: Timeouts,
    /// Clamped kernel buffers of the two peers (not of interpose).
    pub near_buffers: Option<usize>,
    pub far_buffers: Option<usize>,
}

/// A server of the rig's path with an upstream behind it.
pub struct Site {
    rig: Rig,
    setup: Setup,
    upstream: Upstream,
    pairing: Mutex<()>,
    pub running: Running,
}

/// What lies between the two peers of a case.
pub struct Link {
    rig: Rig,
    pub connection: Connection,
}

/// Two peers and the connection between them.
pub struct Pair {
    pub near: Peer,
    pub far: Peer,
    pub link: Link,
}

impl Rig {
    pub fn site(&self, setup: Setup) -> Site {
        let (client, upstream) = (setup.near_buffers, setup.far_buffers);
        let (_, upstream) = self.by_acting(client, upstream);
        let upstream = Upstream::at("127.0.0.1:0".parse().unwrap(), upstream);
        let mut config = to(upstream.address());
        config.timeouts = setup.timeouts.clone();
        let running = self.path.start(config);
        Site { rig: *self, setup, upstream, pairing: Mutex::new(()), running }
    }

    /// (client's, upstream's) from (near's, far's), or the other way round.
    fn by_acting<T>(&self, near: T, far: T) -> (T, T) {
        match self.acting {
            Acting::Client => (near, far),
            Acting::Upstream => (far, near),
        }
    }

    /// The ledger of one connection's direction without the prologue.
    pub fn without_prologue(&self, direction: Direction, ledger: Ledger) -> Ledger {
        let prologue = if direction == Direction::ToUpstream { self.path.prologue().len() as u64 } else { 0 };
        Ledger { read: ledger.read - prologue, delivered: ledger.delivered - prologue, ..ledger }
    }

    /// The reason that `as_client` becomes when the upstream acts.
    pub fn reason(&self, as_client: CloseReason) -> CloseReason {
        use CloseReason::{ClientLost, ClientReset, UpstreamLost, UpstreamReset};
        match (self.acting, as_client) {
            (Acting::Client, reason) => reason,
            (_, ClientReset) => UpstreamReset,
            (_, UpstreamReset) => ClientReset,
            (_, ClientLost) => UpstreamLost,
            (_, UpstreamLost) => ClientLost,
            (_, reason) => reason,
        }
    }
}

impl Site {
    /// Connects a client and accepts it at the upstream.
    pub fn pair(&self) -> Pair {
        self.pair_with(self.setup.near_buffers, self.setup.far_buffers)
    }

    /// The same, with these clamped kernel buffers.
    pub fn pair_with(&self, near_buffers: Option<usize>, far_buffers: Option<usize>) -> Pair {
        let (client_buffers, upstream_buffers) = self.rig.by_acting(near_buffers, far_buffers);
        // Two threads that make pairs at once would get each other's upstreams.
        let _alone = self.pairing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = Peer::connect_with(self.running.address(), client_buffers);
        let connection = self.running.connection_of(client.name());
        let (client_has_tls, upstream_has_tls) = self.rig.path.first_tls();
        if client_has_tls {
            client = client.with_tls();
        }
        let prologue = self.rig.path.prologue();
        client.send(prologue);
        let mut upstream = self.upstream.accept();
        if upstream_has_tls {
            upstream = upstream.serving_tls();
        }
        clamp(&upstream.socket(), upstream_buffers);
        until("the connection is open", || connection.state() == State::Open);
        assert_eq!(upstream.receive_exactly(prologue.len()), prologue);
        if self.rig.path == Path::StartTls {
            (upstream, client) = (upstream.serving_tls(), client.with_tls());
        }
        let ledger = || connection.ledger(Direction::ToUpstream);
        until("the prologue is counted", || ledger().delivered == prologue.len() as u64);
        let (near, far) = self.rig.by_acting(client, upstream);
        Pair { near, far, link: Link { rig: self.rig, connection } }
    }
}

impl Link {
    /// The ledger of what near sends to far.
    pub fn out(&self) -> Ledger {
        let (direction, _) = self.rig.by_acting(Direction::ToUpstream, Direction::ToClient);
        self.ledger(direction)
    }

    /// The ledger of what far sends to near.
    pub fn back(&self) -> Ledger {
        let (_, direction) = self.rig.by_acting(Direction::ToUpstream, Direction::ToClient);
        self.ledger(direction)
    }

    /// What came in and went out. What was replaced by its copy counts as passed.
    fn ledger(&self, direction: Direction) -> Ledger {
        let ledger = self.rig.without_prologue(direction, self.connection.ledger(direction));
        match self.rig.path {
            // The counters of a live connection are read one after the other.
            Path::Replaced if self.connection.reason().is_none() => {
                assert!(ledger.added <= ledger.read && ledger.dropped <= ledger.read, "{ledger:?}");
            }
            Path::Replaced => assert!(ledger.added <= ledger.dropped && ledger.dropped <= ledger.read, "{ledger:?}"),
            _ => assert_eq!((ledger.added, ledger.dropped), (0, 0)),
        }
        Ledger { added: 0, dropped: 0, ..ledger }
    }

    /// Waits for the end: the ledgers balance and the reason is this one (named as if the client acted).
    pub fn ends_with(&self, as_client: CloseReason) {
        assert_eq!(wait_end(&self.connection), self.rig.reason(as_client), "{:?}", self.connection.error());
    }

    /// Waits for an orderly end in which every one of these bytes was delivered.
    pub fn finishes_with(&self, out: u64, back: u64) {
        self.ends_with(CloseReason::Finished);
        assert_eq!(self.out(), whole(out));
        assert_eq!(self.back(), whole(back));
    }
}

/// The ledger of a direction that carried everything.
pub fn whole(bytes: u64) -> Ledger {
    Ledger { read: bytes, delivered: bytes, ..Ledger::default() }
}

/// What interpose holds of a direction.
pub fn held(ledger: Ledger) -> u64 {
    ledger.read - ledger.delivered - ledger.undeliverable
}

/// The one list. `$then!` gets every case as `module::name`, after the tokens it was called with.
macro_rules! for_each_case {
    ($then:ident $($given:tt)*) => {
        $then! { [$($given)*]
            half_close::hc_01_answer_after_half_close
            half_close::hc_02_upload_after_the_peers_half_close
            half_close::hc_03_both_half_close_at_once
            half_close::hc_04_fin_behind_a_full_buffer
            half_close::hc_04_fin_behind_the_last_held_bytes
            half_close::hc_05_fin_in_a_data_segment
            half_close::hc_07_half_closed_for_ever
            half_close::hc_07_stalled_after_half_close
            half_close::hc_08_half_close_then_drip
            half_close::hc_09_full_close_while_the_peer_sends
            half_close::hc_10_write_and_close_at_once
            half_close::hc_10_write_half_close_and_read
            half_close::hc_10_half_close_before_any_byte
            half_close::hc_10_answer_to_one_who_left
            half_close::hc_13_reset_races_half_close
            reset::rs_01_reset_after_delivered_data
            reset::rs_02_reset_in_the_middle
            reset::rs_02_reset_while_the_peer_sends
            reset::rs_02_reset_after_half_close_of_the_peer
            reset::rs_02_reset_after_its_own_half_close
            reset::rs_02_reset_behind_a_fin
            reset::rs_03_reset_with_both_ways_full
            reset::rs_03_reset_towards_one_who_never_reads
            reset::rs_04_reset_before_any_byte
            reset::rs_07_close_with_an_unread_request
            reset::rs_08_close_does_not_reset
            reset::rs_08_close_does_not_overtake
            reset::rs_08_close_delivers_what_was_read
            reset::rs_14_abort_resets_both
            reset::rs_14_abort_after_close
            pressure::bp_01_peer_that_never_reads
            pressure::bp_03_both_ways_stalled_many_times
            pressure::bp_04_one_way_stalled_other_way_busy
            pressure::bp_05_slow_reader
            pressure::bp_06_slow_writer
            pressure::bp_07_window_opens_and_closes
            integrity::di_01_both_ways_at_once
            integrity::di_02_single_bytes
            integrity::di_02_single_bytes_back_and_forth
            integrity::di_03_random_sizes
            integrity::di_04_edges_of_buffers
            integrity::di_05_sixty_four_connections
            integrity::di_06_ended_connections_touch_nobody
            integrity::di_09_urgent_byte
            integrity::di_12_ledgers_only_grow
            script::hc_16_random_scripts
        }
    };
}

macro_rules! table {
    ([] $($module:ident::$case:ident)*) => {
        /// Every case, for every path.
        pub const CASES: &[Case] =
            &[$(Case { name: concat!(stringify!($module), "::", stringify!($case)), run: $module::$case },)*];
    };
}
for_each_case!(table);

/// Makes one named test of each case.
macro_rules! tests {
    ([$path:expr, $acting:expr] $($module:ident::$case:ident)*) => {
        $(#[test]
        fn $case() {
            super::super::run(concat!(stringify!($module), "::", stringify!($case)), $path, $acting);
        })*
    };
}

macro_rules! path {
    ($name:ident $path:expr) => {
        mod $name {
            mod client_acts {
                use crate::conformance::{Acting, Path};
                for_each_case!(tests $path, Acting::Client);
            }
            mod upstream_acts {
                use crate::conformance::{Acting, Path};
                for_each_case!(tests $path, Acting::Upstream);
            }
        }
    };
}
path!(native Path::Native);
path!(spliced Path::Spliced);
path!(coalesced Path::Coalesced);
path!(inspected Path::Inspected);
path!(replaced Path::Replaced);
path!(mirrored Path::Mirrored);
path!(tapped Path::Tapped);
path!(staged Path::Staged);
path!(staged_on_lane Path::StagedOnLane);
path!(later Path::Later);
path!(framed Path::Framed);
path!(framed_later Path::FramedLater);
path!(preread Path::Preread);
path!(named Path::Named);
path!(let_go Path::LetGo);
path!(let_go_later Path::LetGoLater);
path!(let_go_framed Path::LetGoFramed);
path!(tls_client Path::TlsClient);
path!(tls_upstream Path::TlsUpstream);
path!(tls_both Path::TlsBoth);
path!(start_tls Path::StartTls);

fn run(name: &str, path: Path, acting: Acting) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    (case.run)(&Rig { path, acting });
}

#[test]
fn the_list_names_each_case_once() {
    let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CASES.len());
}
