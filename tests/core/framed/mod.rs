//! Framed directions of live connections: what hooks are shown, when another framing takes effect, and how it ends.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use interpose::{
    hooks::{Answer, Decision, EndVerdict, Failed, Hooks, Ticket, Verdict},
    inspect::framing::{
        Broken, Cut, Framed, Framer, Framing, FramingErrors, FramingPair, FramingRules, LengthField, Lines, TooLong,
    },
    live::{handle::Connection, inbox::Patience},
    words::{
        chunk::Chunk,
        direction::{
            Both,
            Direction::{self, ToClient, ToUpstream},
        },
        interest::Interest,
        outcome::CloseReason,
    },
};

use crate::support::{
    peers::{End, Peer, until},
    running::{Running, to, wait_end},
    upstreams::Upstream,
};

mod ending;
mod mirrored;

const BOTH: Interest = Interest::TO_UPSTREAM.with(Interest::TO_CLIENT);

/// Messages of a byte that says their length, and as many bytes. 255 is no length.
#[derive(Debug, Clone, Copy)]
struct Counted;

/// The same messages, of both directions or of none.
#[derive(Debug)]
struct CountedBoth;

impl Framing for CountedBoth {
    fn protocol(&self) -> &'static str {
        "counted"
    }

    fn framers(&self) -> Both<Box<dyn Framer>> {
        Both { to_upstream: Box::new(Counted), to_client: Box::new(Counted) }
    }

    fn needs_both(&self) -> bool {
        true
    }
}

impl Framer for Counted {
    fn protocol(&self) -> &'static str {
        "counted"
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        match buffer[0] {
            255 => Err(Broken::at(0, "a length below 255")),
            length => Ok(Cut::whole(u64::from(length) + 1, buffer.len())),
        }
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(*self))
    }
}

impl LengthField for Counted {
    fn set(&self, _: &[u8], instead: Bytes) -> Result<Bytes, TooLong> {
        let length = instead.len();
        let Some(body) = length.checked_sub(1) else { return Ok(instead) };
        let field = u8::try_from(body).ok().filter(|field| *field < 255).ok_or(TooLong { length, most: 255 })?;
        Ok([&[field], &instead[1..]].concat().into())
    }
}

type OnRecv = Box<dyn Fn(&Connection, Direction, &Chunk) -> Verdict + Send + Sync>;

/// Hooks that are shown messages, and write them down.
struct Shows {
    is_later: bool,
    framing: FramingPair,
    rules: FramingRules,
    recv: OnRecv,
    shown: Mutex<Both<Vec<(String, bool)>>>,
    framed: AtomicUsize,
}

impl std::fmt::Debug for Shows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shows")
    }
}

impl Shows {
    fn of(framing: impl Framing + 'static) -> Self {
        Self {
            is_later: false,
            framing: FramingPair::both(Arc::new(framing)),
            rules: FramingRules::default(),
            recv: Box::new(|_, _, _| Verdict::Pass),
            shown: Mutex::default(),
            framed: AtomicUsize::new(0),
        }
    }

    /// Answers later, from another thread, about connections on their I/O threads.
    fn later(self) -> Self {
        Self { is_later: true, ..self }
    }

    fn with(self, rules: FramingRules) -> Self {
        Self { rules, ..self }
    }

    fn recv(self, recv: impl Fn(&Connection, Direction, &Chunk) -> Verdict + Send + Sync + 'static) -> Self {
        Self { recv: Box::new(recv), ..self }
    }

    /// The bytes shown of a direction, each with true if they were no whole message.
    fn take(&self, direction: Direction) -> Vec<(String, bool)> {
        std::mem::take(&mut self.shown.lock().unwrap()[direction])
    }

    #[track_caller]
    fn expect(&self, direction: Direction, messages: &[&str], rest: &[&str]) {
        let parts = |parts: &[&str], partial| parts.iter().map(|part| ((*part).to_owned(), partial)).collect::<Vec<_>>();
        assert_eq!(self.take(direction), [parts(messages, false), parts(rest, true)].concat());
    }
}

impl Hooks for Shows {
    fn framing(&self, _: &Connection) -> Option<Framed> {
        self.framed.fetch_add(1, SeqCst);
        Some(self.framing.framed(self.rules))
    }

    fn on_accept(&self, _: &Connection) -> Result<Answer<Decision>, Failed> {
        Ok(Decision::Default.into())
    }

    fn on_connect(&self, _: &Connection) -> Result<Answer<()>, Failed> {
        Ok(().into())
    }

    fn on_recv(&self, connection: &Connection, direction: Direction, chunk: &Chunk) -> Result<Answer<Verdict>, Failed> {
        let text = chunk.escape_ascii().to_string();
        self.shown.lock().unwrap()[direction].push((text, connection.is_partial(direction)));
        let verdict = (self.recv)(connection, direction, chunk);
        if !self.is_later {
            return Ok(verdict.into());
        }
        let (ticket, reply) = Ticket::new(connection);
        crate::support::peers::spawn(move || reply.complete(Ok(verdict)));
        Ok(Answer::Later(ticket))
    }

    fn on_eof(&self, _: &Connection, _: Direction) -> Result<Answer<EndVerdict>, Failed> {
        Ok(EndVerdict::Pass(Vec::new()).into())
    }

    fn on_close(&self, _: &Connection, _: bool) {}
}

/// A server with hooks, and the peers of its connections.
struct Site {
    hooks: Arc<Shows>,
    upstream: Upstream,
    running: Running,
}

impl Site {
    fn start(hooks: Shows, interest: Interest) -> Self {
        let interest = if hooks.is_later { interest.on_any_thread() } else { interest };
        let (hooks, upstream) = (Arc::new(hooks), Upstream::new());
        let running = Running::start_hooked(to(upstream.address()), hooks.clone(), interest);
        Self { hooks, upstream, running }
    }

