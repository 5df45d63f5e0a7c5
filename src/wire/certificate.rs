//! X.509 certificates: whom one is for, who has signed it, and how long it is good.
//!
//! Only what is shown to people: nothing here decides about trust. Bytes that are no certificate are `None`.

use std::{fmt::Write, net::IpAddr};

use crate::words::error::printable;

/// Maximum number of names that are read of one certificate.
const MOST_NAMES: usize = 256;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
/// The tags of the version, and of the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// The tags of a name in the list of names: an address of mail, a host, a URI, an IP address.
const MAIL: u8 = 0x81;
const HOST: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// The list of names (2.5.29.17).
const NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// The kinds of keys, and of curves.
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The short words for parts of a name.
const PARTS: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// The kind of a certificate's key, as far as one of the same kind can be made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on the curve P-256.
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA and all others.
    Other,
}

/// The properties of a certificate that people look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The one that it is for, as `CN=db.example.com, O=Example`.
    pub subject: String,
    /// The one that has signed it, written likewise.
    pub issuer: String,
    /// The host names, IP addresses, addresses of mail and URIs that it is for.
    pub names: Vec<String>,
    /// The first second in which it is good, and the last, counted from the beginning of 1970.
    pub validity: (i64, i64),
    /// The kind of its key.
    pub key: KeyKind,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut signed = Der(Der(Der(der).of(SEQUENCE)?).of(SEQUENCE)?);
        if signed.tag() == Some(VERSION) {
            signed.next()?;
        }
        // The number, and the kind of the signature.
        signed.next()?;
        signed.next()?;
        let issuer = name(signed.of(SEQUENCE)?)?;
        let mut validity = Der(signed.of(SEQUENCE)?);
        let validity = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = name(signed.of(SEQUENCE)?)?;
        let key = key_kind(signed.of(SEQUENCE)?)?;
        // Two numbers that nobody uses, and the extensions.
        let mut names = Vec::new();
        while let Some((tag, content)) = signed.next() {
            if tag == EXTENSIONS {
                names = names_of(content)?;
            }
        }
        Some(Self { subject, issuer, names, validity, key })
    }
}

/// The rest of an encoding: elements, each a tag, a length and a content.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes the next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (digits, behind) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        Some((tag, content))
    }

    /// Takes the next element, which has to have this tag.
    fn of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// Writes a name: `CN=db.example.com, O=Example`.
fn name(content: &[u8]) -> Option<String> {
    let (mut parts, mut text) = (Der(content), String::new());
    while parts.tag().is_some() {
        let mut set = Der(parts.of(SET)?);
        while set.tag().is_some() {
            let mut part = Der(set.of(SEQUENCE)?);
            let (kind, (tag, value)) = (part.of(OBJECT)?, part.next()?);
            let separator = if text.is_empty() { "" } else { ", " };
            let word =
                PARTS.iter().find(|(number, _)| *number == kind).map_or_else(|| numbers(kind), |(_, word)| (*word).to_owned());
            let _ = write!(text, "{separator}{word}={}", value_of(tag, value));
        }
    }
    Some(text)
}

/// Returns the text of a value, with backslashes before what would end it.
fn value_of(tag: u8, value: &[u8]) -> String {
    let text = if tag == BMP_STRING {
        let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    } else {
        String::from_utf8_lossy(value).into_owned()
    };
    printable(&text.replace('\\', "\\\\").replace(',', "\\,"))
}

/// Writes the number of a kind: `2.5.4.97`.
fn numbers(kind: &[u8]) -> String {
    let (mut text, mut number) = (String::new(), 0_u64);
    for byte in kind {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (number / 40).min(2);
            let _ = write!(text, "{first}.{}", number - 40 * first);
        } else {
            let _ = write!(text, ".{number}");
        }
        number = 0;
    }
    text
}

