//! The TLS handshake of one side, within its time limit.

use std::{future::poll_fn, io, time::Duration};

use bytes::BytesMut;

use super::{deadline, stream::Stream};
use crate::{
    tls::{failure::Failure, mirrored::Asked, session::Session},
    wire::hello::{ClientHello, MOST, reader::Reader, refusal::Refusal},
    words::{
        direction::Side,
        outcome::{CloseReason, Outcome},
    },
};

/// Maximum bytes of one read.
const STEP: usize = 4 * 1024;

/// A session that is to be established, and its time limit.
pub(crate) struct Handshake {
    pub session: Result<Session, Failure>,
    pub limit: Duration,
}

impl Handshake {
    /// Lets the peer finish the handshake. After a failure the stream is of no use but to be aborted.
    pub(crate) async fn shake(self, side: Side, stream: &mut Stream) -> Result<(), Outcome> {
        let session = self.session.map_err(|failure| Outcome::from_handshake(side, &failure.into()))?;
        match deadline::within(self.limit, stream.start_tls(session)).await {
            Some(done) => done.map_err(|error| Outcome::from_handshake(side, &error)),
            None => Err(late(side, self.limit)),
        }
    }
}

fn late(side: Side, limit: Duration) -> Outcome {
    let word = if side == Side::Client { "client" } else { "upstream" };
    let why = format!("the {word} had not finished its TLS handshake within {limit:?}; see handshake_timeout");
    Outcome::explained(CloseReason::HandshakeTimeout, why)
}

/// Appends the advice for a client that does not trust what it was shown. Many only end, and say nothing.
pub(crate) fn advised(outcome: Outcome) -> Outcome {
    match outcome.error {
        Some(why) if outcome.reason == CloseReason::ClientTlsFailed => {
            let why = format!("{why}; how it comes to trust the authority of this user: interpose ca trust");
            Outcome::explained(outcome.reason, why)
        }
        error => Outcome { error, ..outcome },
    }
}

/// Returns the wishes of a hello that the upstream is asked with.
pub(crate) fn asked_by(hello: &ClientHello) -> Asked {
    let server_name = hello.server_name.as_ref().map(|name| name.as_str().to_owned());
    Asked { server_name, alpn: hello.alpn().map(<[u8]>::to_vec).collect() }
}

/// Reads the hello of a client that begins TLS, and puts it back. Returns its wishes.
pub(crate) async fn read_hello(client: &mut Stream, limit: Duration) -> Result<Asked, Outcome> {
    let mut said = BytesMut::new();
    let read = deadline::within(limit, read_whole_hello(client, &mut said)).await;
    client.unread(said.freeze());
    match read {
        Some(Ok(hello)) => Ok(asked_by(&hello)),
        Some(Err(error)) => Err(Outcome::from_handshake(Side::Client, &error)),
        None => Err(late(Side::Client, limit)),
    }
}

async fn read_whole_hello(client: &mut Stream, said: &mut BytesMut) -> io::Result<ClientHello> {
    let (mut reader, mut taken) = (Reader::default(), 0);
    loop {
        let found = reader.push(&said[taken..]).map_err(|refusal| match refusal {
            Refusal::NotTls => Failure::of_plain(Side::Client, said),
            broken => Failure::Broken(broken.to_string()),
        });
        if let Some(hello) = found? {
            return Ok(hello);
        }
        taken = said.len();
        let mut buffer = vec![0; STEP.min((MOST + 1).saturating_sub(taken).max(1))];
        match poll_fn(|cx| client.poll_read(cx, &mut buffer)).await {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Err(Failure::of_early_end(Side::Client, said).into()),
            Ok(bytes) => said.extend_from_slice(&buffer[..bytes]),
            Err(error) => return Err(error),
        }
    }
}
