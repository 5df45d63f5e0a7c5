//! The client's end of a connection.

use std::io::{self, ErrorKind};
use std::time::Instant;

use crate::backend::{DOWNLOAD, ECHO, REPLY};
use crate::engine::Next;
use crate::plan::{REQUEST, Workload};
use crate::tally::Tally;
use crate::wire::Wire;

pub struct Client {
    workload: Workload,
    /// What is left to send of the current request.
    to_send: usize,
    /// What came of the current reply.
    received: usize,
    /// Whether a byte came back yet.
    started: bool,
    sent_at: Instant,
}

impl Client {
    pub fn new(workload: Workload) -> Self {
        Self { workload, to_send: request_size(workload), received: 0, started: false, sent_at: Instant::now() }
    }

    pub fn progress(&mut self, wire: &mut Wire, buffer: &mut [u8], tally: &mut Tally) -> io::Result<Next> {
        if self.to_send > 0 {
            return self.send(wire, buffer);
        }
        match wire.read(buffer)? {
            None => Ok(Next::Read),
            Some(0) => self.ended(tally),
            Some(count) => self.take(count, wire, buffer, tally),
        }
    }

    /// Sends the request: its first byte tells the backend what is wanted, and so do the others, up to a line feed.
    fn send(&mut self, wire: &mut Wire, buffer: &mut [u8]) -> io::Result<Next> {
        let count = self.to_send.min(buffer.len());
        buffer[..count].fill(letter(self.workload));
        if count == self.to_send && count > 1 {
            // A request is a line, too.
            buffer[count - 1] = b'\n';
        }
        self.to_send -= wire.write(&buffer[..count])?.unwrap_or(0);
        Ok(if self.to_send > 0 { Next::Write } else { Next::Read })
    }

    fn take(&mut self, count: usize, wire: &mut Wire, buffer: &mut [u8], tally: &mut Tally) -> io::Result<Next> {
        if !self.started {
            self.started = true;
            tally.started += 1;
        }
        self.received += count;
        match self.workload {
            Workload::Bulk => tally.bytes += count as u64,
            Workload::RequestReply { size } if self.received == size => {
                let now = Instant::now();
                tally.reply(now - self.sent_at);
                self.received = 0;
                self.to_send = size;
                self.sent_at = now;
                return self.send(wire, buffer);
            }
            Workload::RequestReply { .. } | Workload::Connect | Workload::Idle => {}
        }
        Ok(Next::Read)
    }

    /// The other end closed: right only after the one reply of [`Workload::Connect`].
    fn ended(&self, tally: &mut Tally) -> io::Result<Next> {
        if self.workload == Workload::Connect && self.received == REQUEST {
            tally.connected(self.sent_at.elapsed());
            return Ok(Next::Close);
        }
        Err(io::Error::new(ErrorKind::UnexpectedEof, format!("the connection ended after {} bytes", self.received)))
    }
}

fn request_size(workload: Workload) -> usize {
    match workload {
        Workload::Bulk | Workload::Idle => 1,
        Workload::RequestReply { size } => size,
        Workload::Connect => REQUEST,
    }
}

fn letter(workload: Workload) -> u8 {
    match workload {
        Workload::Bulk => DOWNLOAD,
        Workload::RequestReply { .. } | Workload::Idle => ECHO,
        Workload::Connect => REPLY,
    }
}
