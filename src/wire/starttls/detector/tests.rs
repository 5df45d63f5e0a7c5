use super::*;
use crate::wire::hello::testing::Parts;

/// The words of a dialogue.
#[derive(Clone, Copy)]
enum Word<'a> {
    Client(&'a [u8]),
    Server(&'a [u8]),
}
use Word::{Client, Server};

const GREETING: &[u8] = b"J\0\0\0\x0a8.0.36\0";
const REFUSED: &[u8] = b"454 not now\r\n";

fn hello() -> Vec<u8> {
    Parts::default().named("mail.example").wire()
}

/// A caller of the detector, which keeps what it says.
#[derive(Default)]
struct Kept {
    detector: Detector,
    passed: Vec<u8>,
    held: Vec<u8>,
}

impl Kept {
    fn say(&mut self, word: Word<'_>) {
        let plain = match word {
            Client(bytes) => {
                self.held.extend(bytes);
                self.detector.client(bytes)
            }
            Server(bytes) => self.detector.server(bytes),
        };
        self.passed.extend(self.held.drain(..plain));
        assert_eq!(self.held.is_empty(), !self.detector.is_in_doubt() && !self.detector.has_hello());
    }
}

/// Plays a dialogue, cut at each place of each word, and checks what passes and what is kept.
fn every_split(dialogue: &[Word<'_>], passed: &[u8], hello: Option<&[u8]>) {
    for (at, word) in dialogue.iter().enumerate() {
        let (Client(bytes) | Server(bytes)) = word;
        for cut in 0..=bytes.len() {
            let mut kept = Kept::default();
            dialogue[..at].iter().for_each(|word| kept.say(*word));
            let (first, second) = bytes.split_at(cut);
            for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                kept.say(if matches!(word, Client(_)) { Client(part) } else { Server(part) });
            }
            dialogue[at + 1..].iter().for_each(|word| kept.say(*word));
            let place = format!("word {at}, cut at {cut}");
            assert_eq!(kept.detector.has_hello(), hello.is_some(), "{place}");
            assert_eq!(kept.held, hello.unwrap_or_default(), "{place}");
            assert!(kept.passed == passed, "{place}: {:?}", String::from_utf8_lossy(&kept.passed));
        }
    }
}

/// An LDAP message of StartTLS, or the answer to one with this code.
fn ldap(code: Option<u8>) -> Vec<u8> {
    let name = b"1.3.6.1.4.1.1466.20037";
    let operation = match code {
        None => [&[0x77, 24, 0x80, 22][..], name].concat(),
        Some(code) => [0x78, 7, 0x0a, 1, code, 4, 0, 4, 0].to_vec(),
    };
    let contents = [&[2, 1, 1][..], &operation].concat();
    [&[0x30, u8::try_from(contents.len()).unwrap()][..], &contents].concat()
}

fn mysql_request() -> Vec<u8> {
    [&[32, 0, 0, 1, 0x85, 0xae, 0xff, 0x19][..], &[0; 28]].concat()
}

/// The name of a protocol, its request, the answer that agrees, and one that refuses.
type Dialogue = (&'static str, Vec<u8>, Vec<u8>, Vec<u8>);

/// Each protocol's request, the answer that agrees, and one that refuses.
fn requests() -> Vec<Dialogue> {
    let of = |name, request: &[u8], yes: &[u8], no: &[u8]| (name, request.to_vec(), yes.to_vec(), no.to_vec());
    vec![
        of("smtp", b"STARTTLS\r\n", b"220 go ahead\r\n", REFUSED),
        of("smtp, in several lines", b"starttls\r\n", b"220-go\r\n220 ahead\r\n", REFUSED),
        of("imap", b"a1 STARTTLS\r\n", b"* one\r\na1 OK begin\r\n", b"a1 BAD what\r\n"),
        of("pop3", b"STLS\r\n", b"+OK begin\r\n", b"-ERR no\r\n"),
        of("ftp", b"AUTH TLS\r\n", b"234 AUTH TLS successful\r\n", b"502 what\r\n"),
        of("postgres", &[0, 0, 0, 8, 4, 210, 22, 47], b"S", b"N"),
        of("ldap", &ldap(None), &ldap(Some(0)), &ldap(Some(2))),
        of(
            "xmpp",
            b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        ),
    ]
}

#[test]
fn a_hello_behind_an_answer_is_found_wherever_the_stream_is_split() {
    let hello = hello();
    for (_, request, yes, _) in requests() {
        let dialogue = [Server(b"hi\r\n"), Client(&request), Server(&yes), Client(&hello)];
        every_split(&dialogue, &request, Some(&hello));
    }
}

#[test]
fn a_hello_in_one_segment_with_the_request_waits_for_the_answer() {
    let hello = hello();
    for (name, request, yes, no) in requests() {
        let both = [&request[..], &hello].concat();
        every_split(&[Server(b"hi\r\n"), Client(&both), Server(&yes)], &request, Some(&hello));
        every_split(&[Server(b"hi\r\n"), Client(&both), Server(&no)], &both, None);
        let mut kept = Kept::default();
        kept.say(Client(&both));
        assert!(!kept.detector.has_hello() && kept.detector.is_in_doubt(), "{name}: TLS has no answer yet");
        assert_eq!(kept.held, hello, "{name}");
    }
}

#[test]
fn behind_mysqls_request_the_hello_comes_without_an_answer() {
    let (request, hello) = (mysql_request(), hello());
    every_split(&[Server(GREETING), Client(&request), Client(&hello)], &request, Some(&hello));
    every_split(
        &[Server(GREETING), Client(&[&request[..], &hello].concat())],
        &[&request[..], &hello].concat()[..36],
        Some(&hello),
    );
    let mut without = request.clone();
    without[5] = 0xa6;
    let all = [&without[..], &hello].concat();
    every_split(&[Server(GREETING), Client(&all)], &all, None);
}

#[test]
fn a_client_may_begin_with_its_hello() {
    let hello = hello();
    every_split(&[Client(&hello)], b"", Some(&hello));
}

/// Bytes that come behind a hello are not plain any more: who injects some there finds them in the session.
#[test]
fn nothing_passes_behind_a_hello() {
    let behind = [&hello()[..], b"RSET\r\n"].concat();
    every_split(&[Client(b"STARTTLS\r\n"), Server(b"220 go\r\n"), Client(&behind)], b"STARTTLS\r\n", Some(&behind));
}

#[test]
fn a_hello_where_none_can_be_is_plain() {
    let hello = hello();
    let in_data = [b"a picture: ", &hello[..], b"\r\n"].concat();
    every_split(&[Server(b"354 go\r\n"), Client(&in_data)], &in_data, None);
    // Injected between the request and the hello.
    let injected = [b"STARTTLS\r\nRSET\r\n", &hello[..]].concat();
    every_split(&[Client(&injected)], &injected, None);
}

#[test]
fn what_only_begins_as_a_hello_is_plain_as_soon_as_that_is_known() {
    let hello = hello();
    for (at, wrong) in [(1, 2), (5, 2), (8, 0), (9, 9)] {
        let mut broken = hello.clone();
        broken[at] = wrong;
        every_split(&[Server(b"hi"), Client(&broken)], &broken, None);
    }
    let two = [&hello[..20], b"the end is another"].concat();
    let mut kept = Kept::default();
    kept.say(Client(&two));
    assert!(kept.detector.is_in_doubt(), "as long as it says");
    assert_eq!(kept.detector.give_up(), two.len());
    assert!(!kept.detector.is_in_doubt() && !kept.detector.has_hello());
    kept.held.clear();
    kept.say(Client(&hello));
    assert_eq!(kept.passed, hello, "in the midst of the turn");
}

#[test]
fn a_request_in_the_midst_of_much_is_known() {
    let (long, hello) = (vec![22; 10_000], hello());
    let all = [b"x", &long[..], b"\r\nSTARTTLS\r\n", &hello].concat();
    every_split(&[Server(b"hi")], b"", None);
    let mut kept = Kept::default();
    kept.say(Client(&all));
    kept.say(Server(b"220 go\r\n"));
    assert!(kept.detector.has_hello());
    assert_eq!(kept.held, hello);
}

#[test]
fn an_answer_without_an_end_is_not_waited_for() {
    let hello = hello();
    for (name, request, ..) in requests() {
        let mut kept = Kept::default();
        kept.say(Client(&[&request[..], &hello].concat()));
        for _ in 0..3000 {
            kept.say(Server(b"x"));
        }
        assert!(kept.held.is_empty(), "{name}");
    }
}