/// Returns the kind of a public key (RFC 5480, section 2.1.1; RFC 8410, section 3).
fn key_kind(content: &[u8]) -> Option<KeyKind> {
    let mut algorithm = Der(Der(content).of(SEQUENCE)?);
    let kind = algorithm.of(OBJECT)?;
    let curve = algorithm.of(OBJECT);
    Some(match (kind, curve) {
        (EC_KEY, Some(P256)) => KeyKind::P256,
        (EC_KEY, Some(P384)) => KeyKind::P384,
        (ED25519, _) => KeyKind::Ed25519,
        _ => KeyKind::Other,
    })
}

/// Returns the names among the extensions.
fn names_of(content: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(Der(content).of(SEQUENCE)?);
    while extensions.tag().is_some() {
        let mut extension = Der(extensions.of(SEQUENCE)?);
        if extension.of(OBJECT)? != NAMES {
            continue;
        }
        // Behind the kind there may be a word about its weight.
        let mut last = extension.next()?.1;
        while let Some((_, content)) = extension.next() {
            last = content;
        }
        let (mut names, mut found) = (Der(Der(last).of(SEQUENCE)?), Vec::new());
        while let (Some((tag, value)), true) = (names.next(), found.len() < MOST_NAMES) {
            match tag {
                MAIL | HOST | URI => found.push(printable(&String::from_utf8_lossy(value))),
                IP => found.extend(address(value).map(|address| address.to_string())),
                _ => {}
            }
        }
        return Some(found);
    }
    Some(Vec::new())
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Returns a time in seconds from the beginning of 1970.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |at: usize, length: usize| -> Option<i64> {
        let part = digits.get(at..at + length)?;
        part.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    };
    let (year, rest) = match tag {
        // Two digits are of the years 1950 to 2049.
        UTC_TIME => (number(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        GENERALIZED_TIME => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |place: usize| number(rest + 2 * place, 2);
    let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    if year == 0 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Returns the number of days from the beginning of 1970: years begin in March here, so that a leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> Vec<u8> {
        let mut wanted = rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        wanted.distinguished_name = rcgen::DistinguishedName::new();
        wanted.distinguished_name.push(rcgen::DnType::CommonName, "db, the first\u{202e}");
        wanted.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        wanted.not_before = rcgen::date_time_ymd(2024, 2, 29);
        wanted.not_after = rcgen::date_time_ymd(2050, 1, 1);
        wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_properties_are_read() {
        let read = Certificate::read(&made(&["db.example.com", "127.0.0.1", "::1"])).unwrap();
        assert_eq!(read.subject, "CN=db\\, the first\\u{202e}, O=Example");
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.names, ["db.example.com", "127.0.0.1", "::1"]);
        assert_eq!(read.validity, (1_709_164_800, 2_524_608_000));
        assert_eq!(Certificate::read(&made(&[])).unwrap().names, Vec::<String>::new());
    }

    #[test]
    fn what_is_cut_off_or_changed_does_no_harm() {
        let whole = made(&["db.example.com"]);
        for length in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..length]), None, "{length}");
            for byte in [0, 1, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[length] = byte;
                let _ = Certificate::read(&changed);
            }
        }
    }

    #[test]
    fn the_kind_of_the_key_is_read() {
        use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
        for (algorithm, kind) in [
            (&PKCS_ECDSA_P256_SHA256, KeyKind::P256),
            (&PKCS_ECDSA_P384_SHA384, KeyKind::P384),
            (&PKCS_ED25519, KeyKind::Ed25519),
        ] {
            let made = CertificateParams::default().self_signed(&KeyPair::generate_for(algorithm).unwrap()).unwrap();
            assert_eq!(Certificate::read(made.der()).unwrap().key, kind);
        }
    }

    #[test]
    fn kinds_without_a_word_are_numbers() {
        assert_eq!(numbers(&[0x55, 4, 97]), "2.5.4.97");
        assert_eq!(numbers(&[0x2a, 0x86, 0x48]), "1.2.840");
    }

    #[test]
    fn times_have_years_of_two_digits_or_of_four() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "701301000000Z", None),
            (GENERALIZED_TIME, "00000101000000Z", None),
            (UTC_TIME, "7001010000Z", None),
            (0x04, "700101000000Z", None),
        ] {
            assert_eq!(time((tag, text.as_bytes())), seconds, "{text}");
        }
    }
}
