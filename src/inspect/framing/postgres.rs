//! Messages of PostgreSQL.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{
    framer::{Answered, Broken, Cut, Framer},
    length_field::{LengthField, TooLong},
    length_prefix::{ByteOrder, Field},
    spec::Framing,
};
use crate::words::{direction::Both, lock::EvenPoisoned};

/// The frontend/backend protocol 3 (PostgreSQL documentation, "Message Flow" and "Message Formats").
///
/// A client's first messages have no type: requests for encryption, a request to cancel a query, the start-up. To a request
/// for encryption the server answers with a single byte, which is a message here. If the answer is yes, what follows is not
/// framed in either direction, as it is TLS or GSSAPI; so is a connection that begins with TLS at once. Put into its place
/// behind the start-up, it goes on with the messages that have a type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postgres;

impl Framing for Postgres {
    fn protocol(&self) -> &'static str {
        "postgres"
    }

    fn framers(&self) -> Both<Box<dyn Framer>> {
        let opening = Arc::new(Mutex::new(Opening::Untyped));
        let client = Client { opening: Arc::clone(&opening), is_typed: false };
        Both { to_upstream: Box::new(client), to_client: Box::new(Upstream { opening, is_typed: false }) }
    }

    fn needs_both(&self) -> bool {
        true
    }
}

/// The state of a connection, which both framers have to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// The client's next message has no type.
    Untyped,
    /// The client has asked for encryption, and has no answer yet.
    Asked,
    /// The bytes behind the answer are encrypted in both directions.
    Encrypted,
    /// All messages of both directions have a type.
    Typed,
}

type SharedOpening = Arc<Mutex<Opening>>;

fn get(opening: &SharedOpening) -> Opening {
    *opening.lock().even_poisoned()
}

fn set(opening: &SharedOpening, to: Opening) {
    *opening.lock().even_poisoned() = to;
}

/// Counts itself and what is behind it, not the type before it.
const TYPED: Field = Field { offset: 1, width: 4, order: ByteOrder::Big, adjust: -4, most: MOST };

/// Counts the whole message.
const UNTYPED: Field = Field { offset: 0, width: 4, order: ByteOrder::Big, adjust: -4, most: MOST_UNTYPED };

/// The maximum length of a message without a type, as the server has it.
const MOST_UNTYPED: u64 = 10_000;

/// The field is a signed number.
const MOST: u64 = i32::MAX as u64;

/// The first byte of a TLS handshake; that of a message without a type is 0, as its length is below 2^24.
const TLS_HANDSHAKE: u8 = 0x16;

/// The types of the messages that a client sends.
const OF_CLIENT: &[u8] = b"BCDEFHPQSXcdfp";

/// The client's direction.
#[derive(Debug)]
struct Client {
    opening: SharedOpening,
    /// True behind the start-up; the shared state is not read then.
    is_typed: bool,
}

impl Framer for Client {
    fn protocol(&self) -> &'static str {
        "postgres"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        if !self.is_typed {
            match (get(&self.opening), buffer[0]) {
                (Opening::Encrypted, _) => return Ok(Cut::Unframed),
                (_, TLS_HANDSHAKE) => {
                    set(&self.opening, Opening::Encrypted);
                    return Ok(Cut::Unframed);
                }
                (_, 0) => return self.untyped(buffer),
                (_, kind) if OF_CLIENT.contains(&kind) => self.go_on_typed(),
                _ => return Err(Broken::at(0, "the length of a start-up message, or the type of a client's message")),
            }
        }
        if !OF_CLIENT.contains(&buffer[0]) {
            return Err(Broken::at(0, "the type of a client's message, a letter"));
        }
        typed(buffer)
    }

    fn begin_anew(&mut self) {
        set(&self.opening, Opening::Untyped);
        self.is_typed = false;
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(Length))
    }

    fn answered(&self) -> Option<Arc<dyn Answered>> {
        Some(Arc::new(Asks(Arc::clone(&self.opening))))
    }
}

/// The requests for encryption that the server gets.
#[derive(Debug)]
struct Asks(SharedOpening);

