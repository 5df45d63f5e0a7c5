//! The connections of a capture that are open, as flows of packets.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    taps::{
        event::{ConnectionKey, Event, EventKind, Place},
        servers::Servers,
    },
    wire::tcp::{
        flow::{Addresses, Flow, Sender},
        packets::{Interface, Packets},
        stand_in::{self, Part},
    },
    words::{
        addr::SocketName,
        direction::{Both, Direction},
        outcome::CloseReason,
        stats::Ledger,
    },
};

/// The sides of a connection that are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// That of the client.
    Client,
    /// That of the upstream as well.
    Both,
    /// Both where something may change what passes.
    Auto,
}

/// Maximum number of connections that are known to be open: the ends of some may have found no room in the queue.
const MOST_OPEN: usize = 65_536;

/// A connection: the side of the client, and that of the upstream if it is captured too.
#[derive(Debug)]
struct Open {
    client: Flow,
    upstream: Option<Flow>,
    /// True if both sides are captured.
    both: bool,
    /// Bytes that found no room in the queue.
    missed: u64,
}

/// Ports of stand-ins between those of one listener's connections and of the next one's.
const BETWEEN_LISTENERS: u64 = 16_128;

/// The number of a connection, and that of its listener among those of the capture.
#[derive(Debug, Clone, Copy)]
struct Origin {
    number: u64,
    listener: u64,
}

impl Origin {
    /// Returns a number that the connections of another listener do not have for long.
    fn spread(self) -> u64 {
        self.number.wrapping_add((self.listener - 1).wrapping_mul(BETWEEN_LISTENERS))
    }

    fn address(self, name: &SocketName, part: Part) -> SocketAddr {
        stand_in::address(name, part, self.spread())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, listener } = self;
        if *listener > 1 { write!(f, "connection {listener}.{number}") } else { write!(f, "connection {number}") }
    }
}

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    open: BTreeMap<ConnectionKey, Open>,
    servers: Servers,
    sides: Sides,
    /// Makes sequence numbers differ between captures.
    seed: u64,
}

impl Connections {
    pub(super) fn new(sides: Sides) -> Self {
        Self { open: BTreeMap::new(), servers: Servers::default(), sides, seed: nanoseconds(SystemTime::now()) }
    }

    /// Writes the packets that an event means.
    pub(super) fn event(&mut self, event: &Event, out: &mut Packets) {
        let (key, at) = (event.connection, nanoseconds(event.at));
        let origin = Origin { number: key.number, listener: self.servers.number(key.server) };
        if let EventKind::Opened { client, local, changes } = &event.kind {
            let (opener, answerer) = (origin.address(client, Part::Client), origin.address(local, Part::Listener));
            let mut flow = self.flow(Interface::Client, origin, Addresses { opener, answerer });
            if let Some(text) = unix_names(client, local) {
                flow.comment(text);
            }
            flow.open(at, out);
            let both = self.sides == Sides::Both || self.sides == Sides::Auto && *changes;
            return self.enter(key, Open { client: flow, upstream: None, both, missed: 0 });
        }
        if let EventKind::Closed { reason, error, ledgers } = &event.kind {
            if let Some(mut open) = self.open.remove(&key) {
                open.skip_to_ends(ledgers);
                open.close(at, *reason, error.as_deref(), out);
            }
            return;
        }
        if let EventKind::Connected { upstream, local } = &event.kind {
            return self.connected((key, origin), at, upstream, local, out);
        }
        if matches!(event.kind, EventKind::Data { .. }) && !self.open.contains_key(&key) {
            self.begin_late(key, origin);
        }
        let Some(open) = self.open.get_mut(&key) else { return };
        match &event.kind {
            EventKind::Data { direction, place, offset, bytes } => {
                if let Some((flow, sender)) = open.flows(*direction, *place) {
                    flow.data(at, sender, *offset, bytes.clone(), out);
                }
            }
            EventKind::End { direction, place, offset } => {
                if let Some((flow, sender)) = open.flows(*direction, *place) {
                    flow.skip_to(sender, *offset);
                    flow.finish(at, sender, out);
                }
            }
            EventKind::Missed { events, bytes } => {
                out.lose(*events);
                open.missed += bytes;
            }
            EventKind::Struck { direction, fault } => open.client.comment(format!("fault {}: {fault}", direction.word())),
            EventKind::Opened { .. } | EventKind::Connected { .. } | EventKind::Closed { .. } => {}
        }
    }

    fn flow(&self, interface: Interface, origin: Origin, addresses: Addresses) -> Flow {
        let seed = self.seed.wrapping_add(origin.spread().wrapping_mul(2)).wrapping_add(interface as u64);
        Flow::new(interface, addresses, origin.to_string(), seed)
    }

