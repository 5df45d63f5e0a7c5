//! What becomes of an end of stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use interpose::{
    hooks::EndVerdict,
    live::inbox::{Patience, Refused},
    words::{
        direction::Direction::{ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, Call, DIRECTIONS, Pair, Script, Site, figures, inject, is_silent};
use crate::support::{
    pattern::Pattern,
    peers::{End, clamp, until},
    running::wait_end,
};

const ENDS: Interest = BOTH.with(Interest::EOF);

fn withholding() -> Script {
    Script::new().eof(|_, _| Ok(EndVerdict::Withhold))
}

#[test]
fn a_trailer_arrives_before_the_end() {
    // With and without chunks being seen.
    for interest in [ENDS, Interest::EOF] {
        let trailer = || vec![Bytes::from_static(b"so "), Bytes::new(), Bytes::from_static(b"long")];
        let site = Site::start(Script::new().eof(move |_, _| Ok(EndVerdict::Pass(trailer()))), interest);
        let mut pair = site.pair();
        for direction in DIRECTIONS {
            let (source, destination) = pair.ends(direction);
            source.send(b"text ");
            source.half_close();
            assert_eq!(destination.receive_exactly(12), b"text so long");
            destination.expect(End::Eof);
            assert_eq!(figures(&pair.connection, direction), [5, 7, 12, 0, 0]);
        }
        assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
        until("on_close was called", || site.script.closes() == 1);
        let calls = site.script.calls(&pair.connection);
        let is_end = |call: &&Call| matches!(call, Call::Eof(_));
        let ends: Vec<Call> = calls.iter().filter(is_end).copied().collect();
        assert_eq!(ends, [Call::Eof(ToUpstream), Call::Eof(ToClient)]);
        if interest.has(BOTH) {
            let with_chunks = [Call::Recv(ToUpstream, 5), ends[0], Call::Recv(ToClient, 5), ends[1]];
            assert_eq!(calls[..4], with_chunks);
        } else {
            assert_eq!(calls.len(), 3, "{calls:?}");
        }
    }
}

#[test]
fn a_large_trailer_waits_for_a_slow_reader() {
    let large = Bytes::from(Pattern::new(1).take(5 << 20));
    let site = Site::start(Script::new().eof(move |_, _| Ok(EndVerdict::Pass(vec![large.clone()]))), ENDS);
    let mut pair = site.pair();
    for direction in DIRECTIONS {
        let (source, destination) = pair.ends(direction);
        clamp(&destination.socket(), Some(16_384));
        source.half_close();
        assert_eq!(destination.receive_to_end(&mut Pattern::new(1)), (5 << 20, End::Eof));
    }
    assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
}

#[test]
fn a_withheld_end_is_passed_on_when_asked_for() {
    let site = Site::start(withholding(), ENDS);
    for direction in DIRECTIONS {
        let mut pair = site.pair();
        let (source, destination) = pair.ends(direction);
        source.send(b"last");
        source.half_close();
        assert_eq!(destination.receive_exactly(4), b"last");
        site.script.wait_for(&pair.connection, Call::Eof(direction));
        // The direction takes what is injected, and the other one lives on. Had the end been passed on, it would be here.
        inject(&pair.connection, direction, "injected");
        assert_eq!(pair.ends(direction).1.receive_exactly(8), b"injected");
        pair.pass(direction.opposite(), b"other way", b"other way");
        assert!(is_silent(pair.ends(direction).1));
        pair.connection.half_close(direction);
        let destination = pair.ends(direction).1;
        destination.expect(End::Eof);
        destination.half_close();
        let late = pair.connection.inject(direction, Bytes::from_static(b"x"), Patience::Wait(None));
        assert_eq!(late, Err(Refused::Ended));
        // The answer's end is withheld as well.
        site.script.wait_for(&pair.connection, Call::Eof(direction.opposite()));
        assert!(is_silent(pair.ends(direction).0));
        pair.connection.half_close(direction.opposite());
        pair.ends(direction).0.expect(End::Eof);
        assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
    }
}

#[test]
fn a_withheld_end_is_passed_on_by_a_close() {
    let site = Site::start(withholding(), ENDS);
    for direction in DIRECTIONS {
        let mut pair = site.pair();
        pair.ends(direction).0.half_close();
        site.script.wait_for(&pair.connection, Call::Eof(direction));
        inject(&pair.connection, direction, "injected");
        pair.connection.close();
        assert_eq!(pair.ends(direction).1.receive_exactly(8), b"injected");
        let Pair { mut client, mut upstream, connection } = pair;
        client.expect(End::Eof);
        upstream.expect(End::Eof);
        drop((client, upstream));
        assert_eq!(wait_end(&connection), CloseReason::Closed);
    }
}

#[test]
fn an_end_withheld_for_ever_is_bounded() {
    let limit = Duration::from_millis(300);
    let site = Site::with(withholding(), ENDS, 1, |config| config.timeouts.half_close = Some(limit));
    for direction in DIRECTIONS {
        let mut pair = site.pair();
        let start = Instant::now();
        pair.ends(direction).0.half_close();
        pair.client.expect(End::Reset);
        pair.upstream.expect(End::Reset);
        assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
        assert_eq!(wait_end(&pair.connection), CloseReason::HalfCloseTimeout);
    }
}

/// Who resets behind an end that is withheld fails the other side, as anywhere else; what was injected goes first.
#[test]
fn a_reset_behind_a_withheld_end_is_passed_on() {
    let site = Site::start(withholding(), ENDS);
    for direction in DIRECTIONS {
        let Pair { client, upstream, connection } = site.pair();
        let (source, mut destination) = if direction == ToUpstream { (client, upstream) } else { (upstream, client) };
        source.half_close();
        site.script.wait_for(&connection, Call::Eof(direction));
        inject(&connection, direction, "injected");
        assert_eq!(destination.receive_exactly(8), b"injected");
        source.reset();
        destination.expect(End::Reset);
        let reason = if direction == ToUpstream { CloseReason::ClientReset } else { CloseReason::UpstreamReset };
        assert_eq!(wait_end(&connection), reason);
    }
}

/// A reset is no end in order: the hook is not asked about it.
#[test]
fn a_reset_is_no_end_of_stream() {
    let site = Site::start(Script::new(), ENDS);
    let Pair { client, mut upstream, connection } = site.pair();
    client.reset();
    upstream.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::ClientReset);
    until("on_close was called", || site.script.closes() == 1);
    assert_eq!(site.script.calls(&connection), [Call::Close { wanted: false }]);
    let Pair { mut client, upstream, connection } = site.pair();
    upstream.reset();
    client.expect(End::Reset);
    assert_eq!(wait_end(&connection), CloseReason::UpstreamReset);
    until("on_close was called", || site.script.closes() == 2);
    assert_eq!(site.script.count(|call| *call == Call::Eof(ToClient)), 0);
}
