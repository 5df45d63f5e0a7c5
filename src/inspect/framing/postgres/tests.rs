use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    inspect::framing::testing::{
        Part, Player, broken, every_split, every_split_in, every_split_of_turns,
        garbage::{garbage_is_harmless, holds, parts, sizes},
        messages, rest,
    },
    words::direction::Direction::{self, ToClient, ToUpstream},
};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x30\x39\x49\x96\x02\xd2";
const START_UP: &[u8] = b"\0\0\0\x20\0\x03\0\0user\0ann\0database\0shop\0\0";

/// A password, a query, and a prepared one: parse, bind, describe, execute, sync; copied data, its end, and a goodbye.
const OF_CLIENT: [&[u8]; 10] = [
    b"p\0\0\0\x0bsecret\0",
    b"Q\0\0\0\x0dselect 1\0",
    b"P\0\0\0\x11\0select $1\0\0\0",
    b"B\0\0\0\x0c\0\0\0\0\0\0\0\0",
    b"D\0\0\0\x06P\0",
    b"E\0\0\0\x09\0\0\0\0\0",
    b"S\0\0\0\x04",
    b"d\0\0\0\x071\n\n",
    b"c\0\0\0\x04",
    b"X\0\0\0\x04",
];

/// The authentication, a parameter, a key, "ready", a description, a row, its end, a notice, and completions.
const OF_UPSTREAM: [&[u8]; 10] = [
    b"R\0\0\0\x08\0\0\0\0",
    b"S\0\0\0\x15TimeZone\0Etc/UTC\0",
    b"K\0\0\0\x0c\0\0\x30\x39\x49\x96\x02\xd2",
    b"Z\0\0\0\x05I",
    b"T\0\0\0\x06\0\0",
    b"D\0\0\0\x0b\0\x01\0\0\0\x011",
    b"C\0\0\0\x0dSELECT 1\0",
    b"N\0\0\0\x0aSabc\0\0",
    b"1\0\0\0\x04",
    b"2\0\0\0\x04",
];

/// Expects these messages of a conversation, each turn one message, and then the rests.
#[track_caller]
fn conversation(turns: &[(Direction, &[u8])], rests: Both<&[u8]>) {
    let mut expected: Both<Vec<Part>> = Both::default();
    let mut all = turns.to_vec();
    for (direction, message) in turns {
        expected[*direction].extend(messages([message]));
    }
    for direction in Direction::ALL {
        if !rests[direction].is_empty() {
            all.push((direction, rests[direction]));
            expected[direction].push(rest(rests[direction]));
        }
    }
    every_split_of_turns(&Postgres, &all, &expected);
}

const NO_RESTS: Both<&[u8]> = Both { to_upstream: b"", to_client: b"" };

#[test]
fn a_session_is_cut_into_its_messages_wherever_it_is_split() {
    let (of_client, of_upstream) = (OF_CLIENT.concat(), OF_UPSTREAM.concat());
    let turns = [(ToUpstream, START_UP), (ToClient, OF_UPSTREAM[0]), (ToUpstream, &of_client), (ToClient, &of_upstream)];
    let expected = Both {
        to_upstream: [messages([START_UP]), messages(OF_CLIENT)].concat(),
        to_client: [messages([OF_UPSTREAM[0]]), messages(OF_UPSTREAM)].concat(),
    };
    every_split_of_turns(&Postgres, &turns, &expected);
    every_split(&Postgres, &of_client, &messages(OF_CLIENT));
    every_split_in(&Postgres, ToClient, &of_upstream, &messages(OF_UPSTREAM));
}

#[test]
fn a_refused_encryption_is_one_byte_and_the_start_up_follows() {
    let refused: [(Direction, &[u8]); 2] = [(ToUpstream, SSL_REQUEST), (ToClient, b"N")];
    let started = [(ToUpstream, START_UP), (ToClient, OF_UPSTREAM[7]), (ToClient, OF_UPSTREAM[1]), (ToUpstream, OF_CLIENT[1])];
    conversation(&[&refused[..], &started].concat(), NO_RESTS);
    conversation(&[&[(ToUpstream, GSS_REQUEST), (ToClient, b"N")], &refused[..], &started].concat(), NO_RESTS);
    let error: &[u8] = b"E\0\0\0\x0cSERROR\0\0";
    conversation(&[(ToUpstream, SSL_REQUEST), (ToClient, error)], NO_RESTS);
}

