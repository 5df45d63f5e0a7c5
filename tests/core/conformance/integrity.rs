//! DI: every byte arrives once, unchanged and in order, however it was cut.

use std::{
    thread,
    time::{Duration, Instant},
};

use interpose::words::{direction::Direction, outcome::CloseReason, stats::Ledger};

use super::{Pair, Rig, Setup, whole};
use crate::support::{
    pattern::{Pattern, Prng},
    peers::{End, Peer},
};

const MIB: u64 = 1024 * 1024;

/// Bytes each way: 16 MiB, and 1 GiB when INTERPOSE_LONG=1 is set.
fn long_transfer() -> u64 {
    if std::env::var("INTERPOSE_LONG").is_ok_and(|value| value == "1") { 1024 * MIB } else { 16 * MIB }
}

/// Sends one pattern and checks another, both at once, up to the end of both.
fn exchange(mut peer: Peer, send: (u64, u64), receive: (u64, u64)) {
    let mut reader = peer.try_clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            let (seed, length) = receive;
            assert_eq!(reader.receive_to_end(&mut Pattern::new(seed)), (length, End::Eof));
        });
        let (seed, length) = send;
        let mut prng = Prng::new(seed);
        peer.send_pattern(&mut Pattern::new(seed), length, || prng.size(MIB as usize));
        peer.half_close();
    });
}

/// DI-01: Bytes that flow both ways at once arrive unchanged.
pub fn di_01_both_ways_at_once(rig: &Rig) {
    let length = long_transfer();
    let site = rig.site(Setup::default());
    let Pair { near, far, link } = site.pair();
    thread::scope(|scope| {
        scope.spawn(|| exchange(near, (1, length), (2, length - 7)));
        scope.spawn(|| exchange(far, (2, length - 7), (1, length)));
    });
    link.finishes_with(length, length - 7);
}

/// DI-02: Single bytes arrive in order, and none waits for another.
pub fn di_02_single_bytes(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    thread::scope(|scope| {
        scope.spawn(move || {
            near.send_pattern(&mut Pattern::new(3), 100_000, || 1);
            near.close();
        });
        assert_eq!(far.receive_to_end(&mut Pattern::new(3)), (100_000, End::Eof));
    });
    far.close();
    link.finishes_with(100_000, 0);
}

/// Nothing waits for more to send together: were the second byte of each turn to wait for the acknowledgement of the
/// first, which a receiver delays by 40 ms, this would take 40 s.
pub fn di_02_single_bytes_back_and_forth(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    let start = Instant::now();
    for turn in 0..500_u32 {
        let byte = [turn as u8];
        for _ in 0..2 {
            near.send(&byte);
            assert_eq!(far.receive_exactly(1), byte);
        }
        for _ in 0..2 {
            far.send(&byte);
            assert_eq!(near.receive_exactly(1), byte);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(15), "500 turns took {:?}", start.elapsed());
    near.close();
    far.expect(End::Eof);
    far.close();
    link.finishes_with(1000, 1000);
}

/// DI-03: Writes of any size arrive unchanged.
pub fn di_03_random_sizes(rig: &Rig) {
    let site = rig.site(Setup::default());
    for seed in 30..36 {
        let Pair { near, far, link } = site.pair();
        let mut prng = Prng::new(seed);
        let (out, back) = (prng.size(8 << 20) as u64, prng.size(8 << 20) as u64);
        thread::scope(|scope| {
            scope.spawn(|| exchange(near, (seed, out), (seed + 100, back)));
            scope.spawn(|| exchange(far, (seed + 100, back), (seed, out)));
        });
        link.finishes_with(out, back);
    }
}

/// DI-04: Sizes at the edges of buffers arrive unchanged.
pub fn di_04_edges_of_buffers(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    let edges = [1, 4096, 8192, 16_384, 65_536, 131_072, 262_144, 524_288, 1_048_576];
    let sizes: Vec<u64> = edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1]).collect();
    let mut echo = far.try_clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = vec![0; 262_144];
            while let Ok(got) = far.receive(&mut buffer) {
                echo.send(&buffer[..got]);
            }
        });
        let (mut out, mut back) = (Pattern::new(4), Pattern::new(4));
        for size in &sizes {
            let mut sender = near.try_clone();
            thread::scope(|scope| {
                scope.spawn(|| sender.send(&out.take(*size as usize)));
                near.receive_pattern(&mut back, *size);
            });
        }
        near.half_close();
        near.expect(End::Eof);
    });
    let total = sizes.iter().sum();
    link.finishes_with(total, total);
}

