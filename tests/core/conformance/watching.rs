//! Hooks that change nothing for the peers.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use bytes::Bytes;
use interpose::{
    hooks::{Answer, Answered, Decision, EndVerdict, Failed, Hooks, Ticket, Verdict},
    inspect::{
        Stages,
        chain::Nothing,
        framing::{Broken, Cut, Framed, Framer, FramingRules},
    },
    live::handle::Connection,
    tls::start::{ClientTls, Start},
    words::{
        chunk::{Chunk, ChunkBuffer},
        direction::{Both, Direction},
        interest::Interest,
    },
};

use tokio::runtime::Handle;

use crate::support::{chunk_buffers::ChunkBuffers, peers::spawn, sessions::made};

/// Hooks that change nothing for the peers.
#[derive(Debug, Default)]
pub struct Watching {
    pub replaces: bool,
    pub staged: bool,
    pub framed: bool,
}

/// Cuts messages of 1 byte to 255 times this many, as their first byte says, or shorter ones where a read ends: so no byte
/// waits for others.
#[derive(Debug, Clone, Copy)]
struct Short(usize);

impl Framer for Short {
    fn protocol(&self) -> &'static str {
        "short"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        Ok(Cut::Message(buffer.len().min(1 + self.0 * usize::from(buffer[0]))))
    }
}

fn framed(unit: usize) -> Framed {
    let framer = || Some(Box::new(Short(unit)) as _);
    let framers = Both { to_upstream: framer(), to_client: framer() };
    Framed { framers, needs_both: false, rules: FramingRules::default() }
}

pub const WATCHING: Interest = Interest::TO_UPSTREAM.with(Interest::TO_CLIENT).with(Interest::EOF);

impl Hooks for Watching {
    fn framing(&self, _: &Connection) -> Option<Framed> {
        self.framed.then(|| framed(2))
    }

    fn stages(&self, _: &Connection) -> Option<Both<Stages>> {
        let stages = || Stages::default().before_hook(Nothing).after_hook(Nothing);
        self.staged.then(|| Both { to_upstream: stages(), to_client: stages() })
    }

    fn on_accept(&self, _: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(Decision::Default.into())
    }

    fn on_connect(&self, _: &Connection) -> Result<Answer<()>, Failed> {
        Ok(().into())
    }

    fn on_recv(&self, _: &Connection, _: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        if !self.replaces {
            return Ok(Verdict::Pass.into());
        }
        // In two pieces, so that order matters too.
        let (first, second) = chunk.split_at(chunk.len() / 2);
        Ok(Verdict::Replace(vec![Bytes::copy_from_slice(first), Bytes::copy_from_slice(second)]).into())
    }

    fn on_eof(&self, _: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(EndVerdict::Pass(Vec::new()).into())
    }

    fn on_close(&self, _: &Connection, _: bool) {}

    fn chunk_buffer(&self, size: usize) -> Option<Arc<dyn ChunkBuffer>> {
        self.replaces.then(|| ChunkBuffers::default().one(size))
    }
}

/// The giving of an answer. Returns what wakes the connection.
type Work = Box<dyn FnOnce() -> Option<Answered> + Send>;

/// Hooks whose answers another thread gives: each as it is asked, or as an event loop does, all that wait at once.
#[derive(Debug)]
pub struct Later {
    /// Some until it is dropped.
    work: Option<mpsc::SyncSender<Question>>,
    thread: Option<thread::JoinHandle<()>>,
    framed: bool,
}

/// The answer, and the runtime of the thread that has asked.
type Question = (Work, Handle);

impl Default for Later {
    fn default() -> Self {
        Self::answered_by(|asked| asked.into_iter().for_each(|(answer, _)| drop(answer())))
    }
}

impl Later {
    pub fn framed() -> Self {
        let mut later = Self::answered_by(answer_in_batches);
        later.framed = true;
        later
    }

