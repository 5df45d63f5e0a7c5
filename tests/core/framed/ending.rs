//! Ends of framed directions: requests of hooks, bad messages, answers that are too long, and directions without framing.

use super::*;

#[test]
fn messages_that_were_read_before_a_hook_closes_are_shown_and_delivered() {
    for ends_one in [false, true] {
        let hooks = Shows::of(Lines).recv(move |connection, direction, chunk| {
            match &**chunk {
                b"bye\n" if ends_one => connection.half_close(direction),
                b"bye\n" => connection.close(),
                _ => {}
            }
            Verdict::Pass
        });
        let site = Site::start(hooks, BOTH);
        for direction in Direction::ALL {
            let (mut near, mut far, connection) = site.pair(direction);
            near.send(b"a\nbye\nb\nc");
            assert_eq!(far.receive_exactly(9), b"a\nbye\nb\nc");
            far.expect(End::Eof);
            far.half_close();
            near.expect(End::Eof);
            wait_end(&connection);
            site.hooks.expect(direction, &["a\\n", "bye\\n", "b\\n"], &["c"]);
        }
    }
}

#[test]
fn no_message_is_shown_behind_one_at_which_a_hook_aborts() {
    let hooks = Shows::of(Lines).recv(|connection, _, chunk| {
        if &**chunk == b"bye\n" {
            connection.abort();
        }
        Verdict::Pass
    });
    let site = Site::start(hooks, BOTH);
    for direction in Direction::ALL {
        let (mut near, mut far, connection) = site.pair(direction);
        near.send(b"a\nbye\nb\nc");
        let mut buffer = [0; 16];
        let end = loop {
            if let Err(end) = far.receive(&mut buffer) {
                break end;
            }
        };
        assert_eq!(end, End::Reset);
        assert_eq!(wait_end(&connection), CloseReason::Aborted);
        site.hooks.expect(direction, &["a\\n", "bye\\n"], &[]);
    }
}

#[test]
fn the_length_field_of_each_answered_message_is_set() {
    for hooks in both_ways(Counted) {
        let hooks = hooks.recv(|_, _, chunk| match &**chunk {
            b"\x01a" => Verdict::Replace(vec![Bytes::from_static(b"\x01longer"), Bytes::from_static(b"\x09x")]),
            b"\x01b" => Verdict::Replace(vec![Bytes::from(vec![9; 300])]),
            _ => Verdict::Pass,
        });
        let site = Site::start(hooks, BOTH);
        for direction in Direction::ALL {
            let (mut near, mut far, connection) = site.pair(direction);
            near.send(b"\x01a\x01c");
            assert_eq!(far.receive_exactly(11), b"\x06longer\x01x\x01c");
            near.send(b"\x01b");
            far.expect(End::Reset);
            assert_eq!(wait_end(&connection), CloseReason::CallbackError);
            let error = connection.error().unwrap();
            assert!(error.contains("300 bytes") && error.contains(direction.word()), "{error}");
        }
    }
}

#[test]
fn messages_before_a_bad_one_are_delivered_and_the_reason_says_what_was_bad() {
    let rules = FramingRules { max_message: 100, errors: FramingErrors::Close };
    let site = Site::start(Shows::of(Counted).with(rules), BOTH);
    for direction in Direction::ALL {
        for (bad, reason, words) in [
            (&b"\xffx"[..], CloseReason::ProtocolError, "byte 2: expected a length below 255"),
            (&b"\x80x"[..], CloseReason::MessageTooLong, "byte 2: expected a message of 100 bytes at most"),
        ] {
            let (mut near, mut far, connection) = site.pair(direction);
            near.send(&[b"\x01a", bad].concat());
            assert_eq!(far.receive_exactly(2), b"\x01a");
            far.expect(End::Reset);
            assert_eq!(wait_end(&connection), reason);
            let error = connection.error().unwrap();
            assert!(error.starts_with(&format!("counted {}, {words}", direction.word())), "{error}");
            site.hooks.expect(direction, &["\\x01a"], &[]);
        }
    }
}

