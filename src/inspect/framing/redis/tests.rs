use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    inspect::framing::testing::{
        Part, broken, every_split, every_split_in,
        garbage::{garbage_is_harmless, holds, parts, sizes},
        messages, rest,
    },
    words::direction::Direction::{ToClient, ToUpstream},
};

/// One of each kind of answer, of both versions.
const ANSWERS: [&[u8]; 20] = [
    b"+OK\r\n",
    b"+\r\n",
    b"-ERR unknown command 'a\rb'\r\n",
    b":-1000\r\n",
    b"$5\r\na\r\nbc\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*3\r\n$3\r\nfoo\r\n*2\r\n:1\r\n*0\r\n$-1\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",-1.5e10\r\n",
    b"(3492890328409238509324850943850943825024385\r\n",
    b"!21\r\nSYNTAX invalid syntax\r\n",
    b"=15\r\ntxt:Some string\r\n",
    b"%2\r\n+first\r\n:1\r\n+second\r\n*1\r\n:2\r\n",
    b"~2\r\n+orange\r\n+apple\r\n",
    b"|1\r\n+key-popularity\r\n%1\r\n$1\r\na\r\n,0.19\r\n*2\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:2\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
];

const COMMANDS: [&[u8]; 5] =
    [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n", b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"\r\n", b"SET a \"b c\"\n"];

fn reader(has_inline: bool) -> Box<dyn Framer> {
    let Both { to_upstream, to_client } = Resp.framers();
    if has_inline { to_upstream } else { to_client }
}

