//! The first message of a TLS client (ClientHello), read without decrypting anything: the name it asks for, and what it
//! offers.
//!
//! | file | contents |
//! |---|---|
//! | `reader` | takes the message out of records, as bytes come |
//! | `message` | the parts of the message |
//! | `extensions` | the parts of its extensions |
//! | `client_hello` | the message, read |
//! | `server_name` | the name of a server, in its one spelling |
//! | `ja4` | the fingerprint of the client's offers |
//! | `refusal` | the reasons why bytes are no such message, and the alert for each |
//! | `bytes` | bytes that are read from the front |

mod bytes;
mod client_hello;
mod extensions;
mod ja4;
mod message;
pub mod reader;
pub mod refusal;
pub mod server_name;

pub use self::{
    client_hello::{ClientHello, Version},
    refusal::MOST,
};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
