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
use crate::plan::Workload;
use crate::tally::Tally;

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
    stream: TcpStream,
    end: End,
    waits_for: Next,
    /// Tells an event for this link from one for its slot's last owner.
    generation: u32,
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
        let stream = TcpStream::from(socket);
        let next = client.progress(&stream, &mut self.buffer, &mut self.tally)?;
        self.insert(stream, End::Client(client), next)
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
                    self.insert(TcpStream::from(socket), End::Backend(Backend::New), Next::Read)?;
                }
                Err(error) if error == rustix::io::Errno::AGAIN => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn insert(&mut self, stream: TcpStream, end: End, next: Next) -> io::Result<()> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            slot_number(self.links.len() - 1)
        });
        self.generation = self.generation.wrapping_add(1);
        let token = u64::from(self.generation) << 32 | u64::from(index);
        epoll::add(&self.epoll, &stream, EventData::new_u64(token), flags(next))?;
        self.links[index as usize] = Some(Link { stream, end, waits_for: next, generation: self.generation });
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
        let (is_client, result) = match &mut link.end {
            End::Backend(backend) => (false, backend.progress(&link.stream, &mut self.buffer)),
            End::Client(client) => (true, client.progress(&link.stream, &mut self.buffer, &mut self.tally)),
        };
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
            self.links[index] = None;
            self.free.push(slot_number(index));
            if let (true, Some((target, workload))) = (is_client, self.again) {
                self.open(target, workload)?;
            }
        } else if next != link.waits_for {
            link.waits_for = next;
            epoll::modify(&self.epoll, &link.stream, EventData::new_u64(token), flags(next))?;
        }
        Ok(())
    }
}

fn flags(next: Next) -> EventFlags {
    match next {
        Next::Read => EventFlags::IN,
        Next::Write => EventFlags::OUT,
        Next::Close => EventFlags::empty(),
    }
}

/// There are fewer slots than descriptors, and those are ints.
fn slot_number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