#[test]
fn what_follows_an_accepted_encryption_is_not_framed() {
    let tls = Both { to_upstream: &b"\x16\x03\x01\0\x2d\x01"[..], to_client: &b"\x16\x03\x03\0\x2d\x02"[..] };
    conversation(&[(ToUpstream, SSL_REQUEST), (ToClient, b"S")], tls);
    let gss = Both { to_upstream: &b"\0\0\0\x20\x60\x82"[..], to_client: &b"\0\0\0\x10\x60"[..] };
    conversation(&[(ToUpstream, GSS_REQUEST), (ToClient, b"G")], gss);
    conversation(&[(ToUpstream, GSS_REQUEST), (ToClient, b"N"), (ToUpstream, SSL_REQUEST), (ToClient, b"S")], tls);
    conversation(&[], tls);
    conversation(&[(ToUpstream, SSL_REQUEST)], Both { to_client: b"", ..tls });
}

#[test]
fn a_server_s_bytes_behind_its_yes_are_not_framed() {
    every_split_of_turns(
        &Postgres,
        &[(ToUpstream, SSL_REQUEST), (ToClient, b"SR\0\0\0\x08\0\0\0\0")],
        &Both {
            to_upstream: messages([SSL_REQUEST]),
            to_client: [messages([b"S"]), vec![rest(b"R\0\0\0\x08\0\0\0\0")]].concat(),
        },
    );
}

/// A callback that drops the request and answers N itself has a client that starts up in the clear, and a server that knows
/// of no request.
#[test]
fn a_start_up_without_the_server_s_answer_ends_the_wait_for_it() {
    conversation(&[(ToUpstream, SSL_REQUEST), (ToUpstream, START_UP), (ToClient, OF_UPSTREAM[1])], NO_RESTS);
}

#[test]
fn a_request_to_cancel_is_a_message() {
    conversation(&[(ToUpstream, CANCEL)], NO_RESTS);
    conversation(&[(ToUpstream, SSL_REQUEST), (ToClient, b"N"), (ToUpstream, CANCEL)], NO_RESTS);
}

#[test]
fn a_stream_of_any_messages_is_cut_into_them() {
    let message = (any::<prop::sample::Index>(), vec(any::<u8>(), 0..60)).prop_map(|(kind, body)| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[super::OF_CLIENT[kind.index(super::OF_CLIENT.len())]], &length[..], &body].concat()
    });
    holds((vec(message, 0..6), sizes()), |(mut whole, sizes)| {
        assert_eq!(parts(&Postgres, ToClient, &whole.concat(), &sizes), messages(&whole));
        whole.insert(0, START_UP.to_vec());
        assert_eq!(parts(&Postgres, ToUpstream, &whole.concat(), &sizes), messages(whole));
    });
    garbage_is_harmless(&Postgres, &[START_UP, &OF_CLIENT.concat()].concat());
    garbage_is_harmless(&Postgres, &[SSL_REQUEST, START_UP].concat());
    garbage_is_harmless(&Postgres, &OF_UPSTREAM.concat());
}

#[test]
fn what_is_no_message_breaks_the_protocol() {
    let length = "the length of a start-up message, 8 to 10000";
    let version = "version 3 of the protocol, or a request for encryption or cancelling";
    every_split(
        &Postgres,
        b"GET / HTTP/1.1\r\n",
        &[broken(0, "the length of a start-up message, or the type of a client's message")],
    );
    every_split(&Postgres, b"\0\0\0\x07\0\x03\0\0", &[broken(0, length)]);
    every_split(&Postgres, b"\0\0\x27\x11\0\x03\0\0", &[broken(0, length)]);
    every_split(&Postgres, b"\0\0\0\x10\0\x02\0\0abcdefgh", &[broken(4, version)]);
    let behind = |stream: &[u8], at: usize, expected: &str| {
        let expected = [messages([START_UP]), vec![broken(START_UP.len() + at, expected)]].concat();
        every_split(&Postgres, &[START_UP, stream].concat(), &expected);
    };
    behind(b"\0\0\0\0\x04", 0, "the type of a client's message, a letter");
    behind(b"Q\0\0\0\x03", 1, "a length of 4 or more, not 3");
    behind(b"Q\xff\xff\xff\xff", 1, "a length that is not negative");
    every_split_in(
        &Postgres,
        ToClient,
        b"\x16\x03\x03\0\x10",
        &[broken(0, "the type of a server's message, a letter or a digit")],
    );
    every_split_of_turns(
        &Postgres,
        &[(ToUpstream, SSL_REQUEST), (ToClient, b"R\0\0\0\x08\0\0\0\0")],
        &Both {
            to_upstream: messages([SSL_REQUEST]),
            to_client: vec![broken(0, "an answer to a request for encryption: S, G, N or an error")],
        },
    );
}

