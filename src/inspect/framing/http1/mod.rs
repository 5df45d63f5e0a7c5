//! HTTP/1.0 and HTTP/1.1. A message is a head with its body.
//!
//! The rules are those of RFC 9112, read strictly: bytes that two readers could understand in two ways are an error, for the
//! upstream might read them in the other one. `head` reads heads, `section` finds their ends, `chunked` reads chunked bodies,
//! `exchange` is the state that both directions share, `length` writes Content-Length.

mod chunked;
mod exchange;
mod head;
mod length;
mod section;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use self::{
    chunked::Chunks,
    exchange::{Asked, Exchange},
    head::{Answer, Body, Request},
    length::ContentLength,
    section::Section,
};
use crate::{
    inspect::framing::{
        framer::{Answered, Broken, Cut, Framer},
        length_field::LengthField,
        spec::Framing,
    },
    words::{direction::Both, lock::EvenPoisoned},
};

const PROTOCOL: &str = "http1";

/// HTTP/1.0 and HTTP/1.1, for both directions of a connection.
///
/// - A request with `Expect: 100-continue` is two messages, its head and its body: its client sends no body before the head is
///   answered.
/// - An answer whose body lasts until the close is complete when the upstream closes.
/// - What follows a switch of protocols (an answer 101, or 2xx to CONNECT) is unframed both ways.
/// - Content-Length is set right for what a hook answers, if its head has that field and the body came with it. A chunked body
///   is sent as it is.
/// - A request that a hook drops was not asked; what it answers in place of one was. Behind a CONNECT that it drops, bytes that
///   are no HTTP are those of a tunnel that it has granted itself, and unframed both ways.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http1;

impl Framing for Http1 {
    fn protocol(&self) -> &'static str {
        PROTOCOL
    }

    fn framers(&self) -> Both<Box<dyn Framer>> {
        let exchange = Arc::new(Mutex::new(Exchange::default()));
        let requests = Requests { exchange: Arc::clone(&exchange), place: Place::default(), after: None };
        Both { to_upstream: Box::new(requests), to_client: Box::new(Answers { exchange, place: Place::default() }) }
    }

    fn needs_both(&self) -> bool {
        true
    }
}

/// The place in a message up to which a framer has read it.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In the head. None at its beginning.
    Head(Option<Section>),
    /// In a body of a known length. The number is that of the whole message.
    Length(u64),
    Chunks(Chunks),
    /// In a body that lasts until the close.
    Rest,
}

impl Default for Place {
    fn default() -> Self {
        Self::Head(None)
    }
}

impl Place {
    /// Returns the beginning of a body that stands behind `before` bytes of its message.
    fn of(body: Body, before: usize) -> Self {
        match body {
            Body::Length(length) => Self::Length(length.saturating_add(before as u64)),
            Body::Chunked => Self::Chunks(Chunks::at(before)),
            Body::UntilClose => Self::Rest,
        }
    }

    /// Reads on in the body, and goes back to the beginning of a head behind its end.
    fn read_body(&mut self, buffer: &[u8]) -> Result<Cut, Broken> {
        let cut = match self {
            Self::Length(length) => Cut::whole(*length, buffer.len()),
            Self::Chunks(chunks) => chunks.read(buffer)?,
            Self::Head(_) | Self::Rest => Cut::MORE,
        };
        if matches!(cut, Cut::Message(_)) {
            *self = Self::default();
        }
        Ok(cut)
    }
}

/// The framer of the client's direction.
#[derive(Debug)]
struct Requests {
    exchange: Arc<Mutex<Exchange>>,
    place: Place,
    /// The body behind a head that was a message of its own.
    after: Option<Body>,
}

