//! The one error type of the core: what failed, why, and what to try.

use std::{fmt, io};

/// The kind of an [`Error`], coarse enough to choose an exception class by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An address text does not follow the grammar of [`Address`](crate::words::addr::Address).
    Address,
    /// A setting is out of its range, or two settings contradict each other.
    Config,
    /// The listening socket cannot be opened.
    Bind,
    /// The listening socket needs a privilege this process does not have.
    BindPermission,
    /// A name has no address.
    Resolve,
    /// The server has been stopped.
    Stopped,
    /// The upstream cannot be connected.
    Connect,
    /// A certificate, a key or a setting of TLS cannot be used.
    Tls,
    /// A file of TLS cannot be read or written.
    TlsFile,
    /// The machine refused a thread, a descriptor or memory for the runtime.
    Runtime,
}

/// An error with one line of text: `what: why; what to try`.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    /// Returns an error whose `message` is complete.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Returns an error of the operating system; `source` keeps its number.
    pub fn from_io(kind: ErrorKind, message: impl Into<String>, source: io::Error) -> Self {
        Self { kind, message: message.into(), source: Some(source) }
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the operating system's number (`errno`), if there is one.
    pub fn os_error(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Returns the operating system's text for `error`, without the number that std appends.
pub(crate) fn reason_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// Returns `text` with every character on which a terminal or a log could act written as an escape.
pub fn printable(text: &str) -> String {
    let inert = |c: char| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if text.chars().all(inert) {
        return text.to_owned();
    }
    text.chars().map(|c| if inert(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_leaves_nothing_a_terminal_acts_on() {
        assert_eq!(printable("plain é"), "plain é");
        assert_eq!(printable("a\x1b[2J\n\u{202e}b\u{9b}"), "a\\u{1b}[2J\\n\\u{202e}b\\u{9b}");
    }

    #[test]
    fn reason_text_drops_the_number() {
        assert_eq!(reason_text(&io::Error::from_raw_os_error(111)), "connection refused");
    }
}
