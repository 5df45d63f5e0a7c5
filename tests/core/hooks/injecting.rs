//! Bytes that are sent into a live connection from outside its relay.

use std::{
    sync::{Barrier, mpsc::sync_channel},
    thread,
    time::Duration,
};

use bytes::Bytes;
use interpose::{
    hooks::Verdict,
    live::{
        handle::Connection,
        inbox::{Patience, Refused, WAITING, WAITING_ON_LANE},
    },
    words::{
        direction::Direction::{self, ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, DIRECTIONS, Pair, Script, Site, figures, inject, inject_on_lane};
use crate::support::{
    pattern::{Pattern, Prng},
    peers::{DEADLINE, End, Peer, clamp, spawn, until},
    running::wait_end,
};

/// On the native path, and on a lane.
const PLACES: [Interest; 2] = [Interest::NONE, BOTH];

const PIECE: usize = 64 * 1024;

/// A call's bytes: who made it, its number and its length, so that a reader can tell it from all others.
fn message(thread: u8, number: u32, length: usize) -> Bytes {
    let mut bytes = vec![b'[', thread];
    bytes.extend(number.to_be_bytes());
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
    bytes.resize(bytes.len() + length, thread);
    bytes.into()
}

/// Reads traffic (dots) and messages. Gives how many dots came, and how many messages of each of two threads.
fn read_messages(peer: &mut Peer, dots: u64, messages: [u32; 2]) {
    let (mut dots_got, mut got) = (0, [0; 2]);
    while (dots_got, got) != (dots, messages) {
        match peer.receive_exactly(1)[0] {
            b'.' => dots_got += 1,
            b'[' => {
                let head = peer.receive_exactly(9);
                let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
                let thread = usize::from(head[0]);
                assert_eq!(number(1), got[thread], "the calls of thread {thread} are out of order");
                let body = peer.receive_exactly(number(5) as usize);
                assert!(body.iter().all(|byte| usize::from(*byte) == thread), "another's bytes inside a call");
                got[thread] += 1;
            }
            other => panic!("{other} is neither traffic nor the start of a call"),
        }
    }
}

#[test]
fn calls_of_several_threads_arrive_whole_and_in_order() {
    const CALLS: u32 = 400;
    const DOTS: u64 = 20_000;
    for interest in PLACES {
        let site = Site::start(Script::new(), interest);
        for direction in DIRECTIONS {
            let mut pair = site.pair();
            let connection = pair.connection.clone();
            let (source, destination) = pair.ends(direction);
            thread::scope(|scope| {
                for thread in 0..2 {
                    let connection = &connection;
                    scope.spawn(move || {
                        let mut prng = Prng::new(u64::from(thread));
                        (0..CALLS).for_each(|number| inject(connection, direction, message(thread, number, prng.size(5000))));
                    });
                }
                scope.spawn(|| (0..DOTS / 20).for_each(|_| source.send(&[b'.'; 20])));
                read_messages(destination, DOTS, [CALLS; 2]);
            });
            connection.close();
            destination.expect(End::Eof);
        }
    }
}

/// Injects a pattern until no more is taken. Gives what was.
fn fill(connection: &Connection, direction: Direction, pattern: &mut Pattern) -> u64 {
    let start = pattern.position();
    loop {
        let piece = Bytes::from(pattern.clone().take(PIECE));
        match connection.inject(direction, piece, Patience::Wait(Some(Duration::from_millis(200)))) {
            Ok(()) => pattern.advance(PIECE),
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                return pattern.position() - start;
            }
        }
        assert!(pattern.position() - start < 64 << 20, "there is no bound");
    }
}

/// A sender that waits for room. The second is told it is about to.
fn waiting_sender(connection: &Connection, direction: Direction, data: Vec<u8>) -> thread::JoinHandle<Result<(), Refused>> {
    let (tell, told) = sync_channel(1);
    let connection = connection.clone();
    let sender = spawn(move || {
        tell.send(()).unwrap();
        connection.inject(direction, data.into(), Patience::Wait(None))
    });
    told.recv().unwrap();
    sender
}

#[test]
fn a_peer_that_does_not_read_bounds_it() {
    for interest in PLACES {
        let site = Site::start(Script::new(), interest);
        for direction in DIRECTIONS {
            let mut pair = site.small_pair(16_384);
            let connection = pair.connection.clone();
            let mut pattern = Pattern::new(1);
            let filled = fill(&connection, direction, &mut pattern);
            let held = filled - connection.ledger(direction).delivered;
            assert!(held <= 2 * (WAITING + PIECE) as u64, "{held} bytes are held");
            assert!(held >= WAITING as u64, "{held} bytes are too many already");
            let sender = waiting_sender(&connection, direction, pattern.take(PIECE));
            assert_eq!(
                connection.inject(direction, Bytes::from_static(b"x"), Patience::Wait(Some(Duration::ZERO))),
                Err(Refused::Full)
            );
            pair.ends(direction).1.receive_pattern(&mut Pattern::new(1), pattern.position());
            assert_eq!(sender.join().unwrap(), Ok(()));
            let all = pattern.position();
            until("the ledger has it", || figures(&connection, direction) == [0, all, all, 0, 0]);
        }
    }
}

#[test]
fn a_sender_that_waits_is_let_go_by_the_end() {
    let ends: [(fn(Pair), CloseReason); 2] =
        [(|pair| pair.connection.abort(), CloseReason::Aborted), (|pair| pair.client.reset(), CloseReason::ClientReset)];
    for interest in PLACES {
        let site = Site::start(Script::new(), interest);
        for (end, reason) in ends {
            let pair = site.small_pair(16_384);
            let connection = pair.connection.clone();
            fill(&connection, ToClient, &mut Pattern::new(1));
            let sender = waiting_sender(&connection, ToClient, vec![1; PIECE]);
            end(pair);
            assert_eq!(sender.join().unwrap(), Err(Refused::Ended));
            assert_eq!(wait_end(&connection), reason);
            for direction in DIRECTIONS {
                for patience in [Patience::OnLane, Patience::Wait(None), Patience::Wait(Some(DEADLINE))] {
                    assert_eq!(connection.inject(direction, Bytes::from_static(b"x"), patience), Err(Refused::Ended));
                }
            }
        }
    }
}

/// A direction whose end was passed on takes nothing; the other still does.
#[test]
fn a_direction_that_has_ended_takes_nothing() {
    for interest in PLACES {
        let site = Site::start(Script::new(), interest);
        for direction in DIRECTIONS {
            let mut pair = site.pair();
            let (source, destination) = pair.ends(direction);
            source.half_close();
            destination.expect(End::Eof);
            let taken = pair.connection.inject(direction, Bytes::from_static(b"x"), Patience::Wait(None));
            assert_eq!(taken, Err(Refused::Ended));
            inject(&pair.connection, direction.opposite(), "other way");
            assert_eq!(pair.ends(direction).0.receive_exactly(9), b"other way");
        }
    }
}

/// An injection is taken, and then it is in the ledger, or it is refused: also by a connection that ends just now.
#[test]
fn what_is_taken_while_it_ends_is_accounted_for() {
    for interest in PLACES {
        let site = Site::start(Script::new(), interest);
        for round in 0..150 {
            let Pair { client, upstream, connection } = site.pair();
            let together = Barrier::new(3);
            let taken: u64 = thread::scope(|scope| {
                let inject = |direction| {
                    let (connection, together) = (&connection, &together);
                    scope.spawn(move || {
                        together.wait();
                        let once = || connection.inject(direction, Bytes::from_static(b"12345"), Patience::Wait(None)).is_ok();
                        (0..if round % 2 == 0 { 1 } else { 1000 }).take_while(|_| once()).count() as u64 * 5
                    })
                };
                let injectors = DIRECTIONS.map(inject);
                together.wait();
                match round % 3 {
                    0 => connection.abort(),
                    1 => client.reset(),
                    _ => drop((client, upstream)),
                }
                injectors.map(|injector| injector.join().unwrap()).iter().sum()
            });
            connection.abort();
            wait_end(&connection);
            let added: u64 = DIRECTIONS.iter().map(|direction| connection.ledger(*direction).added).sum();
            assert_eq!(added, taken);
        }
    }
}

#[test]
fn what_a_hook_injects_comes_behind_its_chunk() {
    let script = Script::new().recv(|connection, direction, chunk| {
        inject_on_lane(connection, direction, [b"<", chunk, b">"].concat());
        inject_on_lane(connection, direction, "!");
        Ok(if chunk == b"drop" { Verdict::Drop } else { Verdict::Pass })
    });
    let site = Site::with(script, BOTH, 1, |config| config.relay.chunk = 4);
    let mut pair = site.pair();
    for direction in DIRECTIONS {
        pair.pass(direction, b"one.two.drop", b"one.<one.>!two.<two.>!<drop>!");
        until("the ledger has it", || figures(&pair.connection, direction) == [12, 21, 29, 4, 0]);
    }
}

/// A hook cannot wait for room, because the relay that makes it runs on the same thread. It has more room, and
/// is refused beyond.
#[test]
fn a_hook_is_refused_what_a_peer_does_not_take() {
    let (tell, told) = sync_channel(1);
    let script = Script::new().recv(move |connection, _, _| {
        let mut taken: u64 = 0;
        let refused = loop {
            match connection.inject(ToClient, Bytes::from(vec![7; PIECE]), Patience::OnLane) {
                Ok(()) => taken += PIECE as u64,
                Err(refused) => break refused,
            }
        };
        tell.send((taken, refused)).unwrap();
        Ok(Verdict::Pass)
    });
    let site = Site::start(script, Interest::TO_UPSTREAM);
    let mut pair = site.pair();
    pair.pass(ToUpstream, b"go", b"go");
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), (WAITING_ON_LANE as u64, Refused::Full));
    assert_eq!(pair.client.receive_exactly(WAITING_ON_LANE), vec![7; WAITING_ON_LANE]);
}

