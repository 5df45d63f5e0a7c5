//! HC: a FIN ends one direction, after everything before it, and leaves the other alone.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use interpose::{settings::config::Timeouts, words::outcome::CloseReason};

use super::{Pair, Rig, Setup, held, whole};
use crate::support::{
    pattern::{Pattern, Prng},
    peers::{End, Peer, pass, spawn, until},
    running::wait_end,
};

const MIB: u64 = 1024 * 1024;

fn half_close_within(time: Duration) -> Setup {
    Setup { timeouts: Timeouts { half_close: Some(time), ..Timeouts::default() }, ..Setup::default() }
}

/// HC-01: A peer that has ended its own direction still gets the whole answer, and then the end.
pub fn hc_01_answer_after_half_close(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    near.send(b"request");
    near.half_close();
    assert_eq!(far.receive_exactly(7), b"request");
    far.expect(End::Eof);
    thread::scope(|scope| {
        scope.spawn(move || {
            far.send_pattern(&mut Pattern::new(1), 10 * MIB, || 100_000);
            far.close();
        });
        assert_eq!(near.receive_to_end(&mut Pattern::new(1)), (10 * MIB, End::Eof));
    });
    link.finishes_with(7, 10 * MIB);
}

/// HC-02: A peer goes on sending after the other has ended its direction, and all of it arrives.
pub fn hc_02_upload_after_the_peers_half_close(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    let mut back = Pattern::new(1);
    far.send_pattern(&mut back.clone(), 1000, || 1000);
    near.receive_pattern(&mut back, 1000);
    near.half_close();
    far.expect(End::Eof);
    let mut going_on = back.clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut prng = Prng::new(2);
            far.send_pattern(&mut going_on, 10 * MIB, || prng.size(200_000));
            far.half_close();
            far
        });
        assert_eq!(near.receive_to_end(&mut back), (10 * MIB, End::Eof));
    });
    link.finishes_with(0, 1000 + 10 * MIB);
}

/// HC-03: Both peers end at the same moment: each gets every byte, then the end.
pub fn hc_03_both_half_close_at_once(rig: &Rig) {
    let site = rig.site(Setup::default());
    for round in 0..10 {
        let Pair { near, far, link } = site.pair();
        let barrier = Barrier::new(2);
        let send_and_receive = |mut peer: Peer, seed: u64, other: u64| {
            let mut sender = peer.try_clone();
            let receiver = spawn(move || peer.receive_to_end(&mut Pattern::new(other)));
            sender.send_pattern(&mut Pattern::new(seed), MIB, || 65_536);
            barrier.wait();
            sender.half_close();
            assert_eq!(receiver.join().unwrap(), (MIB, End::Eof));
        };
        thread::scope(|scope| {
            scope.spawn(|| send_and_receive(near, 2 * round, 2 * round + 1));
            scope.spawn(|| send_and_receive(far, 2 * round + 1, 2 * round));
        });
        link.finishes_with(MIB, MIB);
    }
}

/// HC-04: A FIN waits behind the bytes that were sent before it.
pub fn hc_04_fin_behind_a_full_buffer(rig: &Rig) {
    let site = rig.site(Setup { far_buffers: Some(8192), ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    let mut pattern = Pattern::new(4);
    let mut sent = near.send_until_blocked(&mut pattern, 256 * MIB);
    until("interpose holds bytes", || held(link.out()) > 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            near.send_pattern(&mut pattern, 256 * 1024, || 10_000);
            near.half_close();
        });
        // Little by little at first, so that the FIN arrives while much is still held.
        let mut expected = Pattern::new(4);
        for _ in 0..100 {
            far.receive_pattern(&mut expected, 1000);
        }
        sent += 256 * 1024;
        assert_eq!(far.receive_to_end(&mut expected), (sent - 100_000, End::Eof));
    });
    far.send(b"still open");
    far.close();
    assert_eq!(near.receive_exactly(10), b"still open");
    near.expect(End::Eof);
    link.finishes_with(sent, 10);
}

