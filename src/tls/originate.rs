//! The settings of a target that speaks TLS.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName, sign::SingleCertAndKey};

pub use super::files::Pair;
use super::{Truncation, failure::Failure, files, key_log::KeyFile, mirrored::Asked, provider, session::Session, trust::Trust};
use crate::words::{
    direction::Side,
    error::{Error, ErrorKind, printable},
};

/// The settings of an upstream's TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamSettings {
    /// The file of the issuers that are trusted; those of this machine if `None`.
    pub ca: Option<PathBuf>,
    /// The name that the upstream's certificate has to be for, and that it is asked for (SNI); its host if `None`.
    pub server_name: Option<String>,
    /// The certificate that is shown to an upstream which demands one.
    pub pair: Option<Pair>,
    /// The protocols that are offered (ALPN), the preferred first; empty for none.
    pub alpn: Vec<Vec<u8>>,
    /// False to accept any certificate.
    pub verify: bool,
    /// The end of an upstream that gives no notice of it.
    pub truncation: Truncation,
    /// Time limit of the handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// The file that session secrets are appended to.
    pub keylog: Option<PathBuf>,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            ca: None,
            server_name: None,
            pair: None,
            alpn: Vec::new(),
            verify: true,
            truncation: Truncation::Reset,
            handshake_timeout: Duration::from_secs(10),
            keylog: None,
        }
    }
}

/// The TLS of a target, with its certificates in memory. Its sessions are continued by later ones.
#[derive(Clone)]
pub struct TlsUpstream {
    settings: Arc<UpstreamSettings>,
    server_name: Option<ServerName<'static>>,
    config: Arc<ClientConfig>,
}

impl fmt::Debug for TlsUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsUpstream").field(&self.settings).finish()
    }
}

impl PartialEq for TlsUpstream {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Eq for TlsUpstream {}

impl Hash for TlsUpstream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.settings.hash(state);
    }
}

impl TlsUpstream {
    /// Reads the files of `settings`.
    pub fn load(settings: UpstreamSettings) -> Result<Self, Error> {
        super::check_alpn(&settings.alpn)?;
        crate::words::time_limit::check("handshake_timeout", settings.handshake_timeout)?;
        if !settings.verify && settings.ca.is_some() {
            let message = "ca: with verify=False nothing is checked against it; leave one of the two out";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let server_name = settings.server_name.as_deref().map(name).transpose()?;
        let trust = match &settings.ca {
            _ if !settings.verify => Trust::Anyone,
            Some(path) => {
                let (roots, given) = files::roots("ca", path)?;
                Trust::Given(roots, given)
            }
            None => Trust::System,
        };
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::new(ErrorKind::Tls, format!("tls: {error}; report this")))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(trust.verifier()?);
        let mut config = match &settings.pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*pair.load()?).clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&settings.alpn);
        if let Some(path) = &settings.keylog {
            config.key_log = KeyFile::open(path)?;
        }
        Ok(Self { settings: Arc::new(settings), server_name, config: Arc::new(config) })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Checks that the name of a target's certificate is known. `host` is that of the target; none for a Unix socket.
    pub(crate) fn check(&self, host: Option<&str>) -> Result<(), Error> {
        self.name(host).map(drop)
    }

    /// Returns the session with an upstream that was just connected, for a client that has `asked` for it.
    pub(crate) fn session(&self, host: Option<&str>, asked: Option<&Asked>) -> Result<Session, Failure> {
        let failed = |why: String| Failure::Broken(format!("got no session: {why}"));
        let host = asked.and_then(|asked| asked.server_name.as_deref()).or(host);
        let name = self.name(host).map_err(|error| failed(error.to_string()))?;
        let shown = name.to_str().into_owned();
        let connection = ClientConnection::new(self.config_for(asked), name).map_err(|error| failed(error.to_string()))?;
        Ok(Session::new(connection, Side::Upstream, self.settings.truncation).named(shown))
    }

    /// Returns the configuration that offers the client's protocols, unless the settings have some.
    fn config_for(&self, asked: Option<&Asked>) -> Arc<ClientConfig> {
        let Some(asked) = asked.filter(|_| self.settings.alpn.is_empty()) else { return Arc::clone(&self.config) };
        let mut config = (*self.config).clone();
        config.alpn_protocols.clone_from(&asked.alpn);
        Arc::new(config)
    }

    fn name(&self, host: Option<&str>) -> Result<ServerName<'static>, Error> {
        match (&self.server_name, host) {
            (Some(given), _) => Ok(given.clone()),
            (None, Some(host)) => name(host),
            (None, None) => {
                let message = "server_name: a Unix socket has no host name; give the name that the upstream's certificate is for";
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }
}

/// Returns a name that a certificate may be for.
fn name(text: &str) -> Result<ServerName<'static>, Error> {
    // A zone is of this machine, and no certificate has one.
    let plain = text.split('%').next().unwrap_or(text);
    ServerName::try_from(plain).map(|name| name.to_owned()).map_err(|_| {
        let mut shown = printable(text);
        if shown.chars().count() > 60 {
            shown = shown.chars().take(60).chain(['…']).collect();
        }
        let message =
            format!("server_name {shown}: it is no name that a certificate can be for; give a host name or an IP address");
        Error::new(ErrorKind::Config, message)
    })
}
