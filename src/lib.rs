//! The core of interpose: a TCP relay that is true to the wire.
//!
//! A [`server::Server`] accepts clients, connects each to the [`settings::forward::Forward`]'s address on a
//! connection of its own, and moves every byte both ways. Ends are passed on as they were: FIN as FIN, per
//! direction, after everything before it; RST as RST.
//!
//! # Layout
//!
//! A folder is a layer; a file uses its own layer and lower ones only. From the lowest to the highest:
//!
//! | folder | contents |
//! |---|---|
//! | [`words`] | values without I/O: addresses, chunks, pieces, close reasons, ledgers, errors |
//! | [`wire`] | bytes and their meaning: files of packets, TCP in packets, the hellos of TLS clients |
//! | [`matching`] | literals and regular expressions, found in a stream that comes in pieces |
//! | [`taps`] | what looks at connections: events, a bounded queue, the thread of a sink |
//! | [`inspect`] | stages that bytes pass between being read and being written; no socket, no clock |
//! | [`tls`] | TLS without a socket: certificates, trust, the session of one side |
//! | [`settings`] | the choices of a user, and where to connect |
//! | `io` | sockets: listen, connect, resolve, the stream of either kind, pipes, timers |
//! | [`threads`] | the I/O threads, and lanes: runtimes that threads of the program drive |
//! | [`live`] | live connections, for users outside of their tasks: handles, requests, inboxes, the registry |
//! | [`hooks`] | the calls of hooks, and their answers |
//! | `relay` | moves bytes both ways until done |
//! | `connection` | one connection, from accept to its end |
//! | [`server`] | bind, accept, drain, stop |
//! | `python` | the binding; only with the feature `python` |
//!
//! Read these five first: `server/mod.rs`, `connection/mod.rs`, `relay/run.rs`, `relay/pump.rs`, `hooks/mod.rs`.

pub mod hooks;
pub mod inspect;
pub mod live;
pub mod matching;
pub mod server;
pub mod settings;
pub mod taps;
pub mod threads;
pub mod tls;
pub mod wire;
pub mod words;

mod connection;
mod io;
mod relay;

#[cfg(feature = "python")]
mod python;
