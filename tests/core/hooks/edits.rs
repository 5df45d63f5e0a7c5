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
use proptest::{collection::vec, prelude::*};

use super::{BOTH, DIRECTIONS, Script, Site, figures, inject_on_lane};
use crate::support::{
    pattern::Pattern,
    peers::{End, Peer},
    property::{Property, sizes},
    running::wait_end,
};

/// Through small buffers a megabyte takes seconds.
const MOST_INVENTED: usize = 1 << 19;

/// The answer to a chunk.
#[derive(Debug, Clone)]
enum Answer {
    Pass,
    Drop,
    /// The chunk itself, in pieces of at most these sizes (some of them empty), and the rest.
    Cut(Vec<usize>),
    /// Other bytes, in pieces of these sizes.
    Invent(Vec<usize>),
}

/// Bytes sent in one direction, and the edits that the hooks make.
#[derive(Debug, Clone)]
struct Course {
    bytes: usize,
    /// The sizes of writes, again and again.
    writes: Vec<usize>,
    /// An answer for each chunk, again and again, and the sizes of what is injected behind it.
    edits: Vec<(Answer, Vec<usize>)>,
    /// The sizes of what goes out in front of the end.
    trailer: Vec<usize>,
}

/// One connection.
#[derive(Debug, Clone)]
struct Case {
    chunk: usize,
    small_buffers: bool,
    to_upstream: Course,
    to_client: Course,
}

/// The sizes of bytes of the hooks' own: none, a few, or many.
fn invented() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![9 => 0..2000_usize, 1 => 0..300_000_usize], 0..=3)
}

fn courses() -> impl Strategy<Value = Course> {
    let answer = prop_oneof![
        3 => Just(Answer::Pass),
        1 => Just(Answer::Drop),
        1 => vec(0..50_000_usize, 0..20).prop_map(Answer::Cut),
        1 => invented().prop_map(Answer::Invent),
    ];
    let edit = (answer, prop_oneof![7 => Just(Vec::new()), 1 => invented()]);
    (sizes(1_500_000), vec(sizes(200_000), 1..6), vec(edit, 1..40), invented())
        .prop_map(|(bytes, writes, edits, trailer)| Course { bytes, writes, edits, trailer })
}

fn cases() -> impl Strategy<Value = Case> {
    let chunk = prop_oneof![Just(1000), Just(16 * 1024), Just(64 * 1024), Just(256 * 1024)];
    (chunk, any::<bool>(), courses(), courses()).prop_map(|(chunk, small_buffers, to_upstream, to_client)| Case {
        chunk,
        small_buffers,
        to_upstream,
        to_client,
    })
}

/// What the hooks were shown of one direction, and what has to come of it.
#[derive(Debug)]
struct Model {
    course: Course,
    chunks: usize,
    /// Numbers the streams of invented bytes.
    inventions: u64,
    shown: Pattern,
    expected: Vec<u8>,
    added: usize,
    dropped: usize,
}

type Models = Arc<Mutex<HashMap<Direction, Model>>>;

impl Model {
    fn new(direction: Direction, course: &Course) -> Self {
        let (course, shown) = (course.clone(), source(direction));
        Self { course, chunks: 0, inventions: 2, shown, expected: Vec::new(), added: 0, dropped: 0 }
    }

    /// Answers a chunk as the case says.
    fn answer(&mut self, connection: &Connection, direction: Direction, chunk: &[u8]) -> Verdict {
        self.shown.check(chunk);
        let (answer, behind) = self.course.edits[self.chunks % self.course.edits.len()].clone();
        self.chunks += 1;
        let verdict = match answer {
            Answer::Pass => Verdict::Pass,
            Answer::Drop => Verdict::Drop,
            Answer::Cut(sizes) => Verdict::Replace(cut(chunk, &sizes)),
            Answer::Invent(sizes) => Verdict::Replace(self.invent(&sizes)),
        };
        match &verdict {
            Verdict::Pass => self.expected.extend_from_slice(chunk),
            Verdict::Drop => self.dropped += chunk.len(),
            Verdict::Replace(pieces) => {
                self.dropped += chunk.len();
                self.add(pieces);
            }
        }
        let more = self.invent(&behind);
        self.add(&more);
        more.into_iter().for_each(|piece| inject_on_lane(connection, direction, piece));
        verdict
    }

