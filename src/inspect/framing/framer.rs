//! The contract of a framer.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;

use super::length_field::LengthField;
use crate::words::outcome::Failed;

/// The beginning of a buffer, as a framer reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A message of this many bytes: at least 1, at most the length of the buffer.
    Message(usize),
    /// The message is longer than the buffer.
    More {
        /// The number of bytes of the whole message, or a lower bound of it, as soon as it is known. A message that is to be
        /// too long is refused by this number, before memory is needed for it.
        least: Option<u64>,
    },
    /// No message begins here, nor later in this direction: what follows is passed on as it comes.
    Unframed,
}

impl Cut {
    /// Returns the answer for a message whose length is not known yet.
    pub const MORE: Self = Self::More { least: None };

    /// Returns the answer for a message of `length` bytes, of which `has` are in the buffer.
    pub fn whole(length: u64, has: usize) -> Self {
        match usize::try_from(length) {
            Ok(length) if length <= has => Self::Message(length),
            _ => Self::More { least: Some(length) },
        }
    }
}

/// Bytes that break a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The index of the first wrong byte in the buffer.
    pub offset: usize,
    /// The bytes that the protocol wants there, as the end of a sentence "expected …".
    pub expected: Cow<'static, str>,
    /// The failure of the framer itself, if that is what ends the connection: its reason and its line are the connection's.
    pub failed: Option<Failed>,
}

impl Broken {
    /// Returns the fault at `offset`, where `expected` was to stand.
    pub fn at(offset: usize, expected: impl Into<Cow<'static, str>>) -> Self {
        Self { offset, expected: expected.into(), failed: None }
    }

    /// Returns the failure of a framer that cannot say where a message ends, whatever the bytes are.
    pub fn because(failed: Failed) -> Self {
        Self { offset: 0, expected: Cow::Borrowed("an answer of its framer"), failed: Some(failed) }
    }
}

/// Finds where the messages of one direction end. It keeps no bytes: the stage that calls it does.
///
/// Pure: no socket, no clock, no thread. Its state belongs to one direction of one connection, unless it shares some with the
/// framer of the other direction behind a lock of its own.
pub trait Framer: Send + fmt::Debug {
    fn protocol(&self) -> &'static str;

    /// Reads the message at the beginning of `buffer`, which is not empty.
    ///
    /// The first `seen` bytes were in the buffer of the call before, which has answered [`Cut::More`]; 0 for a new message.
    /// A framer that scans for a delimiter goes on there, so that all calls for one message together take time in proportion
    /// to its length. Whatever the places at which a stream is split, the messages are equal.
    fn cut(&mut self, buffer: &[u8], seen: usize) -> Result<Cut, Broken>;

    /// Called between two messages when the dialogue begins anew under TLS, which either direction has asked for: nothing of the
    /// protocol's state before that holds. Called in both directions.
    fn begin_anew(&mut self) {}

    /// Returns true if the end of the stream completes what lies in `buffer`, such as the body of an answer that lasts until
    /// the close. Asked once, behind a [`Cut::More`]; false delivers `buffer` as the rest of an incomplete message.
    fn ends_with_stream(&mut self, buffer: &[u8]) -> bool {
        let _ = buffer;
        false
    }

    /// Returns the writer of the protocol's length field, if its messages have one. Asked once, when the framer is put into
    /// its place.
    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        None
    }

    /// Returns the record of what a hook does with the messages, if later ones, of either direction, depend on it. Asked once,
    /// when the framer is put into its place.
    fn answered(&self) -> Option<Arc<dyn Answered>> {
        None
    }
}

/// A record of the messages that hooks put in place of others, as far as the state of the protocol depends on it.
pub trait Answered: Send + Sync + fmt::Debug {
    /// Called when `instead` goes out in place of the message that was cut last, or nothing if it is empty. The next message of
    /// that direction is not cut yet.
    fn replaced(&self, message: &[u8], instead: &[Bytes]);
}
