use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    inspect::framing::testing::{
        Part, broken, every_split, every_split_in, every_split_of_turns,
        garbage::{garbage_is_harmless, holds, parts, sizes},
        messages, rest,
    },
    words::direction::Direction::{self, ToClient, ToUpstream},
};

/// Expects that each turn of a conversation is as many messages as it has texts, wherever it is split.
#[track_caller]
fn conversation(turns: &[(Direction, &[&str])]) {
    let joined: Vec<(Direction, String)> = turns.iter().map(|(direction, texts)| (*direction, texts.concat())).collect();
    let bytes: Vec<(Direction, &[u8])> = joined.iter().map(|(direction, text)| (*direction, text.as_bytes())).collect();
    let of = |direction: Direction| messages(turns.iter().filter(|turn| turn.0 == direction).flat_map(|turn| turn.1));
    every_split_of_turns(&Http1, &bytes, &Both { to_upstream: of(ToUpstream), to_client: of(ToClient) });
}

/// Expects these requests, and then a fault at this place behind them.
#[track_caller]
fn wrong_request(stream: &str, at: usize, expected: &str) {
    every_split(&Http1, stream.as_bytes(), &[broken(at, expected)]);
}

#[track_caller]
fn wrong_answer(stream: &str, at: usize, expected: &str) {
    every_split_in(&Http1, ToClient, stream.as_bytes(), &[broken(at, expected)]);
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn pipelined_requests_are_messages_with_their_bodies() {
    let post = "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    let old = "GET /b HTTP/1.0\r\n\r\n";
    conversation(&[(ToUpstream, &[GET, post, "\r\n\r\nGET /c HTTP/1.1\r\nX:\r\n\r\n", old]), (ToClient, &[EMPTY; 4])]);
}

/// Its client waits for an answer, and no more comes.
#[test]
fn another_protocol_is_known_by_its_first_line() {
    let request = "a method, a target and a version, with one space between them";
    wrong_request("*1\r\n", 2, request);
    wrong_request("PING\r\n", 4, request);
    wrong_request("SSH-2.0-OpenSSH_9.2\r\n", 19, request);
    wrong_request("*1\r\n$4\r\nPING\r\n\r\n", 2, request);
    wrong_answer("HTTP/1.1 OK\r\n", 9, "a status of three digits");
}

#[test]
fn a_chunked_body_has_extensions_and_trailers() {
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: gzip, Chunked\r\n\r\n";
    let plain = format!("{head}5\r\nhello\r\n00A \t\r\n0123456789\r\n0\r\n\r\n");
    let extended = format!("{head}5;a=\"b;c\" ;d\r\nhello\r\n0;last\r\nX-Sum: 1\r\nY: 2\r\n\r\n");
    let empty = format!("{head}0\r\n\r\n");
    conversation(&[(ToUpstream, &[&plain, &extended, &empty, GET])]);
}

#[test]
fn an_answer_without_a_length_lasts_until_the_close() {
    for head in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200\r\nTransfer-Encoding: gzip\r\n\r\n"] {
        conversation(&[(ToUpstream, &[GET]), (ToClient, &[EMPTY, &format!("{head}all that comes\r\n\r\n")])]);
    }
    every_split_in(&Http1, ToClient, b"HTTP/1.1 200 OK\r\n", &[rest(b"HTTP/1.1 200 OK\r\n")]);
}

/// RFC 9112, 6.3, 1.
#[test]
fn answers_to_head_and_those_that_never_have_a_body_end_with_their_heads() {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    conversation(&[(ToUpstream, &[GET, head, head, GET, head]), (ToClient, &[EMPTY, long, chunked, EMPTY, long])]);
    let continues = "HTTP/1.1 100 Continue\r\n\r\n";
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    conversation(&[(ToUpstream, &[head, GET]), (ToClient, &[continues, hints, long, hints, EMPTY])]);
    let none = "HTTP/1.1 204 No Content\r\n\r\n";
    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n";
    conversation(&[(ToUpstream, &[GET, GET, GET]), (ToClient, &[none, unchanged, EMPTY])]);
    conversation(&[(ToClient, &["HTTP/1.1 408 Request Timeout\r\nContent-Length: 1\r\n\r\nx"])]);
}

/// RFC 9110, 10.1.1.
#[test]
fn a_request_that_waits_with_its_body_is_two_messages() {
    let continues = "HTTP/1.1 100 Continue\r\n\r\n";
    let head = "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n";
    conversation(&[(ToUpstream, &[head]), (ToClient, &[continues]), (ToUpstream, &["hello", GET]), (ToClient, &[EMPTY, EMPTY])]);
    let head = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    conversation(&[(ToUpstream, &[head, "1\r\na\r\n0\r\n\r\n", GET])]);
    let old = "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello";
    conversation(&[(ToUpstream, &[old, "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", GET])]);
}

