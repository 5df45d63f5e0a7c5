//! The blocks of a pcapng file that are written: section header, interface description, packet, statistics,
//! secrets.
//!
//! All numbers are little-endian; a reader takes the order from the section header. Times are in nanoseconds.

/// A block's type.
pub mod kind {
    pub const SECTION: u32 = 0x0A0D_0D0A;
    pub const INTERFACE: u32 = 1;
    pub const OLD_PACKET: u32 = 2;
    pub const SIMPLE_PACKET: u32 = 3;
    pub const STATISTICS: u32 = 5;
    pub const PACKET: u32 = 6;
    pub const SECRETS: u32 = 10;
}

/// An option's code, where it means the same in the blocks that are written here.
pub mod option {
    pub const END: u16 = 0;
    pub const COMMENT: u16 = 1;
    /// Of a section: the program that wrote it. Of an interface: see [`INTERFACE_NAME`].
    pub const APPLICATION: u16 = 4;
    pub const INTERFACE_NAME: u16 = 2;
    pub const INTERFACE_DESCRIPTION: u16 = 3;
    /// Of statistics: packets that were seen, and those of them that were left out.
    pub const RECEIVED: u16 = 4;
    pub const DROPPED: u16 = 5;
    pub const TIME_RESOLUTION: u16 = 9;
    pub const TIME_OFFSET: u16 = 14;
    /// Of a packet: its way, in the lowest two bits.
    pub const FLAGS: u16 = 2;
}

/// The mark in a section header from which a reader takes the order of bytes.
pub const BYTE_ORDER: u32 = 0x1A2B_3C4D;

/// Packets that begin with an IP header, of either version.
pub const LINK_RAW: u16 = 101;

/// Keys of TLS in the lines of `SSLKEYLOGFILE`.
pub const SECRETS_TLS: u32 = 0x544C_534B;

/// The number of bytes of a block of secrets before the secrets.
pub const SECRETS_HEADER: usize = 16;

/// Maximum length of one comment; the rest is left out.
pub const LONGEST_COMMENT: usize = 1024;

/// The way of a packet, as seen from the program that captures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It came in.
    In = 1,
    /// It went out.
    Out = 2,
}

/// The beginning and the length of a block that is being written.
struct Open(usize);

impl Open {
    fn block(out: &mut Vec<u8>, kind: u32) -> Self {
        let start = out.len();
        out.extend(kind.to_le_bytes());
        out.extend([0; 4]);
        Self(start)
    }

    /// Writes both lengths.
    fn close(self, out: &mut Vec<u8>) {
        let length = length(out.len() - self.0 + 4);
        out[self.0 + 4..self.0 + 8].copy_from_slice(&length);
        out.extend(length);
    }
}

/// Returns a length as a block has it. The blocks that are written here are shorter than 4 GiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend(&[0; 3][..padding(length)]);
}

fn put_option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Texts are shortened before, other values have a few bytes.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(code.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(&value[..usize::from(length)]);
    pad(out, usize::from(length));
}

