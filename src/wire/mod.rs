//! Wire formats: bytes and their meaning. No socket, no clock, no file.

pub mod capture;
pub mod certificate;
pub mod hello;
pub mod starttls;
pub mod tcp;
