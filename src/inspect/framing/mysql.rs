//! MySQL and MariaDB.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::{
    inspect::framing::{
        framer::{Broken, Cut, Framer},
        length_field::{LengthField, TooLong},
        spec::Framing,
    },
    words::{direction::Both, lock::EvenPoisoned},
};

const PROTOCOL: &str = "mysql";

/// The length of a packet's header: three bytes of length, the lowest first, and a sequence number.
const HEADER: usize = 4;

/// The payload of a packet that continues in the next one.
const FULL: usize = 0xff_ffff;

/// The packets of MySQL's client/server protocol. Packets that continue each other are one message.
///
/// Behind the client's request for TLS both directions are unframed, and so they are once a client that has asked for
/// compression is let on: what packets are then compressed into has other headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mysql;

impl Framing for Mysql {
    fn protocol(&self) -> &'static str {
        PROTOCOL
    }

    fn framers(&self) -> Both<Box<dyn Framer>> {
        let login = Arc::new(Mutex::new(Login::Greeting));
        let framer = |sender| Box::new(Packets { sender, login: Arc::clone(&login), next: 0 });
        Both { to_upstream: framer(Sender::Client), to_client: framer(Sender::Server) }
    }

    fn needs_both(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}

/// The state of the login, which both directions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// The client has sent nothing.
    Greeting,
    /// The server has not let the client on, who has asked for compression from then on.
    Compressing,
    /// Packets as they are from now on.
    Plain,
    /// TLS or compression has begun.
    Left,
}

/// The framer of one direction.
#[derive(Debug)]
struct Packets {
    sender: Sender,
    login: Arc<Mutex<Login>>,
    /// The beginning of the message's packet that is not complete.
    next: usize,
}

impl Framer for Packets {
    fn protocol(&self) -> &'static str {
        PROTOCOL
    }

    fn cut(&mut self, buffer: &[u8], _: usize) -> Result<Cut, Broken> {
        if self.locked(|login| *login == Login::Left) {
            return Ok(Cut::Unframed);
        }
        while let Some(header) = buffer.get(self.next..self.next + HEADER) {
            self.check_number(buffer, header[3])?;
            let length = length_in(header);
            let end = self.next + HEADER + length;
            if length == FULL {
                self.next = end;
            } else if end <= buffer.len() {
                self.next = 0;
                self.locked(|login| *login = login.behind(self.sender, &buffer[..end]));
                return Ok(Cut::Message(end));
            } else {
                return Ok(Cut::More { least: Some(end as u64) });
            }
        }
        let least = (self.next + HEADER) as u64;
        Ok(Cut::More { least: Some(least) })
    }

    fn begin_anew(&mut self) {
        self.next = 0;
        self.locked(|login| *login = Login::Greeting);
    }

    fn length_field(&self) -> Option<Arc<dyn LengthField>> {
        Some(Arc::new(PacketLength))
    }
}

impl Packets {
    /// Checks the sequence number of a packet that continues another: it is the next one.
    fn check_number(&self, buffer: &[u8], number: u8) -> Result<(), Broken> {
        let wanted = match self.next {
            0 => return Ok(()),
            next => buffer[next - FULL - 1].wrapping_add(1),
        };
        if number == wanted {
            return Ok(());
        }
        Err(Broken::at(self.next + 3, format!("the sequence number {wanted} of a packet that continues another")))
    }

    /// No framer panics while it has the lock.
    fn locked<R>(&self, f: impl FnOnce(&mut Login) -> R) -> R {
        f(&mut self.login.lock().even_poisoned())
    }
}

impl Login {
    /// Returns the state behind a message.
    fn behind(self, sender: Sender, message: &[u8]) -> Self {
        match (self, sender) {
            // A command has the sequence number 0; the framing has begun behind the login then.
            (Self::Greeting, Sender::Client) if message[3] == 0 => Self::Plain,
            (Self::Greeting, Sender::Client) => answer_of_client(&message[HEADER..]),
            // A packet that begins with 0 is the OK which ends the login.
            (Self::Compressing, Sender::Server) if message.get(HEADER) == Some(&0) => Self::Left,
            (login, _) => login,
        }
    }
}

/// Capabilities of a client, the first bytes of its answer to the server's greeting.
const CLIENT_COMPRESS: u32 = 1 << 5;
const CLIENT_PROTOCOL_41: u32 = 1 << 9;
const CLIENT_SSL: u32 = 1 << 11;
const CLIENT_ZSTD: u32 = 1 << 26;