/// Writes a time: its upper half, then its lower one.
fn put_time(out: &mut Vec<u8>, at: u64) {
    out.extend(u32::try_from(at >> 32).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(u32::try_from(at & u64::from(u32::MAX)).unwrap_or(u32::MAX).to_le_bytes());
}

fn end_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

/// Returns the beginning of `text` that a comment has room for.
pub fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_COMMENT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Begins a section, which `application` has written.
pub fn section(out: &mut Vec<u8>, application: &str) {
    let block = Open::block(out, kind::SECTION);
    out.extend(BYTE_ORDER.to_le_bytes());
    out.extend(1_u16.to_le_bytes());
    out.extend(0_u16.to_le_bytes());
    // The section's length is not known before its end.
    out.extend((-1_i64).to_le_bytes());
    put_option(out, option::APPLICATION, shortened(application).as_bytes());
    end_options(out);
    block.close(out);
}

/// Describes the next interface; the first has number 0.
pub fn interface(out: &mut Vec<u8>, link: u16, snap_length: u32, name: &str, description: &str) {
    let block = Open::block(out, kind::INTERFACE);
    out.extend(link.to_le_bytes());
    out.extend([0; 2]);
    out.extend(snap_length.to_le_bytes());
    put_option(out, option::INTERFACE_NAME, shortened(name).as_bytes());
    put_option(out, option::INTERFACE_DESCRIPTION, shortened(description).as_bytes());
    put_option(out, option::TIME_RESOLUTION, &[9]);
    end_options(out);
    block.close(out);
}

/// Writes the figures of an interface: the packets that were seen at it, and those of them that were left out.
pub fn statistics(out: &mut Vec<u8>, interface: u32, at: u64, seen: u64, left_out: u64) {
    let block = Open::block(out, kind::STATISTICS);
    out.extend(interface.to_le_bytes());
    put_time(out, at);
    put_option(out, option::RECEIVED, &seen.to_le_bytes());
    put_option(out, option::DROPPED, &left_out.to_le_bytes());
    end_options(out);
    block.close(out);
}

/// Writes secrets with which later packets are decrypted, such as [`SECRETS_TLS`].
pub fn secrets(out: &mut Vec<u8>, kind: u32, secrets: &[u8]) {
    let block = Open::block(out, kind::SECRETS);
    out.extend(kind.to_le_bytes());
    out.extend(length(secrets.len()));
    out.extend(secrets);
    pad(out, secrets.len());
    block.close(out);
}

/// A packet without its bytes.
#[derive(Debug, Clone, Copy)]
pub struct PacketFields<'a> {
    /// The number of its interface.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub at: u64,
    /// The number of bytes that are written.
    pub captured: usize,
    /// The number of bytes that the packet had.
    pub original: usize,
    /// Its way.
    pub way: Way,
    /// Texts that are shown with the packet.
    pub comments: &'a [String],
}

impl PacketFields<'_> {
    fn options(&self) -> usize {
        let comments = self.comments.iter().map(|text| shortened(text).len());
        let comments = comments.map(|length| 4 + length + padding(length)).sum::<usize>();
        8 + comments + 4
    }

    /// Writes what stands before the packet's bytes.
    pub fn head(&self, out: &mut Vec<u8>) {
        let length = self.length();
        out.extend(kind::PACKET.to_le_bytes());
        out.extend(length);
        out.extend(self.interface.to_le_bytes());
        put_time(out, self.at);
        out.extend(self::length(self.captured));
        out.extend(self::length(self.original));
    }

    /// Writes what stands behind the packet's bytes.
    pub fn tail(&self, out: &mut Vec<u8>) {
        pad(out, self.captured);
        put_option(out, option::FLAGS, &(self.way as u32).to_le_bytes());
        for text in self.comments {
            put_option(out, option::COMMENT, shortened(text).as_bytes());
        }
        end_options(out);
        out.extend(self.length());
    }

    fn length(&self) -> [u8; 4] {
        length(28 + self.captured + padding(self.captured) + self.options() + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_its_length_at_both_ends_and_is_padded_to_words() {
        for size in 0..9 {
            for comments in [vec![], vec!["a".to_owned(), "é".repeat(LONGEST_COMMENT)]] {
                let mut out = Vec::new();
                let (captured, original) = (size, size + 1);
                let fields =
                    PacketFields { interface: 1, at: (7 << 32) + 9, captured, original, way: Way::Out, comments: &comments };
                fields.head(&mut out);
                out.extend(vec![0xAA; size]);
                fields.tail(&mut out);
                let number = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap()) as usize;
                assert_eq!((out.len() % 4, number(4), number(out.len() - 4)), (0, out.len(), out.len()));
                assert_eq!((number(8), number(12), number(16), number(20), number(24)), (1, 7, 9, size, size + 1));
                assert_eq!(out.len() > 1000, !comments.is_empty());
            }
        }
    }

    #[test]
    fn a_long_text_is_shortened_between_characters() {
        assert_eq!(shortened(&format!("x{}", "é".repeat(LONGEST_COMMENT))).len(), LONGEST_COMMENT - 1);
        assert_eq!(shortened("short"), "short");
    }
}
