//! Chunks that lie in memory of the hooks' own.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Verdict},
    live::handle::Connection,
    words::{
        chunk::{Chunk, ChunkBuffer},
        direction::Direction,
        interest::Interest,
    },
};

use crate::support::{
    chunk_buffers::ChunkBuffers,
    pattern::Pattern,
    peers::{End, Peer, until},
    running::{Running, to},
    upstreams::Upstream,
};

const CHUNK: usize = 4096;

/// Returns a buffer at each call, and keeps every chunk.
#[derive(Debug, Default)]
struct Keeping {
    buffers: ChunkBuffers,
    kept: Mutex<Vec<Chunk>>,
    left: AtomicUsize,
}

impl Keeping {
    fn kept(&self) -> Vec<u8> {
        self.kept.lock().unwrap().iter().flat_map(|chunk| chunk.iter().copied()).collect()
    }

    /// How many of the chunks that were kept lie in a buffer.
    fn in_buffers(&self) -> usize {
        self.kept.lock().unwrap().iter().filter(|chunk| chunk.buffer().is_some()).count()
    }
}

impl Hooks for Keeping {
    fn on_accept(&self, _: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(Decision::Default.into())
    }

    fn on_connect(&self, _: &Connection) -> Result<Answer<()>, Failed> {
        Ok(().into())
    }

    fn on_recv(&self, _: &Connection, _: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        self.kept.lock().unwrap().push(chunk.clone());
        Ok(Verdict::Pass.into())
    }

    fn on_eof(&self, _: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(EndVerdict::Pass(Vec::new()).into())
    }

    fn on_close(&self, _: &Connection, _: bool) {}

    fn chunk_buffer(&self, size: usize) -> Option<Arc<dyn ChunkBuffer>> {
        assert_eq!(size, CHUNK);
        Some(self.buffers.one(size))
    }

    fn give_back(&self, buffer: Arc<dyn ChunkBuffer>) {
        self.left.fetch_add(1, Relaxed);
        drop(buffer);
    }
}

fn start(hooks: &Arc<Keeping>) -> (Running, Upstream) {
    let upstream = Upstream::new();
    let mut config = to(upstream.address());
    config.relay.chunk = CHUNK;
    let hooks = Arc::clone(hooks);
    (Running::start_hooked(config, hooks, Interest::TO_UPSTREAM), upstream)
}

#[test]
fn what_follows_a_full_chunk_is_read_into_the_hooks_buffer() {
    let hooks = Arc::new(Keeping::default());
    let (running, upstream) = start(&hooks);
    let mut client = Peer::connect(running.address());
    let mut far = upstream.accept();
    let size = 10 * CHUNK as u64 + 100;
    client.send_pattern(&mut Pattern::new(1), size, || 20_000);
    client.half_close();
    assert_eq!(far.receive_to_end(&mut Pattern::new(1)), (size, End::Eof));
    let mut sent = vec![0; size as usize];
    sent.copy_from_slice(&Pattern::new(1).take(size as usize));
    assert_eq!(hooks.kept(), sent, "what was kept is what it was");
    assert!(hooks.in_buffers() > 0);
    until("those that nobody keeps are gone", || hooks.buffers.alive() == hooks.in_buffers());
    assert!(hooks.left.load(Relaxed) >= hooks.in_buffers());
}

#[test]
fn small_chunks_need_none() {
    let hooks = Arc::new(Keeping::default());
    let (running, upstream) = start(&hooks);
    let mut client = Peer::connect(running.address());
    let mut far = upstream.accept();
    for _ in 0..20 {
        client.send(b"question");
        assert_eq!(far.receive_exactly(8), b"question");
    }
    assert_eq!((hooks.in_buffers(), hooks.left.load(Relaxed)), (0, 0));
}