const CONNECT: &str = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";

#[test]
fn behind_a_tunnel_both_directions_are_unframed() {
    let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno";
    let connected = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let turns: [(Direction, &[u8]); 6] = [
        (ToUpstream, CONNECT.as_bytes()),
        (ToClient, refused.as_bytes()),
        (ToUpstream, CONNECT.as_bytes()),
        (ToClient, connected.as_bytes()),
        (ToUpstream, b"\x16\x03\x01any"),
        (ToClient, b"\x16\x03\x03any"),
    ];
    let to_upstream = [messages([CONNECT, CONNECT]), vec![rest(b"\x16\x03\x01any")]].concat();
    let to_client = [messages([refused, connected]), vec![rest(b"\x16\x03\x03any")]].concat();
    every_split_of_turns(&Http1, &turns, &Both { to_upstream, to_client });
}

/// A client that does not wait for the answer has ended HTTP; what was asked before is answered in HTTP.
#[test]
fn a_client_that_sends_behind_connect_is_unframed_and_the_answers_to_come_are_framed() {
    let stream = [GET, CONNECT, "any"].concat();
    let refused = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let answers = [EMPTY, refused, "any"].concat();
    let expected = Both {
        to_upstream: [messages([GET, CONNECT]), vec![rest("any")]].concat(),
        to_client: [messages([EMPTY, refused]), vec![rest("any")]].concat(),
    };
    every_split_of_turns(&Http1, &[(ToUpstream, stream.as_bytes()), (ToClient, answers.as_bytes())], &expected);
}

#[test]
fn behind_an_upgrade_both_directions_are_unframed() {
    let upgrade = "GET /chat HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let answers = [switched, "\u{1}frame"].concat();
    let turns: [(Direction, &[u8]); 3] =
        [(ToUpstream, upgrade.as_bytes()), (ToClient, answers.as_bytes()), (ToUpstream, b"\x81\x00")];
    let to_upstream = [messages([upgrade]), vec![rest(b"\x81\x00")]].concat();
    let to_client = [messages([switched]), vec![rest(b"\x01frame")]].concat();
    every_split_of_turns(&Http1, &turns, &Both { to_upstream, to_client });
}

/// RFC 9112, 6.1 and 6.3. One reader would take the one field, and another the other.
#[test]
fn bodies_that_two_readers_could_read_differently_are_refused() {
    let with = |fields: &str| format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n0\r\n\r\n");
    let both = "Content-Length or Transfer-Encoding, not both";
    wrong_request(&with("Content-Length: 5\r\nTransfer-Encoding: chunked"), 55, both);
    wrong_request(&with("Transfer-Encoding: chunked\r\nContent-Length: 5"), 61, both);
    wrong_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", 58, both);
    wrong_request(&with("Content-Length: 5\r\nContent-Length: 6"), 52, "one Content-Length, not two that differ");
    wrong_request(&with("Content-Length: 5, 6"), 33, "one Content-Length, not two that differ");
    for length in ["+5", "-5", "5 6", "0x5", "", "5,", "5;a"] {
        wrong_request(&with(&format!("A: b\r\nContent-Length: {length}")), 39, "a Content-Length of decimal digits");
    }
    let last = "chunked as the last transfer coding of a request";
    wrong_request(&with("Transfer-Encoding: gzip"), 36, last);
    wrong_request(&with("Transfer-Encoding: xchunked"), 36, last);
    wrong_request(&with("Transfer-Encoding: chunked, gzip"), 36, "no transfer coding behind chunked");
    wrong_request(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 64, "no transfer coding behind chunked");
    wrong_request(&with("Transfer-Encoding: chunked;a=b"), 36, "chunked without parameters");
    wrong_request(&with("Transfer-Encoding: ,"), 36, "the name of a transfer coding");
    wrong_request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 36, "no Transfer-Encoding in HTTP/1.0");
    conversation(&[(ToUpstream, &["PUT / HTTP/1.1\r\nContent-Length: 2, 2\r\nContent-Length: 02\r\n\r\nhi", GET])]);
}

