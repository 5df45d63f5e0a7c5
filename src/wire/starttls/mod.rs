//! TLS that begins amid plaintext (STARTTLS): finds the hello of a client behind a dialogue that nobody has encrypted.
//!
//! | file | contents |
//! |---|---|
//! | `detector` | what a client says, up to its hello |
//! | `request` | the requests behind which a hello may follow at once, and the answers to them |

pub mod detector;
mod request;
