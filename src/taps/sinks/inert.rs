//! Bytes of strangers, made harmless for a terminal.

/// Appends `data` as text: printable characters as they are, line feeds as `\n`, all other bytes as escapes of Python's
/// bytes. No control character comes out, and none that changes the direction of writing or has no width.
pub(super) fn push_text(out: &mut Vec<u8>, data: &[u8]) {
    for chunk in data.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_char(out, character);
        }
        chunk.invalid().iter().for_each(|byte| push_byte(out, *byte));
    }
}

fn push_char(out: &mut Vec<u8>, character: char) {
    match character {
        '\n' => out.extend(b"\\n"),
        '\r' => out.extend(b"\\r"),
        '\t' => out.extend(b"\\t"),
        '\\' => out.extend(b"\\\\"),
        ' '..='~' => out.push(character as u8),
        _ if is_harmless(character) => {
            let mut bytes = [0; 4];
            out.extend(character.encode_utf8(&mut bytes).as_bytes());
        }
        _ => {
            let mut bytes = [0; 4];
            character.encode_utf8(&mut bytes).bytes().for_each(|byte| push_byte(out, byte));
        }
    }
}

fn push_byte(out: &mut Vec<u8>, byte: u8) {
    out.extend(b"\\x");
    push_hex(out, byte);
}

/// Appends two digits.
pub(super) fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Returns true for a character beyond ASCII that a terminal shows and does nothing else with: no control (C1), no format
/// character, no separator of lines, no private use, and none of the planes of tags.
pub(super) fn is_harmless(character: char) -> bool {
    let code = u32::from(character);
    !matches!(code,
        0..=0x9f | 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180b..=0x180f
        | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164
        | 0xe000..=0xf8ff | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb
        | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..)
        && code & 0xfffe != 0xfffe
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Returns true if a terminal shows `line` and does nothing else.
    pub(in super::super) fn is_inert(text: &[u8]) -> bool {
        let text = std::str::from_utf8(text).expect("it is text");
        text.chars().all(|character| matches!(character, ' '..='~' | '\n') || is_harmless(character))
    }

    fn text(data: &[u8]) -> String {
        let mut out = Vec::new();
        push_text(&mut out, data);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn text_stays_readable_and_nothing_else_reaches_the_terminal() {
        assert_eq!(text(b"GET /\r\n\tx\\"), "GET /\\r\\n\\tx\\\\");
        assert_eq!(text("Grüße 漢字 🙂".as_bytes()), "Grüße 漢字 🙂");
        assert_eq!(text(b"\x1b[2J\x07\x9b\xff"), "\\x1b[2J\\x07\\x9b\\xff");
        assert_eq!(text("\u{202e}\u{9b}\u{200b}".as_bytes()), "\\xe2\\x80\\xae\\xc2\\x9b\\xe2\\x80\\x8b");
    }

    proptest! {
        #[test]
        fn any_bytes_are_inert(data in vec(any::<u8>(), 0..200), word in "\\PC*|.*") {
            prop_assert!(is_inert(text(&data).as_bytes()));
            prop_assert!(is_inert(text(word.as_bytes()).as_bytes()));
        }
    }
}
