//! The TLS that begins amid a connection, with either side or with both.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{intercept::Intercept, originate::TlsUpstream, terminate::Tls};

/// The TLS that begins with a client.
#[derive(Debug, Clone)]
pub enum ClientTls {
    /// With certificates of ours.
    Terminate(Arc<Tls>),
    /// With a certificate like that of its upstream, which is asked as the client asks.
    LookInside(Arc<Intercept>),
}

impl ClientTls {
    pub(crate) fn handshake_timeout(&self) -> Duration {
        match self {
            Self::Terminate(tls) => tls.settings().handshake_timeout,
            Self::LookInside(by) => by.settings().handshake_timeout,
        }
    }
}

/// The TLS that begins amid a connection: behind what is written to each side before.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The TLS with the client, if it is to begin.
    pub client: Option<ClientTls>,
    /// The TLS with the upstream, if it is to begin.
    pub upstream: Option<TlsUpstream>,
    /// The first bytes of the client's session: those behind its request that a hook was shown with it.
    pub early: Bytes,
}