    fn answered_by(answer: impl FnOnce(mpsc::Receiver<Question>) + Send + 'static) -> Self {
        let (work, asked) = mpsc::sync_channel(1024);
        Self { work: Some(work), thread: Some(spawn(move || answer(asked))), framed: false }
    }

    fn answer<T: Send + 'static>(&self, connection: &Connection, answer: T) -> Answer<T> {
        let (ticket, reply) = Ticket::new(connection);
        let work = self.work.as_ref().unwrap();
        work.send((Box::new(move || reply.complete_unwoken(Ok(answer))), Handle::current())).unwrap();
        Answer::Later(ticket)
    }
}

/// Answers all that wait, then wakes each thread of their connections once.
fn answer_in_batches(asked: mpsc::Receiver<Question>) {
    while let Ok(first) = asked.recv() {
        let mut homes: Vec<(Handle, Vec<Answered>)> = Vec::new();
        for (answer, home) in std::iter::once(first).chain(asked.try_iter()) {
            let Some(answered) = answer() else { continue };
            match homes.iter_mut().find(|(known, _)| known.id() == home.id()) {
                Some((_, all)) => all.push(answered),
                None => homes.push((home, vec![answered])),
            }
        }
        homes.into_iter().for_each(|(home, answered)| Answered::wake_all(&home, answered));
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        drop(self.work.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Hooks for Later {
    fn framing(&self, _: &Connection) -> Option<Framed> {
        // Each answer wakes the connection's thread.
        self.framed.then(|| framed(1000))
    }

    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(self.answer(connection, Decision::Default))
    }

    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed> {
        Ok(self.answer(connection, ()))
    }

    fn on_recv(&self, connection: &Connection, _: Direction, _: &Chunk) -> Result<Answer<Verdict>, Failed> {
        Ok(self.answer(connection, Verdict::Pass))
    }

    fn on_eof(&self, connection: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(self.answer(connection, EndVerdict::Pass(Vec::new())))
    }

    fn on_close(&self, _: &Connection, _: bool) {}
}

/// Hooks that see the first chunk of each direction, and no more of it.
#[derive(Debug)]
pub struct LettingGo<H>(pub H);

impl<H: Hooks> Hooks for LettingGo<H> {
    fn framing(&self, connection: &Connection) -> Option<Framed> {
        self.0.framing(connection)
    }

    fn stages(&self, connection: &Connection) -> Option<Both<Stages>> {
        self.0.stages(connection)
    }

    fn on_accept(&self, connection: &Connection) -> Result<Answer<Decision>, Failed> {
        self.0.on_accept(connection)
    }

    fn on_connect(&self, connection: &Connection) -> Result<Answer<()>, Failed> {
        self.0.on_connect(connection)
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        connection.pass_through(direction);
        self.0.on_recv(connection, direction, chunk)
    }

    fn on_eof(&self, connection: &Connection, direction: Direction) -> Result<Answer<EndVerdict>, Failed> {
        self.0.on_eof(connection, direction)
    }

    fn on_close(&self, connection: &Connection, wanted: bool) {
        self.0.on_close(connection, wanted);
    }
}

/// Hooks that begin TLS with both sides behind the client's first chunk, and see no more.
#[derive(Debug)]
pub struct BeginningTls;

impl Hooks for BeginningTls {
    fn on_accept(&self, _: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(Decision::Default.into())
    }

    fn on_connect(&self, _: &Connection) -> Result<Answer<()>, Failed> {
        Ok(().into())
    }

    fn on_recv(&self, connection: &Connection, _: Direction, _: &Chunk) -> Result<Answer<Verdict>, Failed> {
        let client = Some(ClientTls::Terminate(Arc::clone(&made().tls)));
        let start = Start { client, upstream: Some(made().upstream.clone()), ..Start::default() };
        connection.start_tls(start).unwrap();
        Direction::ALL.into_iter().for_each(|direction| connection.pass_through(direction));
        Ok(Verdict::Pass.into())
    }

    fn on_eof(&self, _: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(EndVerdict::Pass(Vec::new()).into())
    }

    fn on_close(&self, _: &Connection, _: bool) {}
}