/// Answers go the other way. However much larger than the questions they are, a peer that reads gets all of them; one
/// that does not has no more of its questions read.
#[test]
fn answers_the_other_way_hold_the_questions_back() {
    let script = Script::new().recv(|connection, direction, chunk| {
        let taken =
            (0..4).try_for_each(|_| connection.inject(direction.opposite(), Bytes::copy_from_slice(chunk), Patience::OnLane));
        if taken.is_ok() { Ok(Verdict::Drop) } else { super::fails() }
    });
    let site = Site::start(script, BOTH);
    for direction in DIRECTIONS {
        let mut pair = site.pair();
        let (asking, _) = pair.ends(direction);
        let mut reading = asking.try_clone();
        clamp(&reading.socket(), Some(16_384));
        // More than the kernel's buffers can grow to.
        let most = 64 << 20;
        let asked = asking.send_until_blocked(&mut Pattern::new(1), most);
        assert!(asked < most, "all was read though no answer was");
        let answers = thread::scope(|scope| {
            let asking = &mut *asking;
            scope.spawn(|| {
                asking.send(&vec![1; 3 << 20]);
                asking.half_close();
            });
            let mut buffer = vec![0; 256 * 1024];
            let mut answers = 0;
            while answers < 4 * (asked + (3 << 20)) {
                answers += reading.receive(&mut buffer).unwrap() as u64;
            }
            answers
        });
        assert_eq!(answers, 4 * (asked + (3 << 20)));
        assert_eq!(figures(&pair.connection, direction)[3], asked + (3 << 20));
    }
}
