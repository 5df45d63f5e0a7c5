//! The stage that cuts a direction into messages, and keeps the bytes of an incomplete one.

use bytes::Bytes;

use super::{
    ReplacedMessages,
    framer::{Broken, Cut, Framer},
    spec::{FramingErrors, FramingRules},
};
use crate::{
    inspect::{
        outbox::Outbox,
        stage::{End, Progress, Stage},
    },
    words::{
        chunk::Chunk,
        direction::Direction,
        log_target,
        outcome::{CloseReason, Failed},
    },
};

/// Cuts one message at a time: the next once all stages behind have acted on it.
///
/// A message that lies in one read is passed on where it lies. The bytes of one that comes in several reads are joined in
/// memory that grows with them, not with the length that the message claims to have.
#[derive(Debug)]
pub(crate) struct MessageStage {
    framer: Box<dyn Framer>,
    rules: FramingRules,
    connection: u64,
    direction: Direction,
    /// The first bytes of an incomplete message, which the framer has seen.
    begun: Vec<u8>,
    /// The least length of the message that has begun, if the framer knows one.
    least: Option<u64>,
    /// The bytes behind `begun`, not cut yet.
    chunk: Option<Chunk>,
    /// The index of the next message's first byte in the stream.
    offset: u64,
    state: State,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Framed,
    /// Bytes are passed on as they come.
    Unframed,
    /// The connection ends.
    Broken,
}

/// The bytes at the beginning of the buffer, as far as the framer knows.
enum Next {
    Message(Chunk),
    /// The buffer has no whole message.
    Nothing,
    /// No message begins there, or a bad one.
    Other,
}

impl MessageStage {
    /// Returns the stage of one direction.
    pub(crate) fn new(framer: Box<dyn Framer>, rules: FramingRules, connection: u64, direction: Direction) -> Self {
        Self {
            framer,
            rules,
            connection,
            direction,
            begun: Vec::new(),
            least: None,
            chunk: None,
            offset: 0,
            state: State::Framed,
            end: End::Open,
        }
    }

    /// Returns the stage for a stream of which `offset` bytes are past.
    pub(crate) fn beginning_at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Returns what follows what is put in place of messages.
    pub(crate) fn replaced_messages(&self) -> ReplacedMessages {
        ReplacedMessages::of(&*self.framer)
    }

    /// Writes the next message, or the rest of the stream.
    fn go_on(&mut self, out: &mut Outbox) -> Progress {
        if self.state == State::Framed {
            match self.cut(out) {
                Ok(Next::Message(message)) => {
                    self.offset += message.len() as u64;
                    out.push(message);
                    if self.chunk.is_some() {
                        return Progress::Again;
                    }
                }
                Ok(Next::Nothing | Next::Other) => {}
                Err(failed) => return Progress::Failed(failed),
            }
        }
        match (self.state, self.end) {
            (State::Framed, End::Open) => return Progress::Moved,
            (State::Framed, end) => self.put_rest(end, out),
            (State::Unframed, _) => self.put_unframed(out),
            (State::Broken, _) => {
                (self.begun, self.chunk) = (Vec::new(), None);
                return Progress::Moved;
            }
        }
        if self.end == End::Finished {
            out.end();
        }
        Progress::Moved
    }

    /// Asks the framer about the beginning of the buffer.
    fn cut(&mut self, out: &mut Outbox) -> Result<Next, Failed> {
        while let Some(chunk) = &mut self.chunk {
            if self.begun.is_empty() {
                let answer = self.framer.cut(chunk, 0);
                let length = chunk.len();
                match self.judge(answer, length, out) {
                    Judged::Message(length) => return Ok(Next::Message(self.take(length))),
                    Judged::More => self.keep(length, out)?,
                    Judged::Other => return Ok(Next::Other),
                }
                continue;
            }
            let seen = self.begun.len();
            let missing = self.least.and_then(|least| usize::try_from(least).ok()).and_then(|least| least.checked_sub(seen));
            self.keep(missing.unwrap_or(usize::MAX).max(1), out)?;
            let answer = self.framer.cut(&self.begun, seen);
            match self.judge(answer, self.begun.len(), out) {
                Judged::Message(length) if length == self.begun.len() => {
                    return Ok(Next::Message(Bytes::from(std::mem::take(&mut self.begun)).into()));
                }
                Judged::Message(length) => {
                    // Bytes of later messages were joined with it: the length was not known.
                    self.keep(usize::MAX, out)?;
                    self.chunk = Some(Bytes::from(std::mem::take(&mut self.begun)).into());
                    return Ok(Next::Message(self.take(length)));
                }
                Judged::More => {}
                Judged::Other => return Ok(Next::Other),
            }
        }
        Ok(Next::Nothing)
    }

    /// Removes the first `length` bytes of the chunk, without a copy.
    fn take(&mut self, length: usize) -> Chunk {
        match &mut self.chunk {
            Some(chunk) if length < chunk.len() => chunk.split_to(length),
            chunk => chunk.take().unwrap_or_else(|| Bytes::new().into()),
        }
    }

    /// Joins up to `most` bytes of the chunk to those that have begun a message.
    fn keep(&mut self, most: usize, out: &mut Outbox) -> Result<(), Failed> {
        let Some(mut chunk) = self.chunk.take() else { return Ok(()) };
        let count = most.min(chunk.len());
        self.reserve(count)?;
        self.begun.extend_from_slice(&chunk[..count]);
        if count < chunk.len() {
            chunk.advance(count);
            self.chunk = Some(chunk);
        } else {
            out.give_back(chunk);
        }
        Ok(())
    }

