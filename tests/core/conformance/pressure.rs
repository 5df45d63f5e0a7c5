//! BP: who does not read stops who sends, and nobody else; what interpose holds of a stalled direction is bounded.
//!
//! "Does not spin" is judged by the state, the processor time and the sleeps of the I/O thread, never by the clock.

use std::{
    thread,
    time::{Duration, Instant},
};

use interpose::{settings::config::Timeouts, words::outcome::CloseReason};

use super::{BUFFER, Link, Pair, Rig, Setup, Site, held, whole};
use crate::support::{
    pattern::Pattern,
    peers::{End, pass, until},
};

const MIB: u64 = 1024 * 1024;
const CLAMP: Option<usize> = Some(16_384);

/// Waits until stalled connections are at rest: no direction moves. Then the I/O thread has nothing to do.
fn rests(site: &Site, links: &[&Link]) {
    let ledgers = || links.iter().flat_map(|link| [link.out(), link.back()]).collect::<Vec<_>>();
    let mut before = ledgers();
    until("nothing moves any more", || {
        pass(Duration::from_millis(300));
        let now = ledgers();
        std::mem::replace(&mut before, now.clone()) == now
    });
    let before = site.running.io.usage();
    let busy = site.running.io.busy_looks(40);
    let after = site.running.io.usage();
    // One that spins is found running at every look, one that is woken again and again has slept more often than it was
    // looked at, and one that works has used its processor. One that waits for a processor that others have does none of these.
    let (woken, cpu) = (after.sleeps - before.sleeps, after.cpu - before.cpu);
    assert!(
        busy <= 30 && woken <= 40 && cpu <= Duration::from_millis(40),
        "the I/O thread ran at {busy} of 40 looks, was woken {woken} times and took {cpu:?}, though nothing moved"
    );
    for link in links {
        assert!(held(link.out()) <= BUFFER, "{:?}", link.out());
        assert!(held(link.back()) <= BUFFER, "{:?}", link.back());
    }
}