fn least(stream: &[u8]) -> u64 {
    match reader(false).cut(stream, 0) {
        Ok(Cut::More { least: Some(least) }) => least,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_and_answers_are_cut_wherever_the_stream_is_split() {
    every_split_in(&Resp, ToClient, &ANSWERS.concat(), &messages(ANSWERS));
    every_split(&Resp, &COMMANDS.concat(), &messages(COMMANDS));
    let behind = b"*2\r\n$1\r\na\r\n$3\r\nab";
    every_split(&Resp, &[COMMANDS[0], behind].concat(), &[messages([COMMANDS[0]]), vec![rest(behind)]].concat());
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let text = |kind: char| move |text: String| format!("{kind}{text}\r\n").into_bytes();
    let sized = |kind: char| move |body: Vec<u8>| [format!("{kind}{}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
    let bytes = || vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..12);
    let leaf = prop_oneof![
        "[a-z]{0,8}".prop_map(text('+')),
        "[a-z]{0,8}".prop_map(text('-')),
        "-?[0-9]{1,40}".prop_map(text('(')),
        Just(b"_\r\n".to_vec()),
        Just(b"$-1\r\n".to_vec()),
        bytes().prop_map(sized('$')),
        bytes().prop_map(sized('=')),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let all = |kind: char, part: usize| {
            move |values: Vec<Vec<u8>>| {
                let whole = values.len() / part;
                [format!("{kind}{whole}\r\n").into_bytes(), values[..whole * part].concat()].concat()
            }
        };
        let some = || vec(inner.clone(), 0..5);
        let attributes = (some(), inner.clone()).prop_map(move |(some, last)| [all('|', 2)(some), last].concat());
        prop_oneof![some().prop_map(all('*', 1)), some().prop_map(all('~', 1)), some().prop_map(all('%', 2)), attributes]
    })
}

#[test]
fn a_stream_of_any_values_is_cut_into_them() {
    holds((vec(value(), 0..4), sizes()), |(values, sizes)| {
        assert_eq!(parts(&Resp, ToClient, &values.concat(), &sizes), messages(values));
    });
    garbage_is_harmless(&Resp, &ANSWERS.concat());
    garbage_is_harmless(&Resp, &COMMANDS.concat());
}

#[test]
fn what_is_no_value_breaks_the_protocol() {
    let refused = |stream: &[u8], at: usize, expected: &str| {
        every_split_in(
            &Resp,
            ToClient,
            &[b"+OK\r\n", stream].concat(),
            &[messages([b"+OK\r\n"]), vec![broken(5 + at, expected)]].concat(),
        );
    };
    let number = "a length of 64 bits, in digits";
    refused(b"HTTP/1.1 400", 0, "the type of a RESP value, one of + - : $ * _ # , ( ! = % | ~ >");
    refused(b"*2\r\n+a\r\nb", 8, "the type of a RESP value, one of + - : $ * _ # , ( ! = % | ~ >");
    refused(b"$3\r\nabcd\r\n", 7, "CR LF behind a string of 3 bytes");
    refused(b"$3\r\nabc\rd\r\n", 8, "CR LF behind a string of 3 bytes");
    refused(b"$-2\r\n", 2, "-1 for null, or a length");
    refused(b"*-10\r\n", 3, "-1 for null, or a length");
    refused(b"%-1\r\n", 1, number);
    refused(b"$\r\n", 1, number);
    refused(b"$1a\r\n", 2, number);
    refused(b"*?\r\n", 1, number);
    refused(b"*1\rx", 3, "LF behind a CR");
    refused(b"$18446744073709551616\r\n", 20, number);
    refused(b"$000000000000000000001\r\n", 21, number);
}

#[test]
fn a_hostile_length_or_count_is_known_before_memory_is_needed_for_it() {
    assert_eq!(least(b"$2147483648\r\n"), (1 << 31) + 13 + 2);
    assert_eq!(least(b"$9223372036854775808\r\na"), (1 << 63) + 22 + 2);
    assert_eq!(least(b"$18446744073709551615\r\n"), u64::MAX);
    assert_eq!(least(b"*2147483648\r\n"), 13 + (3 << 31));
    assert_eq!(least(b"*3\r\n%18446744073709551615\r\n:1\r\n"), u64::MAX);
    assert_eq!(least(b"|18446744073709551615\r\n"), u64::MAX);
    assert_eq!(least(b"*2\r\n$10\r\nab"), 4 + 17 + 3);
}

/// Nesting takes neither stack nor heap.
#[test]
fn a_message_nested_a_million_times_is_one_message() {
    let stream = [&b"*2\r\n_\r\n".repeat(1_000_000)[..], b"_\r\n"].concat();
    assert_eq!(parts(&Resp, ToUpstream, &stream, &[stream.len() - 1]), messages([stream]));
}

/// All calls for one message take time in proportion to its length.
#[test]
fn bytes_that_were_seen_are_not_read_again() {
    let mut framer = reader(false);
    let more = |least| Ok(Cut::More { least: Some(least) });
    assert_eq!(framer.cut(b"*2\r\n+abc", 0), more(10));
    assert_eq!(framer.cut(b"????+\r\n?d\r", 8), more(11), "it begins with the value, and behind its bytes");
    assert_eq!(framer.cut(b"????+\r\n?d\r\n", 10), more(14));
    assert_eq!(framer.cut(b"???????????:1\r\n", 11), Ok(Cut::Message(15)));
    let mut framer = reader(true);
    assert_eq!(framer.cut(b"GET\n", 4), Ok(Cut::MORE));
    assert_eq!(framer.cut(b"GET\n a\n", 4), Ok(Cut::Message(7)));
}

#[test]
fn the_snapshot_of_a_replica_is_not_framed() {
    let begin = b"+FULLRESYNC 8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb 0\r\n";
    let snapshot = b"$EOF:0123456789012345678901234567890123456789\r\nREDIS0011\xfa\tredis-ver";
    let expected = [messages([&b"+OK\r\n"[..], b"\n", b"\n", begin]), vec![rest(snapshot)]].concat();
    every_split_in(&Resp, ToClient, &[b"+OK\r\n\n\n", &begin[..], snapshot].concat(), &expected);
    let is_whole = |part: &Part| matches!(part, Part::Message(_));
    assert!(parts(&Resp, ToUpstream, b"+FULLRESYNC a\r\nPING\r\n", &[9]).iter().all(is_whole), "an inline command");
}
