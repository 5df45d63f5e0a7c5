//! JA4, the fingerprint of a client's offers, as FoxIO has specified it: what the offers are like, and two hashes of them in
//! an order that the client does not choose.

use std::fmt::Write;

use ring::digest::{Context, SHA256};

use super::client_hello::{ClientHello, PROTOCOLS, SERVER_NAME, Version};

/// The bytes of a hash that are shown, two letters each.
const SHOWN: usize = 6;

impl ClientHello {
    /// Returns the fingerprint of the client's offers by the method JA4 of FoxIO: equal for all connections of a program that
    /// offers the same.
    pub fn ja4(&self) -> String {
        of(self)
    }
}

/// Returns the fingerprint of a hello over TCP.
fn of(hello: &ClientHello) -> String {
    let mut text = String::with_capacity(36);
    let named = if hello.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let (suites, extensions) = (hello.cipher_suites.len().min(99), hello.extensions.len().min(99));
    let [first, last] = protocol(hello.alpn().next());
    let version = version(hello.versions.iter().max());
    let _ = write!(text, "t{version}{named}{suites:02}{extensions:02}{first}{last}_");
    hash(&sorted(&hello.cipher_suites, |_| true), &[], &mut text);
    text.push('_');
    // Their presence is in the first part already, so that a program has the same last part whatever it asks for.
    let kept = sorted(&hello.extensions, |kind| !matches!(kind, SERVER_NAME | PROTOCOLS));
    hash(&kept, &hello.signatures, &mut text);
    text
}

fn version(highest: Option<&Version>) -> &'static str {
    match highest {
        Some(Version(0x0304)) => "13",
        Some(Version(0x0303)) => "12",
        Some(Version(0x0302)) => "11",
        Some(Version(0x0301)) => "10",
        Some(Version(0x0300)) => "s3",
        _ => "00",
    }
}

/// Returns the first and the last character of a protocol's name, or of its bytes in hexadecimal if one is no letter or digit.
fn protocol(name: Option<&[u8]>) -> [char; 2] {
    let Some((first, last)) = name.and_then(|name| name.first().zip(name.last())) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 0x0f)]
}

fn sorted(numbers: &[u16], keep: impl Fn(u16) -> bool) -> Vec<u16> {
    let mut sorted: Vec<u16> = numbers.iter().copied().filter(|number| keep(*number)).collect();
    sorted.sort_unstable();
    sorted
}

/// Appends the beginning of the hash of two lists, of which the second may be missing; zeros if the first is empty.
fn hash(list: &[u16], second: &[u16], text: &mut String) {
    if list.is_empty() {
        text.push_str("000000000000");
        return;
    }
    // Fed number by number: the text of a long list is not kept.
    let mut context = Context::new(&SHA256);
    let mut feed = |list: &[u16], before: &str| {
        for (at, number) in list.iter().enumerate() {
            let before = if at == 0 { before } else { "," };
            context.update(format!("{before}{number:04x}").as_bytes());
        }
    };
    feed(list, "");
    feed(second, "_");
    for byte in context.finish().as_ref().iter().take(SHOWN) {
        let _ = write!(text, "{byte:02x}");
    }
}
