//! Finds the hello with which a client begins TLS behind plaintext.
//!
//! A hello is one only where one may stand, and only whole: at the first byte that the client sends, at the first behind words of
//! its server, or directly behind a request for TLS. Everything else passes.

use super::request::{Answer, Request};
use crate::wire::hello::reader::Reader;

/// The first byte of a hello.
const HELLO: u8 = 22;

/// Number of last bytes of a client's turn that are kept, to know a request by.
const KEPT: usize = 256;

/// The words that a client is saying.
#[derive(Debug)]
enum State {
    Plain,
    /// The bytes so far may be the beginning of a hello.
    Begun {
        reader: Box<Reader>,
        answer: Option<Answer>,
    },
    /// A hello is whole, and the answer to the request before it may not be there yet.
    Whole(Option<Answer>),
}

/// Looks at the plaintext of both directions. Keeps no bytes of a hello: its caller does.
#[derive(Debug)]
pub struct Detector {
    state: State,
    /// True if the client has sent nothing since its server spoke, or nothing at all.
    at_turn: bool,
    /// True if the client's turn has had what only begins as a hello: no request is known in it any more.
    is_deaf: bool,
    /// The last bytes of the client's turn.
    last: Vec<u8>,
    /// The number of bytes that may be a hello's.
    held: usize,
}

impl Default for Detector {
    fn default() -> Self {
        Self { state: State::Plain, at_turn: true, is_deaf: false, last: Vec::new(), held: 0 }
    }
}

impl Detector {
    /// Takes the next bytes of the client, and returns how many of the bytes that were not passed yet, these included, are
    /// plain: those may be passed on, and those behind them are to be kept. Bytes behind a whole hello are not looked at. If
    /// that turns out to be plain, they are to be given once more.
    pub fn client(&mut self, mut bytes: &[u8]) -> usize {
        let mut plain = 0;
        while !bytes.is_empty() {
            match &mut self.state {
                State::Whole(_) => break,
                State::Plain => {
                    let (before, answer) = self.plain_before_hello(bytes);
                    plain += before;
                    bytes = &bytes[before..];
                    if !bytes.is_empty() {
                        self.state = State::Begun { reader: Box::default(), answer };
                    }
                }
                State::Begun { reader, answer } => {
                    self.held += bytes.len();
                    match reader.push(bytes) {
                        Ok(None) => {}
                        Ok(Some(_)) => {
                            self.held = reader.taken();
                            self.state = State::Whole(answer.take());
                        }
                        Err(_) => plain += self.give_up(),
                    }
                    break;
                }
            }
        }
        plain
    }

    /// Returns the number of bytes before the first that may begin a hello, and the answer that is to come before TLS.
    fn plain_before_hello(&mut self, bytes: &[u8]) -> (usize, Option<Answer>) {
        if self.at_turn && bytes[0] == HELLO {
            return (0, None);
        }
        self.at_turn = false;
        if self.is_deaf {
            return (bytes.len(), None);
        }
        let mut passed = 0;
        while let Some(at) = memchr::memchr(HELLO, &bytes[passed..]) {
            self.keep(&bytes[passed..passed + at]);
            passed += at;
            if let Some(request) = Request::at_end_of(&self.last) {
                return (passed, request.answer());
            }
            self.keep(&bytes[passed..=passed]);
            passed += 1;
        }
        self.keep(&bytes[passed..]);
        (bytes.len(), None)
    }

    /// Keeps the last bytes of the client's turn.
    fn keep(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let too_many = (self.last.len() + bytes.len()).saturating_sub(KEPT);
        self.last.drain(..too_many);
        self.last.extend_from_slice(bytes);
    }

    /// Takes bytes that were sent to the client. Returns the number of kept bytes that turn out to be plain: the server has
    /// refused the request before them.
    pub fn server(&mut self, bytes: &[u8]) -> usize {
        let plain = self.answered(bytes);
        // Also behind a refusal: the rest of it may come in another piece, and would set these then.
        (self.at_turn, self.is_deaf) = (true, false);
        self.last.clear();
        plain
    }

    /// Acts on what may answer the request before a hello.
    fn answered(&mut self, bytes: &[u8]) -> usize {
        let (State::Begun { answer, .. } | State::Whole(answer)) = &mut self.state else { return 0 };
        match answer.as_mut().and_then(|answer| answer.push(bytes)) {
            Some(true) => *answer = None,
            Some(false) => return self.give_up(),
            None => {}
        }
        0
    }

    /// Takes the bytes that may be a hello's for plain ones, and returns their number: no more come, or not in time.
    pub fn give_up(&mut self) -> usize {
        (self.state, self.at_turn, self.is_deaf) = (State::Plain, false, true);
        std::mem::take(&mut self.held)
    }

    /// Returns true if all bytes that were looked at are plain.
    pub fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain)
    }

    /// Returns true while bytes are kept because a hello has begun, and is not whole.
    pub fn is_in_doubt(&self) -> bool {
        !self.is_plain() && !self.has_hello()
    }

    /// Returns true once a hello is whole. No more bytes of the client are needed then.
    pub fn holds_hello(&self) -> bool {
        matches!(self.state, State::Whole(_))
    }

    /// Returns true once TLS may begin: the hello is whole, and the answer before it has gone out.
    pub fn has_hello(&self) -> bool {
        matches!(self.state, State::Whole(None))
    }
}

#[cfg(test)]
mod tests;