/// The payload of a request for TLS: an answer to the greeting that ends before the user's name. In the protocol before 4.1 the
/// capabilities have two bytes instead of four.
const SSL_REQUEST: usize = 32;
const OLD_SSL_REQUEST: usize = 5;

/// Returns the state behind the client's first message.
fn answer_of_client(payload: &[u8]) -> Login {
    let byte = |at: usize| payload.get(at).map_or(0, |byte| u32::from(*byte) << (8 * at));
    let low = byte(0) | byte(1);
    let is_new = low & CLIENT_PROTOCOL_41 != 0;
    let capabilities = if is_new { low | byte(2) | byte(3) } else { low };
    let request = if is_new { SSL_REQUEST } else { OLD_SSL_REQUEST };
    if capabilities & CLIENT_SSL != 0 && payload.len() == request {
        Login::Left
    } else if capabilities & (CLIENT_COMPRESS | CLIENT_ZSTD) != 0 {
        Login::Compressing
    } else {
        Login::Plain
    }
}

fn length_in(header: &[u8]) -> usize {
    usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
}

/// The length field of a packet.
#[derive(Debug)]
struct PacketLength;

impl LengthField for PacketLength {
    /// Returns `instead` with the length of its one packet. Packets that continue each other are returned as they are, and are
    /// too long if their headers are not right.
    fn set(&self, _: &[u8], instead: Bytes) -> Result<Bytes, TooLong> {
        let Some(payload) = instead.len().checked_sub(HEADER) else { return Ok(instead) };
        if is_whole(&instead) {
            return Ok(instead);
        }
        if payload >= FULL {
            return Err(TooLong { length: instead.len(), most: (HEADER + FULL - 1) as u64 });
        }
        let mut set = instead.to_vec();
        set[..3].copy_from_slice(&(payload as u32).to_le_bytes()[..3]);
        Ok(set.into())
    }
}

