//! Plays a script between two connected peers, each with a thread that writes and one that reads.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use super::script::{Action, Script, Step};
use crate::support::{
    pattern::Pattern,
    peers::{DEADLINE, End, Peer, pass, spawn},
};

/// How far a peer may read: this many bytes, and then the end or not.
#[derive(Debug, Clone, Copy, Default)]
struct Limit {
    bytes: u64,
    end: bool,
}

/// How far a peer may read, and how far it has read.
#[derive(Debug, Default)]
struct Reading {
    /// Bytes and end that the script has made the other peer send so far.
    due: Limit,
    /// Bytes and end that were due when this peer was made to pause or to leave.
    frozen: Option<Limit>,
    /// Read what is allowed, then stop.
    last_call: bool,
    received: u64,
    end: Option<End>,
}

#[derive(Debug, Default)]
struct Desk {
    reading: Mutex<Reading>,
    changed: Condvar,
}

enum Permit {
    Bytes(usize),
    End,
    Done,
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.reading.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait_for_permit(&self) -> Permit {
        let mut reading = self.reading.lock().unwrap();
        loop {
            let limit = reading.frozen.unwrap_or(reading.due);
            if reading.received < limit.bytes {
                return Permit::Bytes((limit.bytes - reading.received) as usize);
            }
            if limit.end {
                return Permit::End;
            }
            if reading.last_call {
                return Permit::Done;
            }
            let (next, timeout) = self.changed.wait_timeout(reading, DEADLINE).unwrap();
            assert!(!timeout.timed_out(), "the script stands still");
            reading = next;
        }
    }

    fn read(&self, mut peer: Peer, mut pattern: Pattern) {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let room = match self.wait_for_permit() {
                Permit::Bytes(allowed) => allowed.min(buffer.len()),
                Permit::End => 1,
                Permit::Done => return,
            };
            match peer.receive(&mut buffer[..room]) {
                Ok(got) => {
                    pattern.check(&buffer[..got]);
                    self.change(|reading| reading.received += got as u64);
                }
                Err(end) => return self.change(|reading| reading.end = Some(end)),
            }
        }
    }
}

/// One peer at work: a thread that writes and ends, and one that reads.
struct Player {
    desk: Arc<Desk>,
    orders: SyncSender<Action>,
    thread: JoinHandle<Outcome>,
}

/// Number of bytes that a peer received, and the end that it met: none if it left before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    received: u64,
    end: Option<End>,
}

impl Player {
    fn start(peer: Peer, own: Pattern, others: Pattern) -> Self {
        let desk = Arc::new(Desk::default());
        let (orders, queue) = sync_channel(64);
        let reader = {
            let (desk, peer) = (desk.clone(), peer.try_clone());
            spawn(move || desk.read(peer, others))
        };
        let work = {
            let desk = desk.clone();
            move || {
                let was_reset = work_through(peer, own, queue.into_iter(), reader);
                let reading = desk.reading.lock().unwrap();
                // The kernel reports a reset once, to the first call that meets it: here a write.
                let end = if was_reset { Some(End::Reset) } else { reading.end };
                Outcome { received: reading.received, end }
            }
        };
        Self { desk, orders, thread: spawn(work) }
    }
}

/// Obeys a peer's orders up to its end, or leaves in order after the last one. Says whether a write met a reset.
fn work_through(mut peer: Peer, mut own: Pattern, orders: impl Iterator<Item = Action>, reader: JoinHandle<()>) -> bool {
    let mut was_reset = false;
    for order in orders {
        match order {
            Action::Write(size) => {
                let written = peer.try_send(&own.take(size));
                was_reset |= written.is_err_and(|error| match error.kind() {
                    std::io::ErrorKind::ConnectionReset => true,
                    std::io::ErrorKind::BrokenPipe => false,
                    _ => panic!("write: {error}"),
                });
            }
            Action::HalfClose => peer.half_close(),
            Action::Close { unread } => {
                reader.join().unwrap();
                if unread {
                    peer.wait_readable();
                    peer.wait_acknowledged();
                    peer.close();
                } else {
                    peer.leave();
                }
                return was_reset;
            }
            Action::Reset => {
                reader.join().unwrap();
                peer.wait_acknowledged();
                peer.reset();
                return was_reset;
            }
            Action::Pause | Action::Resume => unreachable!("reading is the desk's"),
        }
    }
    reader.join().unwrap();
    was_reset
}

/// Plays a script between two connected peers, who write these patterns.
pub(super) fn play(script: &Script, [near, far]: [Peer; 2], [out, back]: [&Pattern; 2]) -> [Outcome; 2] {
    let players = [Player::start(near, out.clone(), back.clone()), Player::start(far, back.clone(), out.clone())];
    let mut left = [false; 2];
    let mut ended = [false; 2];
    for Step { peer, action, rest } in &script.steps {
        let (me, other) = (&players[*peer], &players[1 - *peer]);
        match action {
            Action::Write(size) => other.desk.change(|reading| reading.due.bytes += *size as u64),
            Action::Pause => me.desk.change(|reading| reading.frozen = Some(reading.due)),
            Action::Resume => me.desk.change(|reading| reading.frozen = None),
            Action::Close { unread: false } => me.desk.change(|reading| {
                reading.frozen = Some(reading.due);
                reading.last_call = true;
            }),
            Action::Close { unread: true } | Action::Reset => me.desk.change(|reading| {
                reading.frozen.get_or_insert(reading.due);
                reading.last_call = true;
            }),
            Action::HalfClose => {}
        }
        left[*peer] |= matches!(action, Action::Close { .. } | Action::Reset);
        if !matches!(action, Action::Pause | Action::Resume) {
            // One who has left takes no more orders, and needs none.
            let _ = me.orders.send(*action);
        }
        if left[*peer] || *action == Action::HalfClose {
            ended[*peer] = true;
            other.desk.change(|reading| reading.due.end = true);
        }
        pass(*rest);
    }
    for number in 0..2 {
        if !ended[number] {
            let _ = players[number].orders.send(Action::HalfClose);
        }
    }
    for player in players.iter().zip(left).filter_map(|(player, left)| (!left).then_some(player)) {
        player.desk.change(|reading| {
            reading.frozen = None;
            reading.due.end = true;
            reading.last_call = true;
        });
    }
    players.map(|player| {
        drop(player.orders);
        player.thread.join().expect("a peer failed")
    })
}
