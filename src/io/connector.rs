//! Connecting to an upstream: every address of a name, raced (RFC 8305), within one bound.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Protocol, SockRef, Socket};
use tokio::time::{Instant, sleep_until};

use super::{
    deadline, handshake::Handshake, names::socket_name, near_timer, options::SocketOptions, registered, reserve::Reserve,
    resolver::Resolver, stream::Stream, sys,
};
use crate::{
    io::hops::{Came, Hop, Hops},
    settings::forward::Forward,
    tls::{intercept::Intercept, mirrored::Asked, originate::TlsUpstream},
    words::{
        addr::{Address, SocketName},
        direction::Side,
        error::reason_text,
        outcome::{CloseReason, Outcome},
    },
};

/// How long an attempt may go without a result before the next address is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Pause between two attempts at a Unix socket whose backlog is full: such a connect fails at once instead of waiting.
const UNIX_RETRY: Duration = Duration::from_millis(10);

/// A connected upstream, with the names of its socket as the connect determined them.
pub(crate) struct ConnectedUpstream {
    pub stream: Stream,
    pub peer: SocketName,
    pub local: SocketName,
    /// Marks the connection as one of this process, if it may come to a listener of ours.
    pub hop: Option<Hop>,
    /// One line about the targets that could not be connected before.
    pub passed_over: Option<Box<str>>,
    /// The name of the target, if it has one.
    pub host: Option<Box<str>>,
}

/// The client's history, and the means to connect its upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub resolver: &'a Resolver,
    pub hops: &'a Arc<Hops>,
    pub options: &'a SocketOptions,
    pub came: Came<'a>,
    /// Looks inside the client's TLS: the upstream is asked as the client has asked.
    pub inside: Option<&'a Inside>,
}

/// Looks inside the TLS of one client.
#[derive(Debug)]
pub(crate) struct Inside {
    pub by: Arc<Intercept>,
    pub asked: Asked,
}

/// Connects to the first target of `forward` alone, or returns the reason of the failure. Uses the descriptors of `reserve`.
pub(super) async fn connect_once(
    forward: &Forward,
    way: Way<'_>,
    reserve: Option<Reserve>,
) -> Result<ConnectedUpstream, Outcome> {
    let attempt = async {
        // Releases the descriptor reserved for DNS now; the one for the socket just before the socket is opened.
        let kept = reserve.map(Reserve::into_socket);
        let (host, port) = match (&forward.address, forward.address.socket_addr()) {
            (Address::Inet { host, port }, None) => (host, *port),
            (Address::Inet { .. }, Some(address)) => {
                drop(kept);
                return connect_tcp(address, forward.source, way).await.map_err(Outcome::from_connect);
            }
            (Address::Unix(path), _) => {
                drop(kept);
                return connect_unix(path, way).await;
            }
            (Address::Descriptor(_), _) => {
                return Err(Outcome::explained(CloseReason::ConnectFailed, "a descriptor is for a listener"));
            }
        };
        let found = way.resolver.resolve(host).await?;
        drop(kept);
        race(&order(&found, port, forward.source), forward.source, way).await
    };
    near_timer::set();
    let Some(connected) = deadline::within(forward.connect_timeout, attempt).await else {
        let seconds = forward.connect_timeout.as_secs_f64();
        return Err(Outcome::explained(CloseReason::ConnectTimeout, format!("no answer within {seconds} s")));
    };
    let connected = connected.map(|connected| ConnectedUpstream { host: name_of(&forward.address), ..connected });
    match forward.tls.as_ref().or(way.inside.map(|inside| &inside.by.settings().upstream)) {
        None => connected,
        // Boxed, so that connections without TLS have no memory for it.
        Some(tls) => Box::pin(originate(tls, forward.address.host(), way.inside, connected?)).await,
    }
}

fn name_of(target: &Address) -> Option<Box<str>> {
    target.host().filter(|_| target.socket_addr().is_none()).map(Into::into)
}

/// Finishes a TLS handshake with the upstream, which was just connected.
async fn originate(
    tls: &TlsUpstream,
    host: Option<&str>,
    inside: Option<&Inside>,
    mut connected: ConnectedUpstream,
) -> Result<ConnectedUpstream, Outcome> {
    let session = tls.session(host, inside.map(|inside| &inside.asked));
    let handshake = Handshake { session, limit: tls.settings().handshake_timeout };
    match handshake.shake(Side::Upstream, &mut connected.stream).await {
        Ok(()) => Ok(connected),
        Err(outcome) => {
            connected.stream.abort_on_close();
            Err(outcome)
        }
    }
}

