//! What becomes of a chunk.

use bytes::Bytes;
use interpose::{
    hooks::Verdict,
    server::Server,
    settings::config::{Config, Relay},
    words::{
        direction::Direction::{ToClient, ToUpstream},
        interest::Interest,
        outcome::CloseReason,
    },
};

use super::{BOTH, DIRECTIONS, Pair, Script, Site, figures};
use crate::{
    conformance::{BUFFER, whole},
    support::{
        pattern::{Pattern, Prng},
        peers::{End, clamp, until},
        running::{loopback, wait_end},
    },
};

const MIB: usize = 1024 * 1024;

#[test]
fn what_is_dropped_goes_no_further() {
    let script = Script::new().recv(|_, _, chunk| Ok(if chunk[0] == b'-' { Verdict::Drop } else { Verdict::Pass }));
    let site = Site::start(script, BOTH);
    for direction in DIRECTIONS {
        let mut pair = site.pair();
        pair.ends(direction).0.send(b"-no");
        until("it was dropped", || pair.connection.ledger(direction).dropped == 3);
        pair.pass(direction, b"yes!", b"yes!");
        until("the ledger has it", || figures(&pair.connection, direction) == [7, 0, 4, 3, 0]);
        pair.client.half_close();
        pair.upstream.expect(End::Eof);
        pair.upstream.close();
        pair.client.expect(End::Eof);
        assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
    }
}

#[test]
fn several_in_place_of_one_keep_their_order() {
    let script = Script::new().recv(|_, _, chunk| {
        let copy = Bytes::copy_from_slice(chunk);
        let around = |text: &'static str| Bytes::from_static(text.as_bytes());
        Ok(Verdict::Replace(vec![Bytes::new(), around("<"), copy.clone(), Bytes::new(), copy, around(">"), Bytes::new()]))
    });
    let site = Site::start(script, BOTH);
    let mut pair = site.pair();
    for direction in DIRECTIONS {
        pair.pass(direction, b"one", b"<oneone>");
        pair.pass(direction, b"two", b"<twotwo>");
        until("the ledger has it", || figures(&pair.connection, direction) == [6, 16, 16, 6, 0]);
    }
}

#[test]
fn nothing_in_place_of_one_is_a_drop() {
    let script = Script::new().recv(|_, _, chunk| {
        Ok(match chunk[0] {
            b'0' => Verdict::Replace(Vec::new()),
            b'1' => Verdict::Replace(vec![Bytes::new(), Bytes::new()]),
            _ => Verdict::Pass,
        })
    });
    let site = Site::start(script, BOTH);
    let mut pair = site.pair();
    for direction in DIRECTIONS {
        for (number, bytes) in [(1, b"000"), (2, b"111")] {
            pair.ends(direction).0.send(bytes);
            until("it was dropped", || pair.connection.ledger(direction).dropped == 3 * number);
        }
        pair.pass(direction, b"2", b"2");
        until("the ledger has it", || figures(&pair.connection, direction) == [7, 0, 1, 6, 0]);
    }
}

/// What a hook puts in place waits for the reader like anything else: no more is read before, and nothing is lost.
#[test]
fn ten_mebibytes_in_place_of_a_byte_wait_for_a_slow_reader() {
    let large = Bytes::from(Pattern::new(1).take(10 * MIB));
    let script = {
        let large = large.clone();
        Script::new().recv(move |_, direction, _| {
            let pieces = vec![large.slice(..MIB), large.slice(MIB..9 * MIB), large.slice(9 * MIB..)];
            Ok(if direction == ToUpstream { Verdict::Replace(pieces) } else { Verdict::Pass })
        })
    };
    let site = Site::start(script, BOTH);
    let mut pair = site.pair();
    clamp(&pair.upstream.socket(), Some(16_384));
    pair.client.send(b"x");
    until("it was replaced", || pair.connection.ledger(ToUpstream).added == 10 << 20);
    pair.client.send(b"y");
    // There and back: whatever the relay does with the second byte, it has done.
    for _ in 0..10 {
        pair.pass(ToClient, b"still here", b"still here");
    }
    assert_eq!(pair.connection.ledger(ToUpstream).read, 1, "read while the first answer waits");
    for _ in 0..2 {
        pair.upstream.receive_pattern(&mut Pattern::new(1), 10 << 20);
    }
    pair.client.half_close();
    pair.upstream.expect(End::Eof);
    assert_eq!(figures(&pair.connection, ToUpstream), [2, 20 << 20, 20 << 20, 2, 0]);
}

#[test]
fn no_chunk_is_larger_than_the_configured_size() {
    for (chunk, bytes) in [(1, 500), (1000, 100_000), (64 * 1024, 3_000_000), (256 * 1024, 3_000_000)] {
        let site = Site::with(Script::new(), BOTH, 1, |config| config.relay.chunk = chunk);
        let Pair { mut client, mut upstream, connection } = site.pair();
        let sender = crate::support::peers::spawn(move || {
            client.send_pattern(&mut Pattern::new(1), bytes, || MIB);
            client.half_close();
            client.expect(End::Eof);
        });
        assert_eq!(upstream.receive_to_end(&mut Pattern::new(1)), (bytes, End::Eof));
        upstream.close();
        sender.join().unwrap();
        assert_eq!(wait_end(&connection), CloseReason::Finished);
        let sizes = site.script.chunks(&connection, ToUpstream);
        assert!(sizes.iter().all(|size| (1..=chunk).contains(size)), "{chunk}: {sizes:?}");
        assert_eq!(sizes.iter().sum::<usize>() as u64, bytes);
    }
}

#[test]
fn a_chunk_size_that_cannot_be_is_refused() {
    for chunk in [0, BUFFER as usize + 1, usize::MAX] {
        let config = Config { relay: Relay { chunk, ..Relay::default() }, ..Config::new(loopback(), None) };
        let error = Server::bind(config).unwrap_err().to_string();
        assert!(error.starts_with("buffer_size: "), "{error}");
    }
}

/// Only the one direction that is of interest is shown; the other is not touched.
#[test]
fn one_direction_is_seen_and_the_other_passes_by() {
    for (seen, interest) in [(ToUpstream, Interest::TO_UPSTREAM), (ToClient, Interest::TO_CLIENT)] {
        let site = Site::start(Script::new().recv(|_, _, _| Ok(Verdict::Drop)), interest);
        let mut pair = site.pair();
        let mut prng = Prng::new(1);
        let (source, destination) = pair.ends(seen.opposite());
        let bytes = 3_000_000;
        std::thread::scope(|scope| {
            scope.spawn(|| source.send_pattern(&mut Pattern::new(1), bytes, || prng.size(70_000)));
            destination.receive_pattern(&mut Pattern::new(1), bytes);
        });
        pair.ends(seen).0.send(b"gone");
        until("it was dropped", || pair.connection.ledger(seen).dropped == 4);
        assert_eq!(site.script.chunks(&pair.connection, seen.opposite()), Vec::<usize>::new());
        assert_eq!(pair.connection.ledger(seen.opposite()), whole(bytes));
        pair.client.half_close();
        pair.upstream.expect(End::Eof);
        pair.upstream.close();
        pair.client.expect(End::Eof);
        assert_eq!(wait_end(&pair.connection), CloseReason::Finished);
        assert_eq!(site.script.chunks(&pair.connection, seen), [4]);
    }
}