    fn add(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            self.added += piece.len();
            self.expected.extend_from_slice(piece);
        }
    }

    /// Bytes of these sizes, unless there have been very many already.
    fn invent(&mut self, sizes: &[usize]) -> Vec<Bytes> {
        let sizes = if self.added < MOST_INVENTED { sizes } else { &[] };
        let stream = |size: &usize| {
            self.inventions += 1;
            Pattern::new(self.inventions).take(*size).into()
        };
        sizes.iter().map(stream).collect()
    }
}

fn cut(chunk: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut rest = chunk;
    let mut pieces: Vec<Bytes> = Vec::new();
    for size in sizes {
        let (piece, more) = rest.split_at(*size.min(&rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = more;
    }
    pieces.push(Bytes::copy_from_slice(rest));
    pieces
}

/// Bytes sent in a direction.
fn source(direction: Direction) -> Pattern {
    Pattern::new(match direction {
        ToUpstream => 1,
        ToClient => 2,
    })
}

fn editing(models: &Models) -> Script {
    let (chunks, ends) = (models.clone(), models.clone());
    let recv = move |connection: &Connection, direction: Direction, chunk: &[u8]| {
        Ok(chunks.lock().unwrap().get_mut(&direction).unwrap().answer(connection, direction, chunk))
    };
    let eof = move |_: &Connection, direction: Direction| {
        let mut models = ends.lock().unwrap();
        let model = models.get_mut(&direction).unwrap();
        let sizes = model.course.trailer.clone();
        let trailer = model.invent(&sizes);
        model.add(&trailer);
        Ok(EndVerdict::Pass(trailer))
    };
    Script::new().recv(recv).eof(eof)
}

/// Sends what the course says, then FIN; `most` bytes at most, in a few hundred writes.
fn send(mut peer: Peer, course: &Course, mut pattern: Pattern, most: usize) {
    let mut sizes = course.writes.iter().copied().cycle();
    let most = most.min(500 * course.writes.iter().sum::<usize>() / course.writes.len());
    peer.send_pattern(&mut pattern, course.bytes.min(most) as u64, || sizes.next().unwrap());
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

fn edit(case: &Case) {
    let courses = [&case.to_upstream, &case.to_client];
    let both = || DIRECTIONS.into_iter().zip(courses);
    let models: Models =
        Arc::new(Mutex::new(both().map(|(direction, course)| (direction, Model::new(direction, course))).collect()));
    let site = Site::with(editing(&models), BOTH.with(Interest::EOF), 1, |config| config.relay.chunk = case.chunk);
    let pair = if case.small_buffers { site.small_pair(16_384) } else { site.pair() };
    let most = if case.small_buffers { 100_000 } else { usize::MAX };
    let received = thread::scope(|scope| {
        let clones = [pair.client.try_clone(), pair.upstream.try_clone()];
        for (peer, (direction, course)) in clones.into_iter().zip(both()) {
            scope.spawn(move || send(peer, course, source(direction), most));
        }
        let receivers = [pair.upstream, pair.client].map(|peer| scope.spawn(move || receive(peer)));
        receivers.map(|receiver| receiver.join().unwrap())
    });
    assert_eq!(wait_end(&pair.connection), CloseReason::Finished, "{:?}", pair.connection.error());
    let models = models.lock().unwrap();
    for (direction, received) in DIRECTIONS.iter().zip(received) {
        let Model { shown, expected, added, dropped, .. } = &models[direction];
        assert!(received == *expected, "{direction:?}: {} bytes came of {} that had to", received.len(), expected.len());
        let counts = [shown.position(), *added as u64, expected.len() as u64, *dropped as u64, 0];
        assert_eq!(figures(&pair.connection, *direction), counts, "{direction:?}");
    }
}

#[test]
fn random_edits_give_what_their_answers_say() {
    Property { cases: 64, threads: 8 }.holds(cases, |case| edit(&case));
}
