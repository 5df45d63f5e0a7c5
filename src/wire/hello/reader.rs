//! Takes a hello out of records, as bytes come in pieces of any size. No byte is looked at twice, and lengths are checked
//! when they are read: nothing waits for bytes that would be refused.

use super::{
    client_hello::ClientHello,
    message,
    refusal::{MOST, Refusal},
};

/// The type of a record that carries a handshake.
const HANDSHAKE: u8 = 22;
/// Maximum bytes of a record without encryption (RFC 8446 §5.1).
const MOST_IN_RECORD: usize = 1 << 14;
/// The bytes of a record in front of its contents.
const RECORD_HEADER: usize = 5;
/// The bytes of a message in front of its contents.
const MESSAGE_HEADER: usize = 4;

/// The bytes of a hello that have come so far.
#[derive(Debug, Default)]
pub struct Reader {
    /// The header of the record that is read.
    header: [u8; RECORD_HEADER],
    in_header: usize,
    /// The bytes of the record that have not come.
    left: usize,
    /// All bytes that have come.
    total: usize,
    /// The message, with its header.
    message: Vec<u8>,
}

impl Reader {
    /// Takes the next bytes. Returns the hello once it is whole; bytes behind the record in which it ends are not looked at.
    /// After a refusal or a hello, nothing more is to be pushed.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<ClientHello>, Refusal> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (next, behind) = bytes.split_at(1);
                self.header[self.in_header] = next[0];
                self.in_header += 1;
                self.total += 1;
                bytes = behind;
                self.check_header()?;
                continue;
            }
            let (part, behind) = bytes.split_at(self.left.min(bytes.len()));
            bytes = behind;
            self.left -= part.len();
            self.total += part.len();
            self.message.extend_from_slice(part);
            if let Some(hello) = self.read_message()? {
                return Ok(Some(hello));
            }
        }
        Ok(None)
    }

    /// Returns the number of bytes of the hello that were pushed, with the headers of its records.
    pub fn taken(&self) -> usize {
        self.total
    }

    /// Checks the byte of the header that has come last, and begins the contents behind the last one of all.
    fn check_header(&mut self) -> Result<(), Refusal> {
        let last = self.header[self.in_header - 1];
        match self.in_header {
            1 if last != HANDSHAKE && self.message.is_empty() => Err(Refusal::NotTls),
            1 if last != HANDSHAKE => Err(Refusal::Broken("another record comes in the middle of it")),
            2 if last != 3 && self.message.is_empty() => Err(Refusal::NotTls),
            2 if last != 3 => Err(Refusal::Broken("a record of it has no version of TLS")),
            RECORD_HEADER => {
                self.in_header = 0;
                self.left = usize::from(u16::from_be_bytes([self.header[3], last]));
                match self.left {
                    0 => Err(Refusal::Broken("a record of it is empty")),
                    left if left > MOST_IN_RECORD => Err(Refusal::Broken("a record of it is longer than TLS allows")),
                    left if self.total + left > MOST => Err(Refusal::TooLong),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn read_message(&self) -> Result<Option<ClientHello>, Refusal> {
        let Some((header, contents)) = self.message.split_first_chunk::<MESSAGE_HEADER>() else {
            return self.message.first().map_or(Ok(None), |kind| check_kind(*kind).map(|()| None));
        };
        let [kind, length @ ..] = *header;
        check_kind(kind)?;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        if length > MOST - RECORD_HEADER - MESSAGE_HEADER {
            return Err(Refusal::TooLong);
        }
        // Nothing may follow the hello in its record: the server's answer comes first.
        match contents.len() + self.left {
            coming if coming > length => Err(Refusal::Broken("its record goes on behind it")),
            _ if contents.len() < length => Ok(None),
            _ => message::read(contents).map(Some),
        }
    }
}

fn check_kind(kind: u8) -> Result<(), Refusal> {
    if kind == 1 { Ok(()) } else { Err(Refusal::Broken("its first message is another")) }
}