#[test]
fn a_hostile_length_is_known_before_memory_is_needed_for_it() {
    let Both { mut to_upstream, mut to_client } = Postgres.framers();
    let more = |least| Ok(Cut::More { least: Some(least) });
    assert_eq!(to_client.cut(b"D\x7f\xff\xff\xff", 0), more(1 << 31));
    assert_eq!(to_upstream.cut(b"\0\0\x27\x10\0\x03\0\0", 0), more(10_000));
    assert_eq!(to_upstream.cut(b"Q\x7f\xff\xff\xff", 0), more(1 << 31));
}

#[test]
fn the_length_is_set_with_and_without_a_type() {
    let length = Postgres.framers().to_upstream.length_field().unwrap();
    let set = |message: &[u8], instead: &[u8]| length.set(message, instead.to_vec().into()).unwrap();
    assert_eq!(set(OF_CLIENT[1], b"Q\0\0\0\x0dselect 1000\0"), &b"Q\0\0\0\x10select 1000\0"[..]);
    assert_eq!(set(START_UP, b"\0\0\0\x21\0\x03\0\0user\0bob\0\0"), &b"\0\0\0\x12\0\x03\0\0user\0bob\0\0"[..]);
    assert_eq!(set(OF_CLIENT[1], b"Q\0"), &b"Q\0"[..]);
    assert_eq!(set(b"S", b"N"), &b"N"[..]);
    assert_eq!(set(b"S", b"E\0\0\0\0SFATAL\0\0"), &b"E\0\0\0\x0cSFATAL\0\0"[..]);
    for message in OF_CLIENT.into_iter().chain(OF_UPSTREAM).chain([SSL_REQUEST, CANCEL, START_UP, b"S"]) {
        let right = Bytes::from_static(message);
        assert_eq!(length.set(message, right.clone()).unwrap().as_ptr(), right.as_ptr(), "{}", message.escape_ascii());
    }
    assert_eq!(length.set(START_UP, vec![0; 10_001].into()), Err(TooLong { length: 10_001, most: 10_000 }));
}

#[test]
fn both_directions_have_to_be_seen() {
    assert!(Postgres.needs_both());
    let Both { to_upstream, to_client } = Postgres.framers();
    let [mut client, mut upstream] = [to_upstream, to_client].map(Player::of);
    client.feed(SSL_REQUEST);
    upstream.feed(b"N");
    let other = &mut Postgres.framers().to_client;
    assert_eq!(other.cut(b"N", 0), Ok(Cut::More { least: Some(5) }), "another connection knows of no request");
}

#[test]
fn a_request_for_encryption_that_does_not_go_on_has_no_answer_of_one_byte() {
    let other: &'static [u8] = b"\0\0\0\x08\0\x03\0\0";
    for (instead, first) in [(vec![], 9), (vec![Bytes::from_static(other)], 9), (vec![Bytes::from_static(GSS_REQUEST)], 1)] {
        let Both { mut to_upstream, mut to_client } = Postgres.framers();
        assert_eq!(to_upstream.cut(SSL_REQUEST, 0), Ok(Cut::Message(8)));
        to_upstream.answered().unwrap().replaced(SSL_REQUEST, &instead);
        // A notice, whose type is also the byte of a refusal.
        assert_eq!(to_client.cut(b"N\0\0\0\x08abc\0", 0), Ok(Cut::Message(first)));
    }
}