impl Answered for Asks {
    fn replaced(&self, _: &[u8], instead: &[Bytes]) {
        let asks = |message: &Bytes| code_of(message).and_then(Request::of) == Some(Request::Encryption);
        if get(&self.0) == Opening::Asked && !instead.iter().any(asks) {
            set(&self.0, Opening::Untyped);
        }
    }
}

/// A message without a type, by the number behind its length.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    StartUp,
    Encryption,
    Cancel,
}

impl Request {
    fn of(code: u32) -> Option<Self> {
        match (code >> 16, code & 0xffff) {
            (3, _) => Some(Self::StartUp),
            (1234, 5678) => Some(Self::Cancel),
            // SSLRequest and GSSENCRequest.
            (1234, 5679 | 5680) => Some(Self::Encryption),
            _ => None,
        }
    }
}

/// Returns the number behind the length of a message without a type.
fn code_of(message: &[u8]) -> Option<u32> {
    message.get(4..8)?.first_chunk().map(|code| u32::from_be_bytes(*code))
}

impl Client {
    fn go_on_typed(&mut self) {
        set(&self.opening, Opening::Typed);
        self.is_typed = true;
    }

    fn untyped(&mut self, buffer: &[u8]) -> Result<Cut, Broken> {
        if UNTYPED.value(buffer).is_some_and(|length| !(8..=MOST_UNTYPED).contains(&length)) {
            return Err(Broken::at(0, format!("the length of a start-up message, 8 to {MOST_UNTYPED}")));
        }
        let Some(code) = code_of(buffer) else { return Ok(Cut::More { least: Some(8) }) };
        let Some(request) = Request::of(code) else {
            return Err(Broken::at(4, "version 3 of the protocol, or a request for encryption or cancelling"));
        };
        let cut = UNTYPED.cut(buffer)?;
        if let Cut::Message(_) = cut {
            match request {
                Request::StartUp => self.go_on_typed(),
                Request::Encryption => set(&self.opening, Opening::Asked),
                // The server closes the connection without an answer.
                Request::Cancel => set(&self.opening, Opening::Untyped),
            }
        }
        Ok(cut)
    }
}

/// The upstream's direction.
#[derive(Debug)]
struct Upstream {
    opening: SharedOpening,
    /// True once the shared state says so, which is final.
    is_typed: bool,
}

impl Framer for Upstream {
    fn protocol(&self) -> &'static str {
        "postgres"
    }

    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken> {
        // A message that has begun stays of its kind, whatever the client sends meanwhile.
        if !self.is_typed && seen == 0 {
            match (get(&self.opening), buffer[0]) {
                (Opening::Encrypted, _) => return Ok(Cut::Unframed),
                (Opening::Asked, b'S' | b'G') => {
                    set(&self.opening, Opening::Encrypted);
                    return Ok(Cut::Message(1));
                }
                (Opening::Asked, b'N') => {
                    set(&self.opening, Opening::Untyped);
                    return Ok(Cut::Message(1));
                }
                // An error has a type.
                (Opening::Asked, b'E') | (Opening::Untyped, _) => {}
                (Opening::Asked, _) => return Err(Broken::at(0, "an answer to a request for encryption: S, G, N or an error")),
                (Opening::Typed, _) => self.is_typed = true,
            }
        }
        if !buffer[0].is_ascii_alphanumeric() {
            return Err(Broken::at(0, "the type of a server's message, a letter or a digit"));
        }
        typed(buffer)
    }

    fn begin_anew(&mut self) {
        set(&self.opening, Opening::Untyped);
        self.is_typed = false;
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(Length))
    }
}

/// Cuts a message that has a type.
fn typed(buffer: &[u8]) -> Result<Cut, Broken> {
    if TYPED.value(buffer).is_some_and(|length| length > MOST) {
        return Err(Broken::at(1, "a length that is not negative"));
    }
    TYPED.cut(buffer)
}

/// The length field of both kinds of messages.
#[derive(Debug)]
struct Length;

impl LengthField for Length {
    fn set(&self, message: &[u8], instead: Bytes) -> Result<Bytes, TooLong> {
        match message {
            [0, ..] => UNTYPED.set(message, instead),
            // A server's answer of one byte has no field, but an error in its place has one.
            _ => TYPED.set(message, instead),
        }
    }
}

#[cfg(test)]
mod tests;
