//! RS: a reset is passed on as a reset, after everything that was read before it.

use std::{io::ErrorKind, thread, time::Duration};

use interpose::words::outcome::CloseReason;

use super::{BUFFER, Pair, Rig, Setup, held, whole};
use crate::support::{
    pattern::Pattern,
    peers::{End, pass, until},
};

const MIB: u64 = 1024 * 1024;

/// RS-01: A reset after delivered bytes reaches the other peer as a reset, not as an end.
pub fn rs_01_reset_after_delivered_data(rig: &Rig) {
    let site = rig.site(Setup::default());
    for size in [1, 1000, 20_000] {
        let Pair { mut near, mut far, link } = site.pair();
        near.send_pattern(&mut Pattern::new(1), size, || 20_000);
        near.wait_acknowledged();
        near.reset();
        assert_eq!(far.receive_to_end(&mut Pattern::new(1)), (size, End::Reset));
        link.ends_with(CloseReason::ClientReset);
        assert_eq!((link.out(), link.back()), (whole(size), whole(0)));
    }
}

/// RS-02: A stream that a reset cuts short never looks like a whole one, whichever directions have ended before.
pub fn rs_02_reset_in_the_middle(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    far.send(b"give me 10 MB");
    assert_eq!(near.receive_exactly(13), b"give me 10 MB");
    thread::scope(|scope| {
        scope.spawn(move || {
            near.send_pattern(&mut Pattern::new(2), 5 * MIB, || 65_536);
            near.wait_acknowledged();
            near.reset();
        });
        assert_eq!(far.receive_to_end(&mut Pattern::new(2)), (5 * MIB, End::Reset));
    });
    link.ends_with(CloseReason::ClientReset);
    assert_eq!((link.out(), link.back()), (whole(5 * MIB), whole(13)));
}

/// Interpose learns of the reset by reading from near or by writing to it, whichever comes first. The kernel tells
/// it only once: to one who reads after a write was refused, a reset looks like an orderly end.
pub fn rs_02_reset_while_the_peer_sends(rig: &Rig) {
    let site = rig.site(Setup::default());
    for round in 0..100 {
        let Pair { near, mut far, link } = site.pair();
        let mut sender = far.try_clone();
        let (end, sender_met_it) = thread::scope(|scope| {
            let sending = scope.spawn(move || (0..20_000).find_map(|_| sender.try_send(&[7; 100]).err()));
            scope.spawn(move || {
                pass(Duration::from_micros(20 * round));
                near.reset();
            });
            (far.receive(&mut [0]).expect_err("nothing was sent"), sending.join().unwrap())
        });
        let sender_met_it = sender_met_it.is_some_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert!(end == End::Reset || sender_met_it, "round {round}: {end:?}");
        link.ends_with(CloseReason::ClientReset);
    }
}

/// Far has ended its direction (so interpose no longer reads from it) when near resets.
pub fn rs_02_reset_after_half_close_of_the_peer(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    far.send(b"request");
    far.half_close();
    assert_eq!(near.receive_exactly(7), b"request");
    near.expect(End::Eof);
    near.send(b"half an ans");
    near.wait_acknowledged();
    near.reset();
    assert_eq!(far.receive_exactly(11), b"half an ans");
    far.expect(End::Reset);
    link.ends_with(CloseReason::ClientReset);
    assert_eq!((link.out(), link.back()), (whole(11), whole(7)));
}

/// Near has ended its direction, so no read from it is left that would show the reset; far learns it by writing.
pub fn rs_02_reset_after_its_own_half_close(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { near, mut far, link } = site.pair();
    near.half_close();
    far.expect(End::Eof);
    near.reset();
    link.ends_with(CloseReason::ClientReset);
    far.send_until_reset();
}