    /// The two peers of a connection, in the order of a direction: the sender first.
    fn pair(&self, direction: Direction) -> (Peer, Peer, Connection) {
        let client = Peer::connect(self.running.address());
        let connection = self.running.connection_of(client.name());
        let upstream = self.upstream.accept();
        match direction {
            ToUpstream => (client, upstream, connection),
            ToClient => (upstream, client, connection),
        }
    }
}

/// Ends both directions in order.
#[track_caller]
fn finish(near: &mut Peer, far: &mut Peer, connection: &Connection) {
    near.half_close();
    far.expect(End::Eof);
    far.half_close();
    near.expect(End::Eof);
    assert_eq!(wait_end(connection), CloseReason::Finished);
}

/// The way in which hooks answer: at once on a lane, and later from another thread.
fn both_ways(framing: impl Framing + Copy + 'static) -> [Shows; 2] {
    [Shows::of(framing), Shows::of(framing).later()]
}

#[test]
fn hooks_are_shown_whole_messages_and_the_rest_at_the_end() {
    for hooks in both_ways(Counted) {
        let site = Site::start(hooks, BOTH);
        for direction in Direction::ALL {
            let (mut near, mut far, connection) = site.pair(direction);
            near.send(b"\x01a\x03b");
            assert_eq!(far.receive_exactly(2), b"\x01a");
            near.send(b"cd\x00\x04ef");
            assert_eq!(far.receive_exactly(5), b"\x03bcd\x00");
            near.half_close();
            assert_eq!(far.receive_exactly(3), b"\x04ef");
            far.expect(End::Eof);
            finish(&mut far, &mut near, &connection);
            site.hooks.expect(direction, &["\\x01a", "\\x03bcd", "\\x00"], &["\\x04ef"]);
        }
    }
}

#[test]
fn many_messages_of_one_read_pass_in_order_with_answers_between_them() {
    let stream: Vec<u8> = (0..20_000_u32).flat_map(|number| [2, (number >> 8) as u8, number as u8]).collect();
    let hooks = Shows::of(Counted).recv(|connection, direction, chunk| {
        if chunk[2] == 7 {
            // An answer the other way does not disturb the order.
            let answer = Bytes::copy_from_slice(chunk);
            let _ = connection.inject(direction.opposite(), answer, Patience::OnLane);
        }
        match chunk[2] % 3 {
            0 => Verdict::Pass,
            1 => Verdict::Replace(vec![Bytes::copy_from_slice(chunk)]),
            _ => Verdict::Drop,
        }
    });
    let site = Site::start(hooks, BOTH);
    for direction in Direction::ALL {
        let (mut near, mut far, connection) = site.pair(direction);
        let expected: Vec<u8> = stream.chunks(3).filter(|message| message[2] % 3 < 2).flatten().copied().collect();
        near.send(&stream);
        assert!(far.receive_exactly(expected.len()) == expected);
        assert_eq!(near.receive_exactly(3), [2, 0, 7]);
        assert_eq!(site.hooks.take(direction).len(), 20_000);
        connection.abort();
        wait_end(&connection);
    }
}

#[test]
fn another_framing_that_a_hook_sets_takes_effect_from_the_next_byte_on() {
    for hooks in both_ways(Lines) {
        let hooks = hooks.recv(|connection, direction, chunk| {
            let rules = FramingRules::default();
            match &**chunk {
                b"count\n" => connection.set_framing(direction, Some(Box::new(Counted)), rules).unwrap(),
                b"\x03end" => connection.set_framing(direction, None, rules).unwrap(),
                _ => {}
            }
            Verdict::Pass
        });
        let site = Site::start(hooks, BOTH);
        for direction in Direction::ALL {
            let (mut near, mut far, connection) = site.pair(direction);
            let stream = b"a\nb\ncount\n\x03a\nb\x03endc\nd";
            near.send(stream);
            assert_eq!(far.receive_exactly(stream.len()), stream);
            finish(&mut near, &mut far, &connection);
            // The bytes behind the last framing come as they were read.
            let shown = site.hooks.take(direction);
            let (messages, chunks) = shown.split_at(5);
            assert_eq!(
                messages.iter().map(|message| &*message.0).collect::<Vec<_>>(),
                ["a\\n", "b\\n", "count\\n", "\\x03a\\nb", "\\x03end"]
            );
            assert_eq!(chunks.iter().map(|chunk| &*chunk.0).collect::<String>(), "c\\nd");
            assert!(shown.iter().all(|part| !part.1));
        }
    }
}

#[test]
fn a_direction_that_a_hook_lets_pass_through_shows_no_further_message_and_loses_no_byte() {
    for hooks in both_ways(Lines) {
        let hooks = hooks.recv(|connection, direction, chunk| {
            if &**chunk == b"enough\n" {
                connection.pass_through(direction);
            }
            Verdict::Pass
        });
        let site = Site::start(hooks, BOTH);
        for direction in Direction::ALL {
            let (mut near, mut far, connection) = site.pair(direction);
            near.send(b"a\nenough\nb\nc");
            assert_eq!(far.receive_exactly(12), b"a\nenough\nb\nc");
            near.send(b"d\ne");
            assert_eq!(far.receive_exactly(3), b"d\ne");
            // The other direction goes on in messages.
            far.send(b"still\n");
            assert_eq!(near.receive_exactly(6), b"still\n");
            finish(&mut near, &mut far, &connection);
            site.hooks.expect(direction, &["a\\n", "enough\\n"], &[]);
            site.hooks.expect(direction.opposite(), &["still\\n"], &[]);
        }
    }
}
