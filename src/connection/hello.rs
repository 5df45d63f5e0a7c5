//! Reads the first message of a client that speaks TLS (ClientHello), and decides by it where the client goes and who
//! decrypts it. What was read is put back: undecrypted, the upstream gets it byte for byte.

use std::{future::poll_fn, io::ErrorKind, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{
    connection::{
        context::ConnectionContext,
        entry::Entry,
        unserved::{Unserved, unless_ended},
    },
    hooks::{HelloDecision, connection_hooks::ConnectionHooks},
    io::{connector::Inside, deadline, handshake::asked_by},
    live::{handle::Connection, inbox::Patience, shared::Shared},
    settings::forward::Forward,
    tls::{failure::Failure, terminate::Tls},
    wire::hello::{
        ClientHello, MOST,
        reader::Reader,
        refusal::{ACCESS_DENIED, INTERNAL_ERROR, Refusal, UNRECOGNIZED_NAME, alert_record},
    },
    words::{
        direction::{Direction, Side},
        interest::Interest,
        outcome::{CloseReason, Outcome},
    },
};

/// Maximum bytes of one read.
const STEP: usize = 4 * 1024;

/// The way of a client that has said its hello.
#[derive(Debug)]
pub(super) struct Routed {
    /// The target in place of the server's own.
    pub forward: Option<Forward>,
    /// The TLS that is spoken with the client; none relays what it says as it is.
    pub tls: Option<Arc<Tls>>,
    /// Looks inside the client's TLS, once its upstream is known.
    pub inside: Option<Box<Inside>>,
}

/// The beginning of a client.
enum Greeting {
    Hello(ClientHello),
    /// It speaks no TLS, or waits for the server to speak first.
    Plain,
    /// It begins as TLS does, and then sends no hello.
    Broken(Refusal),
}

/// Returns true if hellos of the connection's client are to be read.
pub(super) fn is_wanted(entry: &mut Entry) -> bool {
    let Entry { context, hooks, .. } = entry;
    // A hello behind plaintext is found amid the relay.
    if context.begins_plain() {
        return false;
    }
    let by_hook = hooks.as_mut().is_some_and(|hooks| hooks.wanted(Interest::HELLO).is_some());
    by_hook || context.by_name.is_some() || context.takes_plain || context.intercept.is_some()
}

/// Reads the hello, and returns what it decides. Fails for a client that is refused, of which it has been informed if it
/// speaks TLS.
pub(super) async fn route(entry: &mut Entry, on_lane: bool, client: &mut Unserved) -> Result<Routed, Outcome> {
    let Entry { context, shared, hooks, .. } = entry;
    let mut said = BytesMut::new();
    let greeting = unless_ended(greeting(context, client, &mut said), shared, None).await;
    if let Some(client) = &mut client.0 {
        client.unread(said.freeze());
    }
    let hello = match greeting? {
        Greeting::Hello(hello) => hello,
        Greeting::Plain => {
            let forward = context.by_name.as_ref().and_then(|by_name| by_name.find(None)).cloned();
            return Ok(Routed { forward, tls: None, inside: None });
        }
        Greeting::Broken(why) => return Err(refused(shared, why.alert(), failed(Failure::Broken(why.to_string())))),
    };
    let by_name = context.by_name.as_ref().and_then(|by_name| by_name.find(hello.server_name.as_ref())).cloned();
    let name = hello.server_name.clone();
    let asked = context.intercept.is_some().then(|| asked_by(&hello));
    let decision = match hooks.as_mut().and_then(|hooks| hooks.wanted(Interest::HELLO)) {
        Some(hooks) => unless_ended(ask(hooks, on_lane, hello), shared, Some(client)).await?,
        None => HelloDecision::Default,
    };
    let looks_inside = matches!(decision, HelloDecision::Default | HelloDecision::Forward(_));
    let (target, tls) = match decision {
        HelloDecision::Default => (None, context.tls.clone()),
        HelloDecision::Pass => (None, None),
        HelloDecision::Forward(forward) => (Some(forward), context.tls.clone()),
        HelloDecision::Terminate(tls) => (None, Some(tls)),
        HelloDecision::Refuse => {
            let outcome = Outcome::explained(CloseReason::Rejected, "on_client_hello refused the client");
            return Err(refused(shared, Some(ACCESS_DENIED), outcome));
        }
    };
    let refuses = context.by_name.as_ref().is_some_and(|by_name| by_name.refuses_others(context.forward.as_ref()));
    let is_lost = refuses && target.is_none() && by_name.is_none();
    if is_lost {
        let asked = name.map_or_else(|| "no name".to_owned(), |name| format!("the name {name}"));
        let why = format!("the client asks for {asked}, which has no target, and others are refused; add it, or a default");
        return Err(refused(shared, Some(UNRECOGNIZED_NAME), Outcome::explained(CloseReason::UnknownName, why)));
    }
    let inside = match (&context.intercept, asked) {
        (Some(by), Some(asked)) if looks_inside => Some(Box::new(Inside { by: Arc::clone(by), asked })),
        _ => None,
    };
    Ok(Routed { forward: target.or(by_name), tls, inside })
}

async fn ask(hooks: &ConnectionHooks, on_lane: bool, hello: ClientHello) -> Result<HelloDecision, Outcome> {
    let hello = Arc::new(hello);
    let asked = hooks.ask(Interest::HELLO, on_lane, move |hooks, connection| hooks.on_client_hello(connection, &hello));
    asked.await.map_err(Outcome::from)
}

/// Sends the client an alert, which goes out before the end of its connection. Returns that end.
pub(super) fn refused(shared: &Arc<Shared>, alert: Option<u8>, outcome: Outcome) -> Outcome {
    if let Some(alert) = alert {
        let record = Bytes::copy_from_slice(&alert_record(alert));
        // Nobody has sent it anything yet, so there is room.
        let _ = Connection::from(Arc::clone(shared)).inject(Direction::ToClient, record, Patience::OnLane);
    }
    outcome
}

/// Returns `outcome`. A client whose handshake waited for its upstream is sent an alert before, if nothing else was.
pub(super) fn refused_unless_shaken(shared: &Arc<Shared>, outcome: Outcome) -> Outcome {
    let has_failed = matches!(outcome.reason, CloseReason::ClientTlsFailed | CloseReason::ClientGone);
    if has_failed || shared.has_tls(Side::Client) {
        return outcome;
    }
    refused(shared, Some(INTERNAL_ERROR), outcome)
}

/// Reads from the client until its hello is whole, or it is clear that none comes. `said` gets all bytes.
async fn greeting(context: &ConnectionContext, client: &mut Unserved, said: &mut BytesMut) -> Result<Greeting, Outcome> {
    let of_tls = context.tls.as_ref().map_or(context.hello_timeout, |tls| tls.settings().handshake_timeout);
    // A client that says nothing may wait for the server to speak first, until it has begun with a hello.
    let silence = context.preread.timeout.filter(|_| context.takes_plain);
    let limit = of_tls + silence.unwrap_or_default();
    let reading = async {
        let first = match silence {
            Some(silence) => deadline::within(silence, read_more(client, said)).await,
            None => Some(read_more(client, said).await),
        };
        match first {
            Some(Ok(true)) => read_hello(context.takes_plain, client, said).await,
            Some(Err(outcome)) => Err(outcome),
            Some(Ok(false)) if !context.takes_plain => Err(failed(Failure::of_early_end(Side::Client, said))),
            Some(Ok(false)) | None => Ok(Greeting::Plain),
        }
    };
    deadline::within(limit, reading).await.unwrap_or_else(|| {
        let why = format!("the client had not sent a whole TLS hello within {limit:?}");
        Err(Outcome::explained(CloseReason::HandshakeTimeout, why))
    })
}

async fn read_hello(takes_plain: bool, client: &mut Unserved, said: &mut BytesMut) -> Result<Greeting, Outcome> {
    let (mut reader, mut taken) = (Reader::default(), 0);
    loop {
        let found = reader.push(&said[taken..]);
        taken = said.len();
        match found {
            Ok(Some(hello)) => return Ok(Greeting::Hello(hello)),
            Ok(None) if read_more(client, said).await? => {}
            Ok(None) | Err(Refusal::NotTls) if takes_plain => return Ok(Greeting::Plain),
            Ok(None) => return Err(failed(Failure::of_early_end(Side::Client, said))),
            Err(Refusal::NotTls) => return Err(failed(Failure::of_plain(Side::Client, said))),
            Err(refusal) => return Ok(Greeting::Broken(refusal)),
        }
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome::from_handshake(Side::Client, &failure.into())
}

/// Appends bytes of the client to those that were read. Returns false at its end.
async fn read_more(client: &mut Unserved, said: &mut BytesMut) -> Result<bool, Outcome> {
    let Some(stream) = &mut client.0 else { return Ok(false) };
    let mut buffer = vec![0; STEP.min((MOST + 1).saturating_sub(said.len()).max(1))];
    loop {
        match poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Outcome::from_handshake(Side::Client, &error)),
            Ok(bytes) => {
                said.extend_from_slice(&buffer[..bytes]);
                return Ok(bytes > 0);
            }
        }
    }
}