/// Returns true if `message` is one packet, or packets that continue each other up to the last one.
fn is_whole(message: &[u8]) -> bool {
    let mut rest = message;
    while let Some((header, behind)) = rest.split_at_checked(HEADER) {
        let length = length_in(header);
        let Some(behind) = behind.get(length..) else { return false };
        if length < FULL {
            return behind.is_empty();
        }
        rest = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        inspect::framing::testing::{
            every_split, every_split_of_turns,
            garbage::{garbage_is_harmless, holds, parts, sizes},
            messages, rest,
        },
        words::direction::Direction::{self, ToClient, ToUpstream},
    };

    fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_le_bytes();
        [&length[..3], &[number], payload].concat()
    }

    /// Returns the client's answer to the greeting, with these capabilities and what stands behind the filler.
    fn answer(capabilities: u32, behind: &[u8]) -> Vec<u8> {
        let fixed = [&capabilities.to_le_bytes()[..], &[0, 0, 0, 1, 45], &[0; 23]].concat();
        packet(1, &[&fixed, behind].concat())
    }

    const PLAIN: u32 = 0x0208;

    /// Expects of these turns that each is one message, but for the last one of each direction, which is unframed.
    #[track_caller]
    fn unframed_at_last(turns: &[(Direction, Vec<u8>)]) {
        let of = |direction| {
            let mut texts: Vec<&Vec<u8>> = turns.iter().filter(|turn| turn.0 == direction).map(|turn| &turn.1).collect();
            let last = texts.pop().unwrap();
            [messages(texts), vec![rest(last)]].concat()
        };
        let bytes: Vec<(Direction, &[u8])> = turns.iter().map(|(direction, bytes)| (*direction, &bytes[..])).collect();
        every_split_of_turns(&Mysql, &bytes, &Both { to_upstream: of(ToUpstream), to_client: of(ToClient) });
    }

    #[test]
    fn packets_are_messages_wherever_the_stream_is_split() {
        let all = [answer(PLAIN | CLIENT_SSL, b"root\0"), packet(0, b"\x03SELECT 1"), packet(0, b"\x01"), packet(7, b"")];
        every_split(&Mysql, &all.concat(), &messages(&all));
        every_split(&Mysql, b"\x05\0\0\0four", &[rest(b"\x05\0\0\0four")]);
        garbage_is_harmless(&Mysql, &all.concat());
    }

    #[test]
    fn behind_a_request_for_tls_both_directions_are_unframed() {
        let greeting = packet(0, b"\x0a8.0.36\0");
        let hello = |name: &str| format!("\u{16}\u{3}\u{1} {name}").into_bytes();
        for request in [answer(PLAIN | CLIENT_SSL, b""), packet(1, &[0, 0x08, 0, 0, 1])] {
            unframed_at_last(&[
                (ToClient, greeting.clone()),
                (ToUpstream, request),
                (ToUpstream, hello("of the client")),
                (ToClient, hello("of the server")),
            ]);
        }
    }

    /// The login itself is not compressed, whatever its number of messages.
    #[test]
    fn behind_the_login_of_a_client_that_compresses_both_directions_are_unframed() {
        for capability in [CLIENT_COMPRESS, CLIENT_ZSTD] {
            unframed_at_last(&[
                (ToClient, packet(0, b"\x0a8.0.36\0")),
                (ToUpstream, answer(PLAIN | capability, b"root\0")),
                (ToClient, packet(2, b"\xfecaching_sha2_password\0")),
                (ToUpstream, packet(3, b"\0")),
                (ToClient, packet(4, b"\x01\x03")),
                (ToClient, packet(5, b"\0\0\0\x02\0\0\0")),
                (ToUpstream, b"\x0a\0\0\0\0\0\0 compressed".to_vec()),
                (ToClient, b"\x07\0\0\x01\0\0\0 compressed".to_vec()),
            ]);
        }
    }

    /// A framing that is set behind the login sees commands first, whose bytes are no capabilities.
    #[test]
    fn a_command_is_not_taken_for_the_login() {
        let command = packet(0, &[[0xff; 4].as_slice(), &[0; 28]].concat());
        every_split(&Mysql, &[&command[..], &command].concat(), &messages([&command, &command]));
    }

    #[test]
    fn packets_that_continue_each_other_are_one_message() {
        let full = vec![b'x'; FULL];
        let long = [packet(254, &full), packet(255, &full), packet(0, b"end")].concat();
        let exact = [packet(0, &full), packet(1, b"")].concat();
        let stream = [&long[..], &exact, &packet(0, b"\x01")].concat();
        let sizes = [5_000_000, FULL + HEADER + 1, 3];
        let expected = messages([&long[..], &exact, b"\x01\0\0\0\x01"]);
        // Not by assert_eq, which would print it all.
        assert!(parts(&Mysql, ToUpstream, &stream, &[stream.len()]) == expected);
        let mut framer = Mysql.framers().to_client;
        let (mut buffer, mut seen) = (&stream[..0], 0);
        for size in sizes {
            seen = buffer.len();
            buffer = &stream[..seen + size];
            assert!(matches!(framer.cut(buffer, seen), Ok(Cut::More { least: Some(_) })));
        }
        assert_eq!(framer.cut(&stream, seen), Ok(Cut::Message(long.len())));

        let wrong = [packet(254, &full), packet(254, b"end")].concat();
        let expected = "the sequence number 255 of a packet that continues another";
        assert_eq!(Mysql.framers().to_client.cut(&wrong, 0), Err(Broken::at(FULL + HEADER + 3, expected)));
    }

    #[test]
    fn random_packets_come_out_as_they_were_made() {
        holds((vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..6), sizes()), |(packets, sizes)| {
            let packets: Vec<Vec<u8>> = packets.iter().map(|(number, payload)| packet(*number, payload)).collect();
            // The upstream's, whose answers change nothing before the client has sent anything.
            assert_eq!(parts(&Mysql, ToClient, &packets.concat(), &sizes), messages(packets));
        });
    }

    #[test]
    fn the_length_field_says_the_length_of_one_packet() {
        let set = |instead: Vec<u8>| PacketLength.set(b"", instead.into()).map(|set| set.to_vec());
        assert_eq!(set(b"\x01\0\0\x09SELECT 1".to_vec()), Ok(packet(9, b"SELECT 1")));
        let mut longest = packet(0, &vec![b'x'; FULL - 1]);
        longest[0] = 0;
        assert_eq!(set(longest).unwrap()[..4], [0xfe, 0xff, 0xff, 0]);
        let right = Bytes::from(packet(0, b"a"));
        assert_eq!(PacketLength.set(b"", right.clone()).unwrap().as_ptr(), right.as_ptr());
        assert_eq!(set(b"\0\0\x01".to_vec()), Ok(b"\0\0\x01".to_vec()));

        let full = vec![b'x'; FULL];
        let two = [packet(0, &full), packet(1, b"end")].concat();
        assert!(set(two.clone()) == Ok(two.clone()));
        let longer = [&two[..], b"!"].concat();
        assert_eq!(set(longer.clone()).err(), Some(TooLong { length: longer.len(), most: 0x0100_0002 }));
    }
}