#[test]
fn bad_messages_end_the_framing_of_their_direction_where_that_is_chosen() {
    let rules = FramingRules { max_message: 100, errors: FramingErrors::Chunk };
    let site = Site::start(Shows::of(Counted).with(rules), BOTH);
    for direction in Direction::ALL {
        for bad in [&b"\x01a\xffx"[..], b"\x01a\x80x"] {
            let (mut near, mut far, connection) = site.pair(direction);
            near.send(bad);
            assert_eq!(far.receive_exactly(4), bad);
            near.send(b"\x01b");
            assert_eq!(far.receive_exactly(2), b"\x01b");
            far.send(b"\x01c");
            assert_eq!(near.receive_exactly(2), b"\x01c");
            finish(&mut near, &mut far, &connection);
            site.hooks.expect(direction, &["\\x01a"], &[&bad[2..].escape_ascii().to_string(), "\\x01b"]);
            site.hooks.expect(direction.opposite(), &["\\x01c"], &[]);
        }
    }
}

#[test]
fn a_direction_that_no_hook_sees_is_not_framed() {
    let site = Site::start(Shows::of(Counted), Interest::EOF);
    for direction in Direction::ALL {
        let (mut near, mut far, connection) = site.pair(direction);
        near.send(b"\xff\xff");
        assert_eq!(far.receive_exactly(2), b"\xff\xff");
        // A hook that comes later does not know where a message begins, and is shown chunks.
        assert_eq!(site.hooks.framed.load(SeqCst), 0);
        site.running.server.set_interest(BOTH);
        until("the hook sees it", || {
            near.send(b"\x01");
            far.receive_exactly(1);
            !site.hooks.take(direction).is_empty()
        });
        assert!(connection.is_partial(direction));
        far.send(b"\x01a");
        assert_eq!(near.receive_exactly(2), b"\x01a");
        site.hooks.expect(direction.opposite(), &["\\x01a"], &[]);
        site.hooks.take(direction);
        finish(&mut near, &mut far, &connection);
        site.running.server.set_interest(Interest::EOF);
        site.hooks.framed.store(0, SeqCst);
    }
}

#[test]
fn a_direction_whose_other_needs_it_is_framed_as_well() {
    for needs_both in [false, true] {
        let hooks = if needs_both { Shows::of(CountedBoth) } else { Shows::of(Counted) };
        let site = Site::start(hooks, Interest::TO_UPSTREAM);
        let (mut near, mut far, connection) = site.pair(ToClient);
        near.send(b"\xff");
        if needs_both {
            far.expect(End::Reset);
            assert_eq!(wait_end(&connection), CloseReason::ProtocolError);
        } else {
            assert_eq!(far.receive_exactly(1), b"\xff");
            finish(&mut near, &mut far, &connection);
        }
    }
}

#[test]
fn a_stream_of_messages_through_a_slow_reader_is_whole_and_bounded() {
    let site = Site::start(Shows::of(Counted), BOTH);
    for direction in Direction::ALL {
        let (mut near, mut far, connection) = site.pair(direction);
        let stream: Vec<u8> =
            (0..100_000_u32).flat_map(|number| [vec![(number % 200) as u8], vec![7; (number % 200) as usize]].concat()).collect();
        let all = stream.clone();
        let sender = crate::support::peers::spawn(move || {
            near.send(&all);
            near
        });
        until("it stands still", || connection.ledger(direction).read > 500_000);
        let shown: Vec<u8> = far.receive_exactly(stream.len());
        assert!(shown == stream);
        let mut near = sender.join().unwrap();
        finish(&mut near, &mut far, &connection);
        let messages = site.hooks.take(direction);
        assert_eq!(messages.len(), 100_000);
        assert!(messages.iter().all(|message| !message.1));
    }
}
