//! The reasons why bytes are no hello that can be routed, in one line each, and the alert that tells the client.

use std::fmt;

/// Maximum bytes of a hello on the wire, with the headers of its records.
pub const MOST: usize = 16 * 1024;

/// A reason why the bytes of a client are no hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The client does not speak TLS.
    NotTls,
    /// The message breaks the protocol: the line says where.
    Broken(&'static str),
    /// The message is longer than [`MOST`].
    TooLong,
    /// The name that is asked for is none.
    BadName(&'static str),
}

impl Refusal {
    /// Returns the number of the alert for a client that speaks TLS.
    pub fn alert(self) -> Option<u8> {
        match self {
            Self::NotTls => None,
            // illegal_parameter, decode_error, unrecognized_name
            Self::TooLong => Some(47),
            Self::Broken(_) => Some(50),
            Self::BadName(_) => Some(UNRECOGNIZED_NAME),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("does not speak TLS"),
            Self::Broken(what) => write!(f, "sent a broken TLS hello: {what}"),
            Self::TooLong => write!(f, "sent a TLS hello of more than {MOST} bytes"),
            Self::BadName(what) => {
                write!(f, "asks for a server name that is none: {what}; let it ask for a host name, or for none")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The alert for a name that nobody serves here.
pub const UNRECOGNIZED_NAME: u8 = 112;
/// The alert for a client that may not come in.
pub const ACCESS_DENIED: u8 = 49;

/// The alert for a client whose upstream cannot be had.
pub const INTERNAL_ERROR: u8 = 80;

/// Returns the record of a fatal alert, in the version that all clients read.
pub fn alert_record(alert: u8) -> [u8; 7] {
    [21, 3, 1, 0, 2, 2, alert]
}
