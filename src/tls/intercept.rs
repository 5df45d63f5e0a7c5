//! Looks inside: the client is shown a certificate that this user's authority has made for the name it asks for, and the
//! upstream is spoken with as the client would.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, UnbufferedServerConnection},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    Truncation,
    authority::Authority,
    failure::Failure,
    key_log::KeyFile,
    mint::Mint,
    mirrored::{Asked, Shown},
    originate::TlsUpstream,
    provider,
    session::Session,
};
use crate::words::{direction::Side, error::Error};

/// The settings of looking inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptSettings {
    /// The folder of the authority.
    pub folder: PathBuf,
    /// The TLS with upstreams whose own target sets none.
    pub upstream: TlsUpstream,
    /// The end of a client that gives no notice of it.
    pub truncation: Truncation,
    /// Time limit of the client's handshake.
    pub handshake_timeout: Duration,
    /// True for clients that begin in plain: TLS is looked into from the hello on that follows (STARTTLS).
    pub starttls: bool,
    /// The file that the secrets of clients' sessions are appended to.
    pub keylog: Option<PathBuf>,
}

/// Looks inside the TLS of a listener's clients.
pub struct Intercept {
    settings: InterceptSettings,
    mint: Mint,
    key_file: Option<Arc<KeyFile>>,
}

impl fmt::Debug for Intercept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intercept").field(&self.settings).finish()
    }
}

impl Intercept {
    /// Reads the authority, or makes one at its first use.
    pub fn load(settings: InterceptSettings) -> Result<Self, Error> {
        crate::words::time_limit::check("handshake_timeout", settings.handshake_timeout)?;
        let mint = Mint::new(Authority::in_folder(&settings.folder)?);
        let key_file = settings.keylog.as_deref().map(KeyFile::open).transpose()?;
        Ok(Self { settings, mint, key_file })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &InterceptSettings {
        &self.settings
    }

    /// Returns the authority.
    pub fn authority(&self) -> &Authority {
        self.mint.authority()
    }

    /// Makes a certificate for `names`, for servers and clients, and returns it with the authority's, and its key, in PEM. Its
    /// times are in seconds since 1970; the default is from yesterday on, for 90 days.
    pub fn pair(&self, names: Vec<String>, times: (Option<i64>, Option<i64>)) -> Result<(String, String), Error> {
        self.mint.pair(names, times)
    }

    /// Returns the session of a client that is to take us for its upstream, which has `name` unless the client asks for
    /// another.
    pub(crate) fn session(&self, asked: &Asked, name: Option<&str>, shown: &Shown) -> Result<Session, Failure> {
        let failed = |why: String| Failure::Broken(format!("got no session: {why}"));
        let name = asked.server_name.as_deref().or(name);
        let certified = self.mint.certificate(name, shown.certificate.as_ref()).map_err(failed)?;
        let config = self.config(&certified, shown.alpn.as_deref()).map_err(|error| failed(error.to_string()))?;
        let connection = UnbufferedServerConnection::new(Arc::new(config));
        let session = connection.and_then(|connection| Session::new(connection, Side::Client, self.settings.truncation));
        session.map_err(|error| failed(error.to_string()))
    }

    fn config(&self, certified: &CertifiedKey, alpn: Option<&[u8]>) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let resolver = Arc::new(SingleCertAndKey::from(certified.clone()));
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        // Without an answer of the upstream none is chosen: the client then speaks what it does without one.
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        config.ignore_client_order = true;
        // The configuration is this connection's alone, so a session could be found by none later.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if let Some(key_file) = &self.key_file {
            config.key_log = Arc::clone(key_file) as _;
        }
        Ok(config)
    }
}