impl Framer for Requests {
    fn protocol(&self) -> &'static str {
        PROTOCOL
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        if self.is_unframed() {
            return Ok(Cut::Unframed);
        }
        let cut = self.read(buffer);
        if cut.is_err() {
            if locked(&self.exchange, Exchange::leave_for_tunnel) {
                return Ok(Cut::Unframed);
            }
            locked(&self.exchange, Exchange::leave);
        }
        cut
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(ContentLength))
    }

    fn answered(&self) -> Option<Arc<dyn Answered>> {
        Some(Arc::new(Asks(Arc::clone(&self.exchange))))
    }
}

/// The requests that the upstream gets, if they are not the client's.
#[derive(Debug)]
struct Asks(Arc<Mutex<Exchange>>);

impl Answered for Asks {
    fn replaced(&self, _: &[u8], instead: &[Bytes]) {
        locked(&self.0, |exchange| {
            if !exchange.take_back() {
                return;
            }
            for bytes in instead {
                let mut section = None;
                let Ok(Some(section)) = Section::of_request(&mut section, bytes) else { continue };
                let Ok(Some(end)) = section.end(bytes, |_, _| Ok(())) else { continue };
                // What is no request has an answer as any other.
                let asked = Request::read(bytes, section.start(), end).map_or(Asked::Other, |request| request.asked);
                let _ = exchange.ask(asked);
            }
        });
    }
}

impl Requests {
    /// Returns true behind a switch of protocols. A client that sends more before its CONNECT is answered takes it for granted.
    fn is_unframed(&self) -> bool {
        let between = matches!(self.place, Place::Head(None)) && self.after.is_none();
        locked(&self.exchange, |exchange| {
            if between && exchange.awaits_tunnel() {
                exchange.leave();
            }
            exchange.has_left()
        })
    }

    fn read(&mut self, buffer: &[u8]) -> Result<Cut, Broken> {
        if let Some(body) = self.after.take() {
            self.place = Place::of(body, 0);
            locked(&self.exchange, Exchange::go_on);
        }
        let Place::Head(section) = &mut self.place else { return self.place.read_body(buffer) };
        let Some(section) = Section::of_request(section, buffer)? else { return Ok(Cut::MORE) };
        let Some(end) = section.end(buffer, head::check_request_line)? else { return Ok(Cut::MORE) };
        let request = Request::read(buffer, section.start(), end)?;
        locked(&self.exchange, |exchange| exchange.ask(request.asked)).map_err(|expected| Broken::at(0, expected))?;
        if request.waits {
            (self.place, self.after) = (Place::default(), Some(request.body));
            return Ok(Cut::Message(end));
        }
        self.place = Place::of(request.body, end);
        self.place.read_body(buffer)
    }
}

/// The framer of the upstream's direction.
#[derive(Debug)]
struct Answers {
    exchange: Arc<Mutex<Exchange>>,
    place: Place,
}

impl Framer for Answers {
    fn protocol(&self) -> &'static str {
        PROTOCOL
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        let Place::Head(section) = &mut self.place else { return self.place.read_body(buffer) };
        if section.is_none() && locked(&self.exchange, |exchange| exchange.has_left() && exchange.is_answered()) {
            return Ok(Cut::Unframed);
        }
        let section = match Section::of_answer(section, buffer) {
            Err(_) if locked(&self.exchange, Exchange::leave_for_tunnel) => return Ok(Cut::Unframed),
            section => section?,
        };
        let Some(end) = section.end(buffer, head::check_status_line)? else { return Ok(Cut::MORE) };
        let answer = Answer::read(buffer, end)?;
        let asked = locked(&self.exchange, |exchange| exchange.answer(answer.code));
        self.place = Place::of(answer.body(asked)?, end);
        self.place.read_body(buffer)
    }

    fn ends_with_stream(&mut self, _: &[u8]) -> bool {
        matches!(self.place, Place::Rest)
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(ContentLength))
    }
}

/// Runs `f` on what both directions share. No framer panics while it has the lock, and one that did would leave it whole.
fn locked<R>(exchange: &Mutex<Exchange>, f: impl FnOnce(&mut Exchange) -> R) -> R {
    f(&mut exchange.lock().even_poisoned())
}
