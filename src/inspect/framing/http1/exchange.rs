//! The state that both directions of a connection share: the requests without an answer, and the end of HTTP.

use std::collections::VecDeque;

/// The kinds of requests, as far as they determine the framing of answers (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Its answer has no body, whatever its head says.
    Head,
    /// An answer 2xx begins a tunnel.
    Connect,
    Other,
}

/// The maximum number of runs of requests of one kind. A hostile client has no other way to make the queue long.
const MOST_RUNS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The requests without an answer, the oldest first: runs of one kind, each with the number of its requests.
    asked: VecDeque<(Asked, u64)>,
    /// True if the client's last message was the head of the last request, whose answer has not begun.
    is_last: bool,
    /// True if the client's last request was a CONNECT that a hook has kept: it may have granted a tunnel itself.
    may_be_tunnel: bool,
    /// True behind the end of HTTP. Answers to what was asked before may still come.
    left: bool,
}

impl Exchange {
    /// Adds a request. The error is what was expected instead of it.
    pub(super) fn ask(&mut self, asked: Asked) -> Result<(), &'static str> {
        let is_full = self.asked.len() == MOST_RUNS;
        match self.asked.back_mut() {
            Some((kind, number)) if *kind == asked => *number += 1,
            _ if is_full => return Err("answers to the requests before this one, of which too many wait"),
            _ => self.asked.push_back((asked, 1)),
        }
        (self.is_last, self.may_be_tunnel) = (true, false);
        Ok(())
    }

    /// Records that the client's message is the body of the last request, whose head was a message of its own.
    pub(super) fn go_on(&mut self) {
        self.is_last = false;
    }

    /// Forgets the request of the client's last message, which does not go on as it came. Returns false if that was none.
    pub(super) fn take_back(&mut self) -> bool {
        if !std::mem::take(&mut self.is_last) {
            return false;
        }
        if let Some((kind, number)) = self.asked.back_mut() {
            self.may_be_tunnel = *kind == Asked::Connect;
            *number -= 1;
            if *number == 0 {
                self.asked.pop_back();
            }
        }
        true
    }

    /// Ends HTTP if what has come is in a tunnel that a hook has granted, as bytes show that are no HTTP. Returns true then.
    pub(super) fn leave_for_tunnel(&mut self) -> bool {
        self.left |= self.may_be_tunnel && self.is_answered();
        self.may_be_tunnel && self.left
    }

    /// Returns the request to which an answer with the status `code` belongs, and removes it if the answer is its last one.
    /// An answer to nothing, such as 408 on an idle connection, is read like any other.
    pub(super) fn answer(&mut self, code: u16) -> Asked {
        let asked = self.asked.front().map_or(Asked::Other, |(kind, _)| *kind);
        let switches = code == 101 || asked == Asked::Connect && (200..300).contains(&code);
        if switches {
            self.asked.clear();
            self.left = true;
        } else if !(100..200).contains(&code)
            && let Some((_, number)) = self.asked.front_mut()
        {
            *number -= 1;
            if *number == 0 {
                self.asked.pop_front();
            }
        }
        // An answer that came before its request was sent on may have been that request's.
        self.is_last &= !self.asked.is_empty();
        asked
    }

    /// Ends HTTP for the client's direction; for the upstream's too, once everything that was asked is answered.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn is_answered(&self) -> bool {
        self.asked.is_empty()
    }

    /// Returns true if the last request is a CONNECT without an answer.
    pub(super) fn awaits_tunnel(&self) -> bool {
        matches!(self.asked.back(), Some((Asked::Connect, _)))
    }
}