/// BP-01: A peer that never reads stops its sender, and the proxy holds one buffer at most.
pub fn bp_01_peer_that_never_reads(rig: &Rig) {
    let site = rig.site(Setup { near_buffers: CLAMP, far_buffers: CLAMP, ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    let mut pattern = Pattern::new(1);
    let mut sent = 0;
    loop {
        let more = near.send_until_blocked(&mut pattern, MIB);
        assert!(held(link.out()) <= BUFFER, "{:?}", link.out());
        sent += more;
        if more < MIB {
            break;
        }
        assert!(sent < 256 * MIB, "the sender was never stopped");
    }
    rests(&site, &[&link]);
    assert!(held(link.out()) > 0, "{:?}", link.out());
    thread::scope(|scope| {
        scope.spawn(|| {
            near.send_pattern(&mut pattern, MIB, || 65_536);
            near.half_close();
        });
        assert_eq!(far.receive_to_end(&mut Pattern::new(1)), (sent + MIB, End::Eof));
    });
    far.close();
    link.finishes_with(sent + MIB, 0);
}

/// BP-03: Many connections that stall both ways hold one buffer a direction, and cost no processor time.
pub fn bp_03_both_ways_stalled_many_times(rig: &Rig) {
    let site = rig.site(Setup { near_buffers: CLAMP, far_buffers: CLAMP, ..Setup::default() });
    let mut pairs: Vec<Pair> = (0..8).map(|_| site.pair()).collect();
    let mut sent = Vec::new();
    thread::scope(|scope| {
        let senders: Vec<_> = pairs
            .iter_mut()
            .map(|pair| {
                scope.spawn(|| {
                    let out = pair.near.send_until_blocked(&mut Pattern::new(1), 8 * MIB);
                    (out, pair.far.send_until_blocked(&mut Pattern::new(2), 8 * MIB))
                })
            })
            .collect();
        sent.extend(senders.into_iter().map(|sender| sender.join().unwrap()));
    });
    rests(&site, &pairs.iter().map(|pair| &pair.link).collect::<Vec<_>>());
    // All at once: a kernel asks less and less often whether a window has opened, and resends dropped segments later and later.
    thread::scope(|scope| {
        for (pair, (out, back)) in pairs.into_iter().zip(sent) {
            let Pair { mut near, mut far, link } = pair;
            near.half_close();
            far.half_close();
            scope.spawn(move || {
                thread::scope(|scope| {
                    scope.spawn(|| assert_eq!(near.receive_to_end(&mut Pattern::new(2)), (back, End::Eof)));
                    assert_eq!(far.receive_to_end(&mut Pattern::new(1)), (out, End::Eof));
                });
                link.finishes_with(out, back);
            });
        }
    });
}

/// BP-04: A stalled direction does not hold up the other one.
pub fn bp_04_one_way_stalled_other_way_busy(rig: &Rig) {
    let site = rig.site(Setup { far_buffers: CLAMP, ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    // A connection that changes its thread once both directions have begun does so now: then it tries anew to write.
    far.send(b"x");
    assert_eq!(near.receive_exactly(1), b"x");
    let sent = near.send_until_blocked(&mut Pattern::new(1), 256 * MIB);
    rests(&site, &[&link]);
    let stalled = link.out();
    assert!(held(stalled) > 0, "{stalled:?}");
    let mut streamer = far.try_clone();
    thread::scope(|scope| {
        scope.spawn(move || streamer.send_pattern(&mut Pattern::new(2), 16 * MIB, || 65_536));
        near.receive_pattern(&mut Pattern::new(2), 16 * MIB);
    });
    // The busy direction has used the same shared buffer all the time: what was held must not have moved.
    assert_eq!(link.out(), stalled);
    near.half_close();
    assert_eq!(far.receive_to_end(&mut Pattern::new(1)), (sent, End::Eof));
    far.close();
    near.expect(End::Eof);
    link.finishes_with(sent, 16 * MIB + 1);
}

/// BP-05: A slow reader is waited for as long as it takes something.
///
/// As long as the reader takes something, the connection makes progress, however long one buffer lasts.
pub fn bp_05_slow_reader(rig: &Rig) {
    // Longer than the kernel may wait before it asks again whether a closed window has opened (1.6 s at this point).
    let limit = Duration::from_secs(4);
    let timeouts = Timeouts { idle: Some(limit), half_close: Some(limit), ..Timeouts::default() };
    let site = rig.site(Setup { timeouts, far_buffers: CLAMP, ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    let sent = near.send_until_blocked(&mut Pattern::new(5), 256 * MIB);
    near.half_close();
    let mut expected = Pattern::new(5);
    let start = Instant::now();
    while start.elapsed() < limit + Duration::from_secs(1) {
        far.receive_pattern(&mut expected, 1024);
        pass(Duration::from_millis(20));
        assert!(held(link.out()) <= BUFFER, "{:?}", link.out());
    }
    assert!(expected.position() < sent, "the reader was not slow");
    let left = sent - expected.position();
    assert_eq!(far.receive_to_end(&mut expected), (left, End::Eof));
    far.close();
    near.expect(End::Eof);
    link.finishes_with(sent, 0);
}

/// BP-06: A slow writer is served for as long as it likes, for next to no processor time.
pub fn bp_06_slow_writer(rig: &Rig) {
    const TURNS: u32 = 10;
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    let before = site.running.io.usage();
    for _ in 0..TURNS {
        pass(Duration::from_millis(100));
        near.send(b"x");
        assert_eq!(far.receive_exactly(1), b"x");
    }
    let after = site.running.io.usage();
    let (cpu, sleeps) = (after.cpu - before.cpu, after.sleeps - before.sleeps);
    assert!(cpu < Duration::from_millis(3 * u64::from(TURNS)), "{TURNS} bytes took {cpu:?} of processor time");
    assert!(sleeps < u64::from(TURNS) * 6, "{TURNS} bytes woke the I/O thread {sleeps} times");
    near.close();
    far.expect(End::Eof);
    far.close();
    link.finishes_with(u64::from(TURNS), 0);
}

/// BP-07: A reader that stops and goes on many times causes no busy loop.
pub fn bp_07_window_opens_and_closes(rig: &Rig) {
    let site = rig.site(Setup { near_buffers: CLAMP, far_buffers: CLAMP, ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    let total = 6 * MIB;
    thread::scope(|scope| {
        scope.spawn(|| {
            near.send_pattern(&mut Pattern::new(7), total, || 65_536);
            near.half_close();
        });
        let mut expected = Pattern::new(7);
        let before = site.running.io.usage();
        for _ in 0..40 {
            far.receive_pattern(&mut expected, 65_536);
            pass(Duration::from_millis(20));
        }
        let after = site.running.io.usage();
        let (cpu, sleeps) = (after.cpu - before.cpu, after.sleeps - before.sleeps);
        assert!(cpu < Duration::from_millis(400), "40 windows took {cpu:?} of processor time");
        // With an 8 KiB window a 64 KiB piece takes some dozens of acknowledgements; each may wake the thread.
        assert!(sleeps < 40 * 100, "40 windows woke the I/O thread {sleeps} times");
        assert_eq!(far.receive_to_end(&mut expected), (total - 40 * 65_536, End::Eof));
    });
    far.close();
    link.ends_with(CloseReason::Finished);
    assert_eq!(link.out(), whole(total));
}