    /// Begins a connection whose opening was not seen, because it found no room in the queue, or was before the capture.
    fn begin_late(&mut self, key: ConnectionKey, origin: Origin) {
        let nameless = SocketName::Unix(String::new());
        let addresses = |opener, answerer| Addresses {
            opener: origin.address(&nameless, opener),
            answerer: origin.address(&nameless, answerer),
        };
        let mut client = self.flow(Interface::Client, origin, addresses(Part::Client, Part::Listener));
        client.comment("its opening was not captured, so its addresses are stand-ins");
        let upstream = || self.flow(Interface::Upstream, origin, addresses(Part::Connecting, Part::Upstream));
        let both = self.sides == Sides::Both;
        let upstream = both.then(upstream);
        self.enter(key, Open { client, upstream, both, missed: 0 });
    }

    /// Enters a connection. Beyond the maximum the oldest is forgotten: its end, if it has none yet, is not captured.
    fn enter(&mut self, key: ConnectionKey, open: Open) {
        self.open.insert(key, open);
        if self.open.len() > MOST_OPEN {
            self.open.pop_first();
        }
    }

    fn connected(
        &mut self,
        (key, origin): (ConnectionKey, Origin),
        at: u64,
        upstream: &SocketName,
        local: &SocketName,
        out: &mut Packets,
    ) {
        let (opener, answerer) = (origin.address(local, Part::Connecting), origin.address(upstream, Part::Upstream));
        let both = self.open.get(&key).is_some_and(|open| open.both);
        let mut flow = both.then(|| self.flow(Interface::Upstream, origin, Addresses { opener, answerer }));
        let Some(open) = self.open.get_mut(&key) else { return };
        open.client.comment(format!("upstream {upstream}, connected from {local}"));
        if let Some(flow) = &mut flow {
            if let Some(text) = unix_names(local, upstream) {
                flow.comment(text);
            }
            flow.open(at, out);
        }
        open.upstream = flow;
    }
}

impl Open {
    /// Returns the flow in which bytes were seen, and the end of it that has sent them.
    fn flows(&mut self, direction: Direction, place: Place) -> Option<(&mut Flow, Sender)> {
        let of_client = match direction {
            Direction::ToUpstream => Sender::Opener,
            Direction::ToClient => Sender::Answerer,
        };
        if !self.both {
            // What comes from one side is what the other gets.
            return (place == Place::In).then_some((&mut self.client, of_client));
        }
        match (direction, place) {
            (Direction::ToUpstream, Place::In) | (Direction::ToClient, Place::Out) => Some((&mut self.client, of_client)),
            // Towards the upstream, interpose is the one that has connected.
            (Direction::ToUpstream, Place::Out) | (Direction::ToClient, Place::In) => {
                self.upstream.as_mut().map(|flow| (flow, of_client))
            }
        }
    }

    /// Leaves gaps for bytes behind the last that were captured, so that no stream seems to be whole that is not.
    fn skip_to_ends(&mut self, ledgers: &Both<Ledger>) {
        if self.missed == 0 {
            return;
        }
        for direction in Direction::ALL {
            let Ledger { read, delivered, .. } = ledgers[direction];
            for (place, bytes) in [(Place::In, read), (Place::Out, delivered)] {
                if let Some((flow, sender)) = self.flows(direction, place) {
                    flow.skip_to(sender, bytes);
                }
            }
        }
    }

    fn close(mut self, at: u64, reason: CloseReason, error: Option<&str>, out: &mut Packets) {
        let mut text = format!("closed: {reason}");
        if let Some(error) = error {
            text.push_str(&format!(": {error}"));
        }
        if self.missed > 0 {
            let missed = format!("{} bytes were not captured: they came faster than they could be written", self.missed);
            self.client.comment(missed);
        }
        let [client, upstream] = ends(reason);
        for (flow, end) in [(Some(&mut self.client), client), (self.upstream.as_mut(), upstream)] {
            let Some(flow) = flow else { continue };
            flow.comment(text.clone());
            match end {
                None => flow.close(at, out),
                Some(sender) => flow.reset(at, sender, out),
            }
        }
    }
}

/// Returns who resets the client's side, and the upstream's, of a connection that ends for this reason.
fn ends(reason: CloseReason) -> [Option<Sender>; 2] {
    let of_us = [Some(Sender::Answerer), Some(Sender::Opener)];
    match reason {
        CloseReason::Finished | CloseReason::Closed => [None, None],
        CloseReason::ClientReset | CloseReason::ClientGone => [Some(Sender::Opener), of_us[1]],
        CloseReason::UpstreamReset => [of_us[0], Some(Sender::Answerer)],
        _ => of_us,
    }
}

/// Returns a text with the names of two sockets, if they are no addresses of IP.
fn unix_names(opener: &SocketName, answerer: &SocketName) -> Option<String> {
    let is_unix = opener.inet().is_none() || answerer.inet().is_none();
    is_unix.then(|| format!("from {opener} to {answerer}"))
}

pub(super) fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
