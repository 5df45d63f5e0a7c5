//! Random edits: each byte is shown once and in order, and what arrives is what the answers said, both ways at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use interpose::{
    hooks::{EndVerdict, Verdict},
    live::handle::Connection,
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, DIRECTIONS, Script, Site, figures, inject_on_lane};
use crate::support::{
    pattern::{Pattern, Prng},
    peers::{End, Peer},
    running::wait_end,
};

/// What the hooks were shown of one direction, and what has to come of it.
#[derive(Debug)]
struct Model {
    prng: Prng,
    shown: Pattern,
    expected: Vec<u8>,
    added: usize,
    dropped: usize,
}

type Models = Arc<Mutex<HashMap<Direction, Model>>>;

impl Model {
    fn new(seed: u64) -> Self {
        Self { prng: Prng::new(seed), shown: Pattern::new(seed), expected: Vec::new(), added: 0, dropped: 0 }
    }

    /// Any answer to a chunk, and now and then an injection behind it.
    fn answer(&mut self, connection: &Connection, direction: Direction, chunk: &[u8]) -> Verdict {
        self.shown.check(chunk);
        let verdict = match self.prng.between(0, 5) {
            0 => Verdict::Drop,
            1 => Verdict::Replace(self.cut(chunk)),
            2 => Verdict::Replace(self.invent()),
            _ => Verdict::Pass,
        };
        match &verdict {
            Verdict::Pass => self.expected.extend_from_slice(chunk),
            Verdict::Drop => self.dropped += chunk.len(),
            Verdict::Replace(pieces) => {
                self.dropped += chunk.len();
                self.add(pieces);
            }
        }
        if self.prng.once_in(8) {
            let more = self.invent();
            self.add(&more);
            more.into_iter().for_each(|piece| inject_on_lane(connection, direction, piece));
        }
        verdict
    }

    fn add(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            self.added += piece.len();
            self.expected.extend_from_slice(piece);
        }
    }

    /// The chunk itself, in pieces, some of them empty.
    fn cut(&mut self, chunk: &[u8]) -> Vec<Bytes> {
        let (mut pieces, mut rest) = (Vec::new(), chunk);
        while !rest.is_empty() && pieces.len() < 20 {
            let (piece, more) = rest.split_at(self.prng.between(0, rest.len()));
            pieces.push(Bytes::copy_from_slice(piece));
            rest = more;
        }
        pieces.push(Bytes::copy_from_slice(rest));
        pieces
    }

    /// Other bytes: none, a few, or many.
    fn invent(&mut self) -> Vec<Bytes> {
        let most = if self.prng.once_in(10) { 300_000 } else { 2000 };
        let count = self.prng.between(0, 3);
        (0..count).map(|_| Pattern::new(self.prng.next()).take(self.prng.size(most) - 1).into()).collect()
    }
}

fn editing(models: &Models) -> Script {
    let (chunks, ends) = (models.clone(), models.clone());
    let recv = move |connection: &Connection, direction: Direction, chunk: &[u8]| {
        Ok(chunks.lock().unwrap().get_mut(&direction).unwrap().answer(connection, direction, chunk))
    };
    let eof = move |_: &Connection, direction: Direction| {
        let mut models = ends.lock().unwrap();
        let model = models.get_mut(&direction).unwrap();
        let trailer = model.invent();
        model.add(&trailer);
        Ok(EndVerdict::Pass(trailer))
    };
    Script::new().recv(recv).eof(eof)
}

/// Sends `bytes` of a pattern, cut at random, then FIN.
fn send(mut peer: Peer, seed: u64, bytes: u64) {
    let mut prng = Prng::new(!seed);
    let most = [100, 5000, 200_000][prng.between(0, 2)];
    let mut pattern = Pattern::new(seed);
    peer.send_pattern(&mut pattern, bytes.min(most * 500), || prng.size(most as usize));
    peer.half_close();
}

fn receive(mut peer: Peer) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match peer.receive(&mut buffer) {
            Ok(got) => all.extend_from_slice(&buffer[..got]),
            Err(end) => {
                assert_eq!(end, End::Eof);
                return all;
            }
        }
    }
}

fn edit(seed: u64) {
    let seeds = [2 * seed, 2 * seed + 1];
    let models: Models = Arc::new(Mutex::new(DIRECTIONS.into_iter().zip(seeds.map(Model::new)).collect()));
    let mut prng = Prng::new(seed);
    let chunk = [1000, 16 * 1024, 64 * 1024, 256 * 1024][prng.between(0, 3)];
    let site = Site::with(editing(&models), BOTH.with(Interest::EOF), 1, |config| config.relay.chunk = chunk);
    let pair = if prng.once_in(2) { site.small_pair(16_384) } else { site.pair() };
    let bytes = prng.size(1_500_000) as u64;
    let received = thread::scope(|scope| {
        let clones = [pair.client.try_clone(), pair.upstream.try_clone()];
        for (peer, seed) in clones.into_iter().zip(seeds) {
            scope.spawn(move || send(peer, seed, bytes));
        }
        let receivers = [pair.upstream, pair.client].map(|peer| scope.spawn(move || receive(peer)));
        receivers.map(|receiver| receiver.join().unwrap())
    });
    assert_eq!(wait_end(&pair.connection), CloseReason::Finished, "{:?}", pair.connection.error());
    let models = models.lock().unwrap();
    for (direction, received) in [ToUpstream, ToClient].iter().zip(received) {
        let Model { shown, expected, added, dropped, .. } = &models[direction];
        assert!(received == *expected, "{direction:?}: {} bytes came of {} that had to", received.len(), expected.len());
        let counts = [shown.position(), *added as u64, expected.len() as u64, *dropped as u64, 0];
        assert_eq!(figures(&pair.connection, *direction), counts, "{direction:?}");
    }
}

/// `INTERPOSE_SEEDS` plays more of them.
#[test]
fn random_edits_give_what_their_answers_say() {
    let seeds = std::env::var("INTERPOSE_SEEDS").map_or(25, |text| text.parse().expect("a number"));
    for seed in 0..seeds {
        let edited = thread::Builder::new().spawn(move || edit(seed)).unwrap().join();
        assert!(edited.is_ok(), "seed {seed}");
    }
}