#[test]
fn heads_are_read_strictly() {
    wrong_request("GET / HTTP/1.1\nHost: a\n\n", 14, "CR before LF");
    wrong_request("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", 21, "LF behind CR");
    wrong_request("GET / HTTP/1.1\r\nA: \0\r\n\r\n", 19, "text without control characters");
    let name = "the name of a field with a colon directly behind it, at the beginning of its line";
    wrong_request("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 22, name);
    wrong_request("GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n", 30, name);
    wrong_answer("HTTP/1.1 200 OK\r\nA: b\r\n\tfolded\r\n\r\n", 23, name);
    wrong_request("GET / HTTP/2.0\r\n\r\n", 11, "HTTP/1.0 or HTTP/1.1");
    wrong_request("\x16\x03\x01\x02", 0, "the method of a request");
    wrong_request("\r\n\rGET", 2, "the method of a request");
    wrong_answer("\x15\x03\x01", 0, "an answer, which begins with HTTP/1.");
    wrong_answer("HTTP/2 200\r\n\r\n", 5, "an answer, which begins with HTTP/1.");
    wrong_answer("HTTP/1.1 2x0 OK\r\n\r\n", 10, "a status of three digits");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(257));
    let tried = parts(&Http1, ToUpstream, many.as_bytes(), &[many.len()]);
    assert!(matches!(&tried[..], [Part::Broken(_, expected)] if expected == "at most 256 fields"), "{tried:?}");
}

/// RFC 9112, 7.1.
#[test]
fn chunks_are_read_strictly() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let wrong = |body: &str, at: usize, expected: &str| wrong_request(&[head, body].concat(), head.len() + at, expected);
    wrong("\r\n", 0, "the size of a chunk in hexadecimal digits");
    wrong("-1\r\n", 0, "the size of a chunk in hexadecimal digits");
    wrong("0x5\r\n", 1, "; or CR LF behind the size of a chunk");
    wrong("5 5\r\n", 2, "; or CR LF behind the size of a chunk");
    wrong("5\nhello\r\n", 1, "; or CR LF behind the size of a chunk");
    wrong("5\rhello", 2, "LF behind CR");
    wrong("5;a\nhello\r\n", 3, "CR before LF");
    wrong("5;a\0", 3, "text without control characters");
    wrong("5\r\nhello0\r\n\r\n", 8, "CR LF behind the data of a chunk");
    wrong("5\r\nhello\r0\r\n\r\n", 9, "LF behind CR");
    wrong("00000000000000005\r\n", 16, "a chunk size of at most 16 digits");
    wrong("0\r\nA b\r\n\r\n", 4, "the name of a field with a colon directly behind it, at the beginning of its line");
    wrong("0\r\nA: b\n\n", 7, "CR before LF");
}

/// The stage refuses such a message before it needs memory.
#[test]
fn a_length_that_no_memory_holds_is_reported_with_the_head() {
    for length in ["99999999999", "18446744073709551615", "99999999999999999999999999"] {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        let cut = Http1.framers().to_upstream.cut(head.as_bytes(), 0);
        assert!(matches!(cut, Ok(Cut::More { least: Some(99_999_999_999..) })), "{length}: {cut:?}");
    }
    for size in ["ffffffffff", "ffffffffffffffff"] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n");
        let cut = Http1.framers().to_client.cut(head.as_bytes(), 0);
        assert!(matches!(cut, Ok(Cut::More { least: Some(0xff_ffff_ffff..) })), "{size}: {cut:?}");
    }
}

/// All calls for one message take time in proportion to its length.
#[test]
fn bytes_that_were_seen_are_not_read_again() {
    let message = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;ext\r\nhello\r\n0\r\nSum: 1\r\n\r\n";
    let (line, head) = (message.find("Transfer").unwrap(), message.find("5;").unwrap());
    for (begin, behind) in [(0, head - 1), (head, message.len())] {
        let mut framer = Http1.framers().to_upstream;
        let mut buffer = message.as_bytes()[..begin].to_vec();
        assert!(begin == 0 || framer.cut(&buffer, 0) == Ok(Cut::MORE));
        for byte in &message.as_bytes()[begin..behind - 1] {
            buffer.push(*byte);
            let seen = buffer.len() - 1;
            assert!(matches!(framer.cut(&buffer, seen), Ok(Cut::More { .. })));
            // The first line is parsed when it is there; the head and the trailers are once, when they are whole.
            buffer.iter_mut().take(seen.saturating_sub(4)).skip(begin.max(line)).for_each(|byte| *byte = 0);
        }
    }
}

/// A client may make the queue of requests long only by changing their kind with each one.
#[test]
fn requests_without_answers_are_bounded() {
    let pipeline = GET.repeat(5_000);
    assert_eq!(parts(&Http1, ToUpstream, pipeline.as_bytes(), &[pipeline.len()]).len(), 5_000);
    let changing = ["HEAD / HTTP/1.1\r\n\r\n", GET].concat().repeat(600);
    let tried = parts(&Http1, ToUpstream, changing.as_bytes(), &[changing.len()]);
    assert_eq!(tried.len(), 1_025);
    assert!(matches!(tried.last(), Some(Part::Broken(_, expected)) if expected.contains("too many wait")), "{:?}", tried.last());
}