/// DI-05: No connection gets a byte of another.
///
/// Each connection echoes its own stream at the same time as the others: a byte of another is found at once.
pub fn di_05_sixty_four_connections(rig: &Rig) {
    let site = rig.site(Setup::default());
    let pairs: Vec<Pair> = (0..64).map(|_| site.pair()).collect();
    thread::scope(|scope| {
        for (number, pair) in pairs.into_iter().enumerate() {
            let Pair { mut near, mut far, link } = pair;
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn_scoped(scope, move || {
                    let mut prng = Prng::new(number as u64);
                    let (mut out, mut back) = (Pattern::new(number as u64), Pattern::new(number as u64 + 1000));
                    let (mut out_seen, mut back_seen) = (out.clone(), back.clone());
                    for _ in 0..30 {
                        let size = prng.size(8192) as u64;
                        near.send_pattern(&mut out, size, || 3000);
                        far.receive_pattern(&mut out_seen, size);
                        far.send_pattern(&mut back, size, || 3000);
                        near.receive_pattern(&mut back_seen, size);
                    }
                    near.half_close();
                    far.expect(End::Eof);
                    far.close();
                    near.expect(End::Eof);
                    link.finishes_with(out.position(), back.position());
                })
                .unwrap();
        }
    });
}

/// DI-06: The handle of an ended connection never touches who has its descriptors now.
///
/// Descriptors are reused at once. A handle of an ended connection must not reach who has them now.
pub fn di_06_ended_connections_touch_nobody(rig: &Rig) {
    let site = rig.site(Setup::default());
    let mut ended = Vec::new();
    for round in 0..60_u64 {
        let Pair { mut near, mut far, link } = site.pair();
        for old in &ended {
            let old: &super::Link = old;
            old.connection.abort();
            old.connection.close();
        }
        near.send_pattern(&mut Pattern::new(round), 1000, || 1000);
        far.receive_pattern(&mut Pattern::new(round), 1000);
        match round % 3 {
            0 => near.reset(),
            1 => {
                near.close();
                far.expect(End::Eof);
                far.close();
            }
            _ => link.connection.abort(),
        }
        let reason = [CloseReason::ClientReset, CloseReason::Finished, CloseReason::Aborted][(round % 3) as usize];
        link.ends_with(reason);
        assert_eq!(link.out(), whole(1000));
        ended.push(link);
    }
    assert_eq!(site.running.server.stats().accepted, 60);
}

/// DI-09: An urgent byte stays in the stream, at its place, and holds nothing up.
///
/// A read of the kernel's stops before an urgent byte. What is behind it must not wait for the sender's next word.
pub fn di_09_urgent_byte(rig: &Rig) {
    if rig.path.tls() != (false, false) {
        // TLS has no urgent bytes: one in the middle of a record would break that for the receiver as well.
        return;
    }
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    // One segment, so that the bytes before the urgent one cannot come alone.
    assert_eq!(near.socket().send_out_of_band(b"abc!").unwrap(), 4);
    assert_eq!(far.receive_exactly(4), b"abc!");
    near.send(b"abc");
    assert_eq!(near.socket().send_out_of_band(b"!").unwrap(), 1);
    near.send(b"def");
    assert_eq!(far.receive_exactly(7), b"abc!def");
    near.half_close();
    far.expect(End::Eof);
    far.close();
    link.finishes_with(11, 0);
}

/// DI-12: The counts of a connection only grow, and balance at its end.
pub fn di_12_ledgers_only_grow(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    let total = 24 * MIB;
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            near.send_pattern(&mut Pattern::new(12), total, || 50_000);
            near.close();
        });
        let receiver = scope.spawn(move || assert_eq!(far.receive_to_end(&mut Pattern::new(12)), (total, End::Eof)));
        let mut last = Ledger::default();
        while !sender.is_finished() || !receiver.is_finished() {
            let now = link.out();
            assert!(now.read >= last.read && now.delivered >= last.delivered, "{last:?} then {now:?}");
            assert!(now.read >= now.delivered, "{now:?}");
            assert_eq!(now.undeliverable, 0);
            last = now;
        }
    });
    link.finishes_with(total, 0);
    let stats = site.running.server.stats();
    let both = [(Direction::ToUpstream, stats.to_upstream), (Direction::ToClient, stats.to_client)];
    let sides = both.map(|(direction, ledger)| Ledger { added: 0, dropped: 0, ..rig.without_prologue(direction, ledger) });
    assert!(sides.contains(&whole(total)) && sides.contains(&whole(0)), "{sides:?}");
    let names = [Direction::ToUpstream, Direction::ToClient].map(|direction| link.connection.ledger(direction));
    assert_eq!(names, both.map(|(_, ledger)| ledger));
}