/// A sender that has said everything closes, and what the slow reader still says to it is answered with RST. Its FIN
/// came first, so the reader gets everything and a clean end, though its own FIN is what meets the reset.
pub fn rs_02_reset_behind_a_fin(rig: &Rig) {
    let site = rig.site(Setup { far_buffers: Some(16_384), ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    let mut pattern = Pattern::new(6);
    // Until interpose is stuck with bytes of it, and so does not see the end that comes next.
    while held(link.out()) == 0 && pattern.position() < 256 * MIB {
        near.send_pattern(&mut pattern, 65_536, || 65_536);
        near.wait_acknowledged();
    }
    let sent = pattern.position();
    near.close();
    far.send(b"quit");
    far.half_close();
    assert_eq!(far.receive_to_end(&mut Pattern::new(6)), (sent, End::Eof));
    link.ends_with(CloseReason::ClientReset);
    assert_eq!(link.out(), whole(sent));
}

/// RS-03: Bytes that were read before a reset are delivered if the reader takes them in time; the reset follows.
pub fn rs_03_reset_with_both_ways_full(rig: &Rig) {
    let site = rig.site(Setup { near_buffers: Some(16_384), far_buffers: Some(16_384), ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    let sent = near.send_until_blocked(&mut Pattern::new(3), 256 * MIB);
    far.send_until_blocked(&mut Pattern::new(4), 256 * MIB);
    until("interpose holds bytes of both directions", || held(link.out()) > 0 && held(link.back()) > 0);
    let taken = sent - near.unacknowledged();
    let read = link.out().read;
    near.reset();
    let (received, end) = far.receive_to_end(&mut Pattern::new(3));
    assert_eq!(end, End::Reset);
    assert!(received >= read, "{received} bytes arrived of {read} that were read before the reset");
    // With TLS the count has heads of records in it, and the beginning of a record is of no use without its end.
    let slack = if rig.path.tls() == (false, false) { 0 } else { 40_000 };
    assert!(received + slack >= taken, "{received} bytes arrived of {taken} that our kernel had acknowledged");
    link.ends_with(CloseReason::ClientReset);
    assert_eq!(link.out(), whole(received));
    let back = link.back();
    assert!(back.undeliverable > 0, "{back:?}");
}

/// Delivering before the reset is bounded by the half-close limit, or one who never reads would keep it for ever.
pub fn rs_03_reset_towards_one_who_never_reads(rig: &Rig) {
    let mut setup = Setup { far_buffers: Some(16_384), ..Setup::default() };
    setup.timeouts.half_close = Some(Duration::from_millis(300));
    let site = rig.site(setup);
    let Pair { mut near, mut far, link } = site.pair();
    near.send_until_blocked(&mut Pattern::new(3), 256 * MIB);
    until("interpose holds bytes", || held(link.out()) > 0);
    near.reset();
    link.ends_with(CloseReason::ClientReset);
    assert!(link.out().undeliverable > 0, "{:?}", link.out());
    let (received, end) = far.receive_to_end(&mut Pattern::new(3));
    assert_eq!(end, End::Reset);
    assert!(received <= link.out().delivered);
}

/// RS-04: A reset before the first byte does not look like an empty stream.
pub fn rs_04_reset_before_any_byte(rig: &Rig) {
    let site = rig.site(Setup::default());
    for _ in 0..20 {
        let Pair { near, mut far, link } = site.pair();
        near.reset();
        far.expect(End::Reset);
        link.ends_with(CloseReason::ClientReset);
        assert_eq!((link.out(), link.back()), (whole(0), whole(0)));
    }
}

/// RS-07: A peer that closes with bytes unread resets: what it sent before arrives, then the reset.
///
/// A server that answers and closes without having read the whole request resets by accident. What reached our
/// kernel arrives, then the reset does: never a clean end behind half an answer.
pub fn rs_07_close_with_an_unread_request(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    far.send_pattern(&mut Pattern::new(1), 100_000, || 100_000);
    near.wait_readable();
    let (received, end) = thread::scope(|scope| {
        scope.spawn(move || {
            near.send_pattern(&mut Pattern::new(7), 4 * MIB, || 65_536);
            near.close();
        });
        far.receive_to_end(&mut Pattern::new(7))
    });
    assert_eq!(end, End::Reset);
    link.ends_with(CloseReason::ClientReset);
    assert_eq!(link.out(), whole(received));
}

/// `close()` while near pipelines: closing its socket with bytes unread would reset it, and near would lose the
/// message that was delivered just before.
pub fn rs_08_close_does_not_reset(rig: &Rig) {
    let site = rig.site(Setup { far_buffers: Some(16_384), ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    near.send_until_blocked(&mut Pattern::new(8), 256 * MIB);
    far.send(b"go away");
    until("the message was read", || link.back().read == 7);
    link.connection.close();
    assert_eq!(near.receive_exactly(7), b"go away");
    near.expect(End::Eof);
    let (received, end) = far.receive_to_end(&mut Pattern::new(8));
    assert_eq!(end, End::Eof);
    near.close();
    far.close();
    link.ends_with(CloseReason::Closed);
    // What near went on sending after the close was asked for is read so as not to reset it, and counted as lost.
    let out = link.out();
    assert!(out.delivered == received && out.undeliverable <= BUFFER, "{out:?}, received {received}");
    assert_eq!(link.back(), whole(7));
}

/// The same with the message still on its way: a reset would destroy what near's kernel has not got yet.
pub fn rs_08_close_does_not_overtake(rig: &Rig) {
    let site = rig.site(Setup { near_buffers: Some(8192), ..Setup::default() });
    let length = 200_000;
    for _ in 0..4 {
        let Pair { mut near, mut far, link } = site.pair();
        far.send_pattern(&mut Pattern::new(8), length, || 50_000);
        until("the message was read", || link.back().read == length);
        link.connection.close();
        far.expect(End::Eof);
        near.send(&[1; 50_000]);
        assert_eq!(near.receive_to_end(&mut Pattern::new(8)), (length, End::Eof));
        near.close();
        far.close();
        link.ends_with(CloseReason::Closed);
        assert_eq!(link.back(), whole(length));
    }
}

/// RS-08: `close()` delivers what was read, and causes no reset that loses it.
///
/// `close()` with nothing on its way is a FIN to both, and needs no answer from either.
pub fn rs_08_close_delivers_what_was_read(rig: &Rig) {
    let site = rig.site(Setup::default());
    let Pair { mut near, mut far, link } = site.pair();
    near.send(b"abc");
    far.send(b"defg");
    until("both were read", || link.out().read == 3 && link.back().read == 4);
    link.connection.close();
    assert_eq!(far.receive_exactly(3), b"abc");
    far.expect(End::Eof);
    assert_eq!(near.receive_exactly(4), b"defg");
    near.expect(End::Eof);
    link.ends_with(CloseReason::Closed);
    assert_eq!((link.out(), link.back()), (whole(3), whole(4)));
}

/// RS-14: `abort()` resets both peers, whatever the connection is busy with.
pub fn rs_14_abort_resets_both(rig: &Rig) {
    let site = rig.site(Setup { near_buffers: Some(16_384), far_buffers: Some(16_384), ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    near.send_until_blocked(&mut Pattern::new(1), 256 * MIB);
    far.send_until_blocked(&mut Pattern::new(2), 256 * MIB);
    until("interpose holds bytes of both directions", || held(link.out()) > 0 && held(link.back()) > 0);
    link.connection.abort();
    link.ends_with(CloseReason::Aborted);
    let (received, end) = far.receive_to_end(&mut Pattern::new(1));
    assert_eq!(end, End::Reset);
    assert!(received <= link.out().delivered);
    assert_eq!(near.receive_to_end(&mut Pattern::new(2)).1, End::Reset);
    assert!(link.out().undeliverable > 0 && link.back().undeliverable > 0);
}

/// A second command reaches a connection that is still busy with the first.
pub fn rs_14_abort_after_close(rig: &Rig) {
    let site = rig.site(Setup { far_buffers: Some(16_384), ..Setup::default() });
    let Pair { mut near, mut far, link } = site.pair();
    near.send_until_blocked(&mut Pattern::new(1), 256 * MIB);
    until("interpose holds bytes", || held(link.out()) > 0);
    link.connection.close();
    near.expect(End::Eof);
    link.connection.abort();
    link.ends_with(CloseReason::Aborted);
    assert_eq!(far.receive_to_end(&mut Pattern::new(1)).1, End::Reset);
    assert!(link.out().undeliverable > 0);
}
