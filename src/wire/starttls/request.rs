//! The requests for TLS behind which a client may send its hello without a wait, and the answers to them.

/// PostgreSQL's SSLRequest.
const POSTGRES: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The beginning and the length of MySQL's SSLRequest: a packet of 32 bytes, the first of the client's.
const MYSQL: ([u8; 4], usize) = ([32, 0, 0, 1], 36);

/// The name of LDAP's operation (RFC 4511 §4.14), and the tag of its message.
const LDAP: (&[u8], u8) = (b"1.3.6.1.4.1.1466.20037", 0x30);

/// The namespace of XMPP's element (RFC 6120 §5).
const XMPP: &[u8] = b"urn:ietf:params:xml:ns:xmpp-tls";

/// Maximum bytes of an answer, or of a line of one, that is waited for.
const MOST: usize = 2048;

/// A request for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// A line: SMTP's and IMAP's STARTTLS, POP3's STLS, FTP's AUTH TLS.
    Line,
    Postgres,
    /// MySQL's, which has no answer.
    Mysql,
    Ldap,
    Xmpp,
}

impl Request {
    /// Returns the request that ends where the client's turn, of which `said` has the last bytes, ends.
    pub(super) fn at_end_of(said: &[u8]) -> Option<Self> {
        if said.ends_with(&POSTGRES) {
            return Some(Self::Postgres);
        }
        match said {
            [.., b'\n'] if is_line(said) => Some(Self::Line),
            [.., b'>'] if has(said, XMPP) && has(said, b"<starttls") => Some(Self::Xmpp),
            // The second of the bytes behind the header has the flag of TLS.
            _ if said.len() == MYSQL.1 && said.starts_with(&MYSQL.0) && said[5] & 8 != 0 => Some(Self::Mysql),
            _ if said.first() == Some(&LDAP.1) && has(said, LDAP.0) && element(said) == Some(said.len()) => Some(Self::Ldap),
            _ => None,
        }
    }

    /// Returns the answer that comes before TLS.
    pub(super) fn answer(self) -> Option<Answer> {
        (self != Self::Mysql).then(|| Answer { to: self, got: Vec::new() })
    }
}

/// Returns true if the last line is a command that asks for TLS.
fn is_line(said: &[u8]) -> bool {
    let said = said.trim_ascii_end();
    let line = said.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let words: Vec<Vec<u8>> =
        line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_uppercase).collect();
    match &words[..] {
        [word] => matches!(&word[..], b"STARTTLS" | b"STLS"),
        [first, second] if &first[..] == b"AUTH" => matches!(&second[..], b"TLS" | b"SSL" | b"TLS-C" | b"TLS-P"),
        // Behind a tag of IMAP's.
        [_, word] => &word[..] == b"STARTTLS",
        _ => false,
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Returns the length of the element of BER at the beginning, with its header; `None` while that is not known.
fn element(bytes: &[u8]) -> Option<usize> {
    match *bytes.get(1)? {
        short @ 0..=127 => Some(2 + usize::from(short)),
        long => {
            let digits = bytes.get(2..2 + usize::from(long & 127))?;
            (digits.len() <= 3).then(|| 2 + digits.len() + digits.iter().fold(0, |all, digit| all << 8 | usize::from(*digit)))
        }
    }
}

/// The answer to a request behind which the client has sent its hello already.
#[derive(Debug)]
pub(super) struct Answer {
    to: Request,
    /// The bytes of the answer, or of its last line.
    got: Vec<u8>,
}

impl Answer {
    /// Takes bytes of the server. Returns true once it has agreed, false once it has not.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<bool> {
        for byte in bytes {
            self.got.push(*byte);
            let done = match self.to {
                Request::Postgres => Some(*byte == b'S'),
                Request::Line if *byte == b'\n' => {
                    let agreed = agreed(&self.got);
                    self.got.clear();
                    agreed
                }
                // The code of success is the first part of the answer's contents.
                Request::Ldap if element(&self.got) == Some(self.got.len()) => Some(has(&self.got, &[0x0a, 1, 0])),
                Request::Xmpp if *byte == b'>' => Some(has(&self.got, b"<proceed")),
                Request::Line | Request::Ldap | Request::Xmpp if self.got.len() < MOST => None,
                _ => Some(false),
            };
            if done.is_some() {
                return done;
            }
        }
        None
    }
}

/// Returns true for a line that agrees, false for one that refuses; `None` if another follows.
fn agreed(line: &[u8]) -> Option<bool> {
    let line = line.trim_ascii();
    match line {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..] | [b'*', b' ', ..] => None,
        [first @ b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', ..] => Some(matches!(first, b'2' | b'3')),
        [b'+', ..] => Some(true),
        [b'-', ..] => Some(false),
        // IMAP's, behind its tag.
        _ => Some(line.split(|byte| *byte == b' ').nth(1).is_some_and(|word| word.eq_ignore_ascii_case(b"OK"))),
    }
}