    /// Reserves memory for `count` more bytes: twice as much as there is, but no more than the message can need.
    fn reserve(&mut self, count: usize) -> Result<(), Failed> {
        let needed = self.begun.len() + count;
        if needed > self.begun.capacity() {
            let most = self.least.and_then(|least| usize::try_from(least).ok()).unwrap_or(self.rules.max_message);
            let size = (self.begun.capacity() * 2).min(most).max(needed);
            let more = size - self.begun.len();
            if self.begun.try_reserve_exact(more).is_err() {
                let error = format!("no memory for a message of {size} bytes; limit max_message, or give the process more");
                return Err(Failed { reason: CloseReason::InternalError, error });
            }
        }
        Ok(())
    }

    /// Checks the framer's answer about a buffer of `length` bytes.
    fn judge(&mut self, answer: Result<Cut, Broken>, length: usize, out: &mut Outbox) -> Judged {
        let most = self.rules.max_message as u64;
        let claimed = match answer {
            Ok(Cut::Message(message)) if (1..=length).contains(&message) => {
                if message as u64 <= most {
                    self.least = None;
                    return Judged::Message(message);
                }
                message as u64
            }
            Ok(Cut::Message(message)) => {
                let expected = format!("a length of 1 to {length} from its framer, which answered {message}");
                self.fail(CloseReason::ProtocolError, self.offset, &expected, out);
                return Judged::Other;
            }
            Ok(Cut::More { least }) => {
                let claimed = least.unwrap_or(0).max(length as u64 + 1);
                if claimed <= most {
                    self.least = least;
                    return Judged::More;
                }
                claimed
            }
            Ok(Cut::Unframed) => {
                self.state = State::Unframed;
                return Judged::Other;
            }
            Err(Broken { failed: Some(failed), .. }) => {
                self.state = State::Broken;
                out.reset(failed);
                return Judged::Other;
            }
            Err(Broken { offset, expected, .. }) => {
                self.fail(CloseReason::ProtocolError, self.offset + offset as u64, &expected, out);
                return Judged::Other;
            }
        };
        let expected = format!("a message of {most} bytes at most (max_message), and it has {claimed} or more");
        self.fail(CloseReason::MessageTooLong, self.offset, &expected, out);
        Judged::Other
    }

    /// Ends the connection behind the messages that were cut, or goes on without messages.
    fn fail(&mut self, reason: CloseReason, at: u64, expected: &str, out: &mut Outbox) {
        let first = if self.begun.is_empty() { self.chunk.as_deref().unwrap_or_default() } else { &self.begun[..] };
        // The header of a record with a handshake.
        let hint = match first {
            [0x16, 3, ..] if self.offset == 0 => "; it begins as TLS does: speak TLS there (tls), or leave framing out",
            _ => "",
        };
        let error = format!("{} {}, byte {at}: expected {expected}{hint}", self.framer.protocol(), self.direction.word());
        match self.rules.errors {
            FramingErrors::Close => {
                self.state = State::Broken;
                out.reset(Failed { reason, error });
            }
            FramingErrors::Chunk => {
                self.state = State::Unframed;
                log::warn!(target: log_target::CONNECTION, "{}: {error}; unframed from byte {} on", self.connection, self.offset);
            }
        }
    }

    /// Writes what the end of the stream leaves of a message.
    fn put_rest(&mut self, end: End, out: &mut Outbox) {
        if self.begun.is_empty() {
            return;
        }
        let is_whole = end == End::Finished && self.framer.ends_with_stream(&self.begun);
        let rest = Chunk::from(Bytes::from(std::mem::take(&mut self.begun)));
        out.push(if is_whole { rest } else { rest.into_partial() });
    }

    fn put_unframed(&mut self, out: &mut Outbox) {
        if !self.begun.is_empty() {
            out.push(Chunk::from(Bytes::from(std::mem::take(&mut self.begun))).into_partial());
        }
        if let Some(chunk) = self.chunk.take() {
            out.push(chunk.into_partial());
        }
    }
}

/// A framer's answer, checked.
enum Judged {
    Message(usize),
    More,
    /// The state has changed.
    Other,
}

impl Stage for MessageStage {
    fn feed(&mut self, chunk: Chunk, end: End, out: &mut Outbox) -> Progress {
        self.end = end;
        if !chunk.is_empty() {
            self.chunk = Some(chunk);
        }
        self.go_on(out)
    }

    fn resume(&mut self, out: &mut Outbox) -> Progress {
        if self.chunk.is_some() { self.go_on(out) } else { Progress::Moved }
    }

    fn begin_anew(&mut self) {
        if self.state != State::Broken {
            self.state = State::Framed;
            self.framer.begin_anew();
        }
    }

    fn release(&mut self) -> Vec<Chunk> {
        let begun = Chunk::from(Bytes::from(std::mem::take(&mut self.begun)));
        [begun].into_iter().chain(self.chunk.take()).collect()
    }

    fn held(&self) -> usize {
        self.begun.len() + self.chunk.as_ref().map_or(0, |chunk| chunk.len())
    }

    fn kept(&self) -> usize {
        self.begun.capacity() + self.chunk.as_ref().map_or(0, Chunk::capacity)
    }

    fn make_lasting(&mut self) -> bool {
        let Some(chunk) = &mut self.chunk else { return true };
        let Some(rest) = chunk.rest(0) else { return false };
        *chunk = rest.into();
        true
    }
}

#[cfg(test)]
mod tests;