/// The last that was sent before the FIN is all that is held: nothing else keeps the FIN back.
pub fn hc_04_fin_behind_the_last_held_bytes(rig: &Rig) {
    let site = rig.site(Setup { far_buffers: Some(8192), ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    let mut pattern = Pattern::new(4);
    while held(link.out()) == 0 {
        // One segment, or one record: it is read at once, so nothing is left behind a part that is held.
        near.send_pattern(&mut pattern, 16 * 1024, || 16 * 1024);
        until("all of it was read", || link.out().read == pattern.position());
        assert!(pattern.position() < 256 * MIB, "far takes everything though it does not read");
    }
    near.half_close();
    near.wait_acknowledged();
    let sent = pattern.position();
    assert_eq!(far.receive_to_end(&mut Pattern::new(4)), (sent, End::Eof));
    far.close();
    near.expect(End::Eof);
    link.finishes_with(sent, 0);
}

/// HC-05: Bytes in the segment that carries the FIN arrive before the end.
pub fn hc_05_fin_in_a_data_segment(rig: &Rig) {
    let site = rig.site(Setup::default());
    for size in [1, 1000, 30_000] {
        let Pair { mut near, mut far, link } = site.pair();
        // A corked socket keeps a partial segment back; the shutdown sends it off together with the FIN.
        near.socket().set_tcp_cork(true).unwrap();
        near.send_pattern(&mut Pattern::new(5), size, || 40_000);
        near.half_close();
        assert_eq!(far.receive_to_end(&mut Pattern::new(5)), (size, End::Eof));
        far.close();
        near.expect(End::Eof);
        link.finishes_with(size, 0);
    }
}

/// HC-07: A half-closed connection without progress is reset on both sides after the half-close limit.
pub fn hc_07_half_closed_for_ever(rig: &Rig) {
    let limit = Duration::from_millis(300);
    let site = rig.site(half_close_within(limit));
    let Pair { mut near, mut far, link } = site.pair();
    near.send(b"hello");
    let start = Instant::now();
    near.half_close();
    assert_eq!(far.receive_exactly(5), b"hello");
    far.expect(End::Eof);
    near.expect(End::Reset);
    assert!(start.elapsed() >= limit, "ended after {:?}", start.elapsed());
    far.send_until_reset();
    link.ends_with(CloseReason::HalfCloseTimeout);
    assert_eq!((link.out(), link.back()), (whole(5), whole(0)));
}

/// The direction that ended has bytes left for one who does not read: that is no progress either.
pub fn hc_07_stalled_after_half_close(rig: &Rig) {
    let limit = Duration::from_millis(300);
    let site = rig.site(Setup { far_buffers: Some(8192), ..half_close_within(limit) });
    let Pair { mut near, far, link } = site.pair();
    near.send_until_blocked(&mut Pattern::new(7), 256 * MIB);
    far.half_close();
    near.expect(End::Eof);
    // Its writer is refused from the moment of the abort on.
    link.ends_with(CloseReason::HalfCloseTimeout);
    assert!(link.out().undeliverable > 0, "{:?}", link.out());
    near.send_until_reset();
}

/// HC-08: A half-closed connection lives as long as bytes move, however slowly.
pub fn hc_08_half_close_then_drip(rig: &Rig) {
    let limit = Duration::from_millis(1500);
    let site = rig.site(half_close_within(limit));
    let Pair { mut near, mut far, link } = site.pair();
    near.half_close();
    far.expect(End::Eof);
    let start = Instant::now();
    let mut dripped = 0;
    while start.elapsed() < limit + limit / 3 {
        pass(Duration::from_millis(100));
        far.send(b"x");
        dripped += 1;
        assert_eq!(near.receive_exactly(1), b"x");
    }
    far.close();
    near.expect(End::Eof);
    link.finishes_with(0, dripped);
}

/// HC-09: A peer that closes while the other sends stops the sender soon.
pub fn hc_09_full_close_while_the_peer_sends(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    let mut sender = far.try_clone();
    thread::scope(|scope| {
        let streaming = scope.spawn(move || sender.send_until_reset());
        near.receive_exactly(10);
        near.close();
        streaming.join().unwrap();
    });
    // The close came as a FIN or, with bytes unread, as a reset at once: its first word is the kernel's choice.
    assert!(far.receive(&mut [0]).is_err());
    link.ends_with(CloseReason::ClientReset);
}

pub fn hc_10_write_and_close_at_once(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    thread::scope(|scope| {
        scope.spawn(move || {
            near.send_pattern(&mut Pattern::new(10), 3 * MIB, || 65_536);
            near.close();
        });
        assert_eq!(far.receive_to_end(&mut Pattern::new(10)), (3 * MIB, End::Eof));
    });
    far.close();
    link.finishes_with(3 * MIB, 0);
}

/// HC-10: Whatever order a program writes, ends and leaves in, it gets what it would get without a proxy.
pub fn hc_10_write_half_close_and_read(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    thread::scope(|scope| {
        scope.spawn(move || {
            // An echo that reads and writes in turn, as `cat` does.
            let mut buffer = [0; 5000];
            while let Ok(got) = far.receive(&mut buffer) {
                far.send(&buffer[..got]);
            }
        });
        let mut reader = near.try_clone();
        let echo = scope.spawn(move || reader.receive_to_end(&mut Pattern::new(11)));
        near.send_pattern(&mut Pattern::new(11), 3 * MIB, || 65_536);
        near.half_close();
        assert_eq!(echo.join().unwrap(), (3 * MIB, End::Eof));
    });
    link.finishes_with(3 * MIB, 3 * MIB);
}

pub fn hc_10_half_close_before_any_byte(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    near.half_close();
    far.expect(End::Eof);
    far.send(b"banner");
    far.half_close();
    assert_eq!(near.receive_exactly(6), b"banner");
    near.expect(End::Eof);
    link.finishes_with(0, 6);
}

pub fn hc_10_answer_to_one_who_left(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    near.send(b"last words");
    near.close();
    assert_eq!(far.receive_exactly(10), b"last words");
    far.expect(End::Eof);
    far.send(b"too late");
    far.close();
    // The answer meets a closed socket. Whether its RST or far's FIN is seen first is a race of the network.
    let reason = wait_end(&link.connection);
    let expected = [CloseReason::Finished, rig.reason(CloseReason::ClientReset)];
    assert!(expected.contains(&reason), "{reason}");
    assert_eq!(link.out(), whole(10));
    assert_eq!(link.back().read, 8);
}

/// HC-13: A FIN that meets a reset is no error, and the other peer still gets the reset.
///
/// Far's FIN is to be passed on to a socket that was reset in the same moment: not an error, and still a reset.
pub fn hc_13_reset_races_half_close(rig: &Rig) {
    let site = rig.site(Setup::default());
    for round in 0..50 {
        let Pair { near, mut far, link } = site.pair();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                near.reset();
            });
            barrier.wait();
            if round % 2 == 0 {
                thread::yield_now();
            }
            far.half_close();
        });
        far.expect(End::Reset);
        link.ends_with(CloseReason::ClientReset);
    }
}