/// Returns the addresses in the order in which they are tried: families in turn, the resolver's first address first (RFC 8305
/// section 4). With a source address, only addresses of its family.
fn order(found: &Arc<[SocketAddr]>, port: u16, source: Option<IpAddr>) -> Vec<SocketAddr> {
    let usable = |address: &&SocketAddr| source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.iter().filter(usable) {
        let mut address = *address;
        address.set_port(port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(addresses.len());
    loop {
        let pair = (first.next(), second.next());
        ordered.extend(pair.0);
        ordered.extend(pair.1);
        if pair == (None, None) {
            return ordered;
        }
    }
}

/// Starts an attempt at the next address when the last one failed, or had no result for [`ATTEMPT_DELAY`]. Returns the first
/// connection and drops the other attempts. If all fail, returns the first failure.
async fn race(addresses: &[SocketAddr], source: Option<IpAddr>, way: Way<'_>) -> Result<ConnectedUpstream, Outcome> {
    let mut waiting = addresses.iter();
    let mut running = FuturesUnordered::new();
    let mut first_failure = None;
    loop {
        let next = waiting.next();
        match next {
            Some(address) => running.push(connect_tcp(*address, source, way)),
            None if running.is_empty() => {
                let no_address = || Outcome::explained(CloseReason::ConnectFailed, "no address of the source's family");
                return Err(first_failure.map_or_else(no_address, Outcome::from_connect));
            }
            None => {}
        }
        let patience = Instant::now() + ATTEMPT_DELAY;
        tokio::select! {
            biased;
            Some(ended) = running.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(failure) => { first_failure.get_or_insert(failure); }
            },
            () = sleep_until(patience), if waiting.len() > 0 => {}
        }
    }
}

async fn connect_tcp(address: SocketAddr, source: Option<IpAddr>, way: Way<'_>) -> io::Result<ConnectedUpstream> {
    let socket = new_socket(address, source, way.options)?;
    let (target, mut hop, mut known) = (address.into(), None, None);
    let dial = |socket: &Socket| {
        let mut pending = Ok(());
        hop = way.hops.dial(&SocketName::Inet(address), way.came, || {
            pending = socket.connect(&target);
            // A socket has a local address as soon as the connect has begun.
            let local = socket_name(&socket.local_addr()?);
            known = cfg!(unix).then(|| local.clone());
            Ok((local.clone(), reached(address, socket, &local)))
        })?;
        pending
    };
    let connected = registered::connect(socket, &target, dial).await?;
    let names = || -> io::Result<(SocketName, SocketName)> {
        let local = known.map_or_else(|| connected.socket().local_addr().map(|local| socket_name(&local)), Ok)?;
        // A connect to 0.0.0.0 or [::] goes to an address of this machine; only the kernel knows which.
        let peer = if address.ip().is_unspecified() { socket_name(&connected.socket().peer_addr()?) } else { address.into() };
        // The kernel may choose the target's own port as source port where nobody listens on it; then TCP connects to itself.
        if local == peer { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok((peer, local)) }
    };
    let names = names();
    let mut stream = Stream::from(connected);
    let (peer, local) = names.inspect_err(|_| stream.abort_on_close())?;
    if cfg!(not(unix)) {
        hop = way.hops.remember((&local, &peer), way.came);
    }
    Ok(ConnectedUpstream { stream, peer, local, hop, passed_over: None, host: None })
}

/// Returns the address that a connect to `address` reaches: 0.0.0.0 and [::] are this machine, at an address that only the
/// kernel knows.
fn reached(address: SocketAddr, socket: &Socket, local: &SocketName) -> SocketName {
    if !address.ip().is_unspecified() {
        return address.into();
    }
    let own = local.inet().map_or(address, |local| SocketAddr::new(local.ip(), address.port()));
    // Before the handshake the kernel reports no peer; then the socket's own IP address is the likely one.
    socket.peer_addr().map_or_else(|_| own.into(), |peer| socket_name(&peer))
}

fn new_socket(address: SocketAddr, source: Option<IpAddr>, options: &SocketOptions) -> io::Result<Socket> {
    let socket = sys::open(Domain::for_address(address), Some(Protocol::TCP))?;
    options.apply_to_upstream(&SockRef::from(&socket));
    if let Some(source) = source {
        sys::bind_address_no_port(&socket);
        // Not passed on as it is: EADDRNOTAVAIL from a connect means that the ports are exhausted.
        let fault = |error| io::Error::other(format!("source {source} cannot be used ({})", reason_text(&error)));
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(fault)?;
    }
    Ok(socket)
}

#[cfg(unix)]
async fn connect_unix(path: &str, way: Way<'_>) -> Result<ConnectedUpstream, Outcome> {
    let name = path.strip_prefix('@').map_or_else(|| path.to_owned(), |name| format!("\0{name}"));
    let peer = SocketName::Unix(path.to_owned());
    let attempt = async || {
        let socket = sys::open(Domain::UNIX, None)?;
        let hop = name_unix(&socket, &peer, way)?;
        let target = SockAddr::unix(&name)?;
        registered::connect(socket, &target, |socket| socket.connect(&target)).await.map(|connected| (connected, hop))
    };
    loop {
        match attempt().await {
            Ok((connected, hop)) => {
                let local = SocketName::Unix(String::new());
                return Ok(ConnectedUpstream { stream: connected.into(), peer, local, hop, passed_over: None, host: None });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(UNIX_RETRY).await,
            Err(error) => return Err(Outcome::from_connect(error)),
        }
    }
}

/// Binds a Unix socket to a name before it connects to a listener of ours, so that the listener recognises it.
#[cfg(unix)]
fn name_unix(socket: &Socket, peer: &SocketName, way: Way<'_>) -> io::Result<Option<Hop>> {
    if !way.hops.leads_here(peer) {
        return Ok(None);
    }
    sys::name_unix_socket(socket)?;
    let local = socket_name(&socket.local_addr()?);
    Ok(way.hops.hop((&local, peer), way.came))
}

#[cfg(not(unix))]
async fn connect_unix(_: &str, _: Way<'_>) -> Result<ConnectedUpstream, Outcome> {
    Err(Outcome::explained(CloseReason::ConnectFailed, "this system has no Unix sockets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Arc<[SocketAddr]> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn families_take_turns_and_the_favourite_is_first() {
        let found = addresses(&["::1", "::2", "::3", "10.0.0.1", "::1"]);
        let ordered: Vec<String> = order(&found, 80, None).iter().map(ToString::to_string).collect();
        assert_eq!(ordered, ["[::1]:80", "10.0.0.1:80", "[::2]:80", "[::3]:80"]);
    }

    #[test]
    fn a_source_address_leaves_its_own_family() {
        let found = addresses(&["::1", "10.0.0.1"]);
        assert_eq!(order(&found, 80, Some("10.0.0.9".parse().unwrap())), ["10.0.0.1:80".parse().unwrap()]);
    }
}