#[test]
fn random_messages_come_out_as_they_were_made() {
    let fields = vec("X-[a-z0-9]{0,8}: [ -~]{0,12}\r\n", 0..4).prop_map(|fields| fields.concat());
    let body = prop_oneof![
        Just("\r\n".to_owned()),
        "[a-z\r\n]{0,40}".prop_map(|body| format!("Content-Length: {}\r\n\r\n{body}", body.len())),
        vec("[a-z\r\n]{1,40}", 0..4).prop_map(|chunks| {
            let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
        }),
    ];
    let request =
        ("[A-Z]{1,8}", fields, body).prop_map(|(method, fields, body)| format!("X{method} /a HTTP/1.1\r\n{fields}{body}"));
    holds((vec(request, 0..5), sizes()), |(requests, sizes)| {
        assert_eq!(parts(&Http1, ToUpstream, requests.concat().as_bytes(), &sizes), messages(requests));
    });
}

#[test]
fn garbage_harms_nobody() {
    garbage_is_harmless(&Http1, b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nA: b\r\n\r\n");
    garbage_is_harmless(&Http1, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhi\r\n0\r\nA: b\r\n\r\n");
    garbage_is_harmless(&Http1, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.0 204 No\r\nA: b\r\n\r\n");
}

/// Reads an answer with a body as that to the oldest request, which is HEAD or another.
#[track_caller]
fn is_head_answered(answers: &mut dyn Framer) -> bool {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    match answers.cut(answer, 0) {
        Ok(Cut::Message(length)) => length == answer.len() - 2,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_requests_that_go_on_are_those_that_are_answered() {
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let one = |request: &'static str| Bytes::from_static(request.as_bytes());
    let cases = [
        (head, vec![], vec![false]),
        (GET, vec![], vec![true]),
        (head, vec![one(GET), one(head)], vec![false, true]),
        (GET, vec![one("HEAD /b HTTP/1.1\r\n\r\n")], vec![true]),
    ];
    for (request, instead, expected) in cases {
        let Both { mut to_upstream, mut to_client } = Http1.framers();
        assert!(matches!(to_upstream.cut(request.as_bytes(), 0), Ok(Cut::Message(_))));
        to_upstream.answered().unwrap().replaced(request.as_bytes(), &instead);
        let then = if request == head { GET } else { head };
        if instead.is_empty() {
            assert!(matches!(to_upstream.cut(then.as_bytes(), 0), Ok(Cut::Message(_))));
        }
        for is_head in expected {
            assert_eq!(is_head_answered(&mut *to_client), is_head, "{request:?} {instead:?}");
        }
    }
}

#[test]
fn a_body_that_comes_behind_its_head_is_dropped_without_its_request() {
    let head = "HEAD / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let Both { mut to_upstream, mut to_client } = Http1.framers();
    assert_eq!(to_upstream.cut(head.as_bytes(), 0), Ok(Cut::Message(head.len())));
    assert_eq!(to_upstream.cut(b"hi", 0), Ok(Cut::Message(2)));
    to_upstream.answered().unwrap().replaced(b"hi", &[]);
    assert!(is_head_answered(&mut *to_client));
}

/// A hook that drops a CONNECT may have granted it: no framer sees what it sends.
#[test]
fn a_tunnel_that_a_hook_has_granted_is_unframed_from_the_first_byte_that_is_no_http() {
    let granted = || {
        let Both { mut to_upstream, to_client } = Http1.framers();
        assert_eq!(to_upstream.cut(CONNECT.as_bytes(), 0), Ok(Cut::Message(CONNECT.len())));
        to_upstream.answered().unwrap().replaced(CONNECT.as_bytes(), &[]);
        (to_upstream, to_client)
    };
    let (mut to_upstream, mut to_client) = granted();
    assert_eq!(to_upstream.cut(b"\x16\x03\x01", 0), Ok(Cut::Unframed));
    assert_eq!(to_client.cut(b"\x16\x03\x03", 0), Ok(Cut::Unframed));

    // A server may speak first.
    let (mut to_upstream, mut to_client) = granted();
    assert_eq!(to_client.cut(b"SSH-2.0-", 0), Ok(Cut::Unframed));
    assert_eq!(to_upstream.cut(b"SSH-2.0-", 0), Ok(Cut::Unframed));

    // One that was refused is followed by another request, and then by its answer.
    let (mut to_upstream, mut to_client) = granted();
    assert_eq!(to_upstream.cut(GET.as_bytes(), 0), Ok(Cut::Message(GET.len())));
    assert!(to_client.cut(b"SSH-2.0-", 0).is_err());
    assert!(to_upstream.cut(b"\x16\x03\x01", 0).is_err());
}
