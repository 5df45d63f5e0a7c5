//! One epoll over the backend's and the clients' sockets.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, Socket, Type};

use crate::backend::Backend;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::plan::Workload;
use crate::tally::Tally;
use crate::wire::{Interest, Wire};

/// What one read may take.
const READ: usize = 256 * 1024;
const LISTENER: u64 = u64::MAX;
/// More errors than a passing trouble explains.
const MANY_ERRORS: u64 = 1000;

/// What an end of a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Read,
    Write,
    Close,
}

enum End {
    Backend(Backend),
    Client(Client),
}

struct Link {
    wire: Wire,
    end: End,
    /// What the end wants to do.
    next: Next,
    waits_for: Interest,
    /// Tells an event for this link from one for its slot's last owner.
    generation: u32,
}

impl Link {
    fn progress(&mut self, buffer: &mut [u8], tally: &mut Tally) -> io::Result<Next> {
        if !self.wire.is_ready()? {
            return Ok(self.next);
        }
        if let Some(resumed) = self.wire.was_resumed() {
            tally.shaken(resumed);
        }
        loop {
            let next = match &mut self.end {
                End::Backend(backend) => backend.progress(&mut self.wire, buffer)?,
                End::Client(client) => client.progress(&mut self.wire, buffer, tally)?,
            };
            if next != Next::Read || !self.wire.has_ended() {
                return Ok(next);
            }
        }
    }
}

pub struct Engine {
    epoll: OwnedFd,
    listener: TcpListener,
    events: Vec<epoll::Event>,
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    generation: u32,
    buffer: Vec<u8>,
    pub tally: Tally,
    /// Where a client that finished or failed is followed by another one.
    pub again: Option<(SocketAddr, Workload)>,
    /// The TLS of connections that are opened and accepted from now on.
    pub credentials: Credentials,
}

impl Engine {
    pub fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(4096)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from(socket);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            events: Vec::with_capacity(256),
            links: Vec::new(),
            free: Vec::new(),
            generation: 0,
            buffer: vec![0; READ],
            tally: Tally::new(),
            again: None,
            credentials: Credentials::none(),
        })
    }

    pub fn address(&self) -> SocketAddr {
        // The socket was bound in `new`.
        self.listener.local_addr().unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Opens a client and sends what can be sent at once.
    pub fn open(&mut self, target: SocketAddr, workload: Workload) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), None)?;
        if workload != Workload::Connect {
            socket.set_tcp_nodelay(true)?;
        }
        let mut client = Client::new(workload);
        match socket.connect(&target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let mut wire = Wire::new(TcpStream::from(socket), self.credentials.of_client()?);
        let next = client.progress(&mut wire, &mut self.buffer, &mut self.tally)?;
        self.insert(wire, End::Client(client), next)
    }

    /// Serves what is ready, waiting for it until then.
    pub fn turn(&mut self, until: Instant) -> io::Result<()> {
        let wait = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
        let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&wait))?;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            match event.data.u64() {
                LISTENER => self.accept()?,
                token => self.serve(token)?,
            }
        }
        self.events = events;
        if self.tally.errors > MANY_ERRORS {
            let why = self.tally.first_error.clone().unwrap_or_default();
            return Err(io::Error::other(format!("too many errors, first: {why}")));
        }
        Ok(())
    }

    pub fn turn_until(&mut self, end: Instant) -> io::Result<()> {
        while Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    /// Closes every client.
    pub fn close_clients(&mut self) {
        self.again = None;
        for (index, slot) in self.links.iter_mut().enumerate() {
            if matches!(slot, Some(link) if matches!(link.end, End::Client(_))) {
                *slot = None;
                self.free.push(slot_number(index));
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match accept_with(&self.listener, flags) {
                Ok(socket) => {
                    let wire = Wire::new(TcpStream::from(socket), self.credentials.of_backend()?);
                    self.insert(wire, End::Backend(Backend::New), Next::Read)?;
                }
                Err(error) if error == rustix::io::Errno::AGAIN => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn insert(&mut self, wire: Wire, end: End, next: Next) -> io::Result<()> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            slot_number(self.links.len() - 1)
        });
        self.generation = self.generation.wrapping_add(1);
        let token = u64::from(self.generation) << 32 | u64::from(index);
        let waits_for = wire.interest(next);
        epoll::add(&self.epoll, wire.stream(), EventData::new_u64(token), flags(waits_for))?;
        self.links[index as usize] = Some(Link { wire, end, next, waits_for, generation: self.generation });
        Ok(())
    }

    fn serve(&mut self, token: u64) -> io::Result<()> {
        let index = (token & u64::from(u32::MAX)) as usize;
        let Some(link) = self.links[index].as_mut() else {
            return Ok(());
        };
        if u64::from(link.generation) != token >> 32 {
            return Ok(());
        }
        let is_client = matches!(link.end, End::Client(_));
        let result = link.progress(&mut self.buffer, &mut self.tally);
        let next = match result {
            Ok(next) => next,
            Err(error) => {
                // What a backend's end sees of a proxy that goes away is no result.
                if is_client || error.kind() == ErrorKind::InvalidData {
                    self.tally.error(&error);
                }
                Next::Close
            }
        };
        if next == Next::Close {
            link.wire.end();
            self.links[index] = None;
            self.free.push(slot_number(index));
            if let (true, Some((target, workload))) = (is_client, self.again) {
                self.open(target, workload)?;
            }
            return Ok(());
        }
        link.next = next;
        let waits_for = link.wire.interest(next);
        if waits_for != link.waits_for {
            link.waits_for = waits_for;
            epoll::modify(&self.epoll, link.wire.stream(), EventData::new_u64(token), flags(waits_for))?;
        }
        Ok(())
    }
}

fn flags(waits_for: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, waits_for.readable);
    flags.set(EventFlags::OUT, waits_for.writable);
    flags
}

/// There are fewer slots than descriptors, and those are ints.
fn slot_number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
