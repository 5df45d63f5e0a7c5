//! The settings of a listener that speaks TLS to its clients.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::ring::Ticketer,
    pki_types::ServerName,
    server::{
        ClientHello, ParsedCertificate, ResolvesServerCert, UnbufferedServerConnection, VerifierBuilderError,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

pub use super::files::Pair;
use super::{
    Truncation,
    failure::Failure,
    files::{self, shown},
    key_log::KeyFile,
    provider,
    renewed::Renewed,
    session::Session,
};
use crate::words::{
    direction::Side,
    error::{Error, ErrorKind},
};

/// Maximum number of certificates of one listener.
pub const MOST_PAIRS: usize = 256;

/// The settings of the clients' TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificates with their keys. A client gets the first one that is for the name it asks for, else the first.
    pub pairs: Vec<Pair>,
    /// The file of the issuers of client certificates. With it, a client needs one.
    pub client_ca: Option<PathBuf>,
    /// The file of lists of revoked client certificates. With it, each has to be in reach of one.
    pub client_crl: Option<PathBuf>,
    /// The protocols that are offered (ALPN), the preferred first; empty for none.
    pub alpn: Vec<Vec<u8>>,
    /// The end of a client that gives no notice of it.
    pub truncation: Truncation,
    /// Time limit of the handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// The file that session secrets are appended to.
    pub keylog: Option<PathBuf>,
}

impl TlsSettings {
    /// Returns the default settings with these certificates.
    pub fn new(pairs: Vec<Pair>) -> Self {
        let handshake_timeout = Duration::from_secs(10);
        Self {
            pairs,
            client_ca: None,
            client_crl: None,
            alpn: Vec::new(),
            truncation: Truncation::Reset,
            handshake_timeout,
            keylog: None,
        }
    }

    fn load(&self, key_file: Option<&Arc<KeyFile>>) -> Result<Arc<ServerConfig>, Error> {
        let certificates = self.pairs.iter().map(Pair::load).collect::<Result<Vec<_>, _>>()?;
        let wrong = |message: String| Error::new(ErrorKind::Tls, message);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(format!("tls: {error}; report this")))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(self.verifier(path)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName(certificates)));
        config.alpn_protocols.clone_from(&self.alpn);
        config.ignore_client_order = true;
        // Sessions that clients keep, sealed, however many there are: rustls itself remembers 256.
        config.ticketer = Ticketer::new().map_err(|error| wrong(format!("tls: {error}; report this")))?;
        if let Some(key_file) = key_file {
            config.key_log = Arc::clone(key_file) as _;
        }
        Ok(Arc::new(config))
    }

    /// Returns what checks client certificates against the issuers in the file `ca`.
    fn verifier(&self, ca: &Path) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let (roots, _) = files::roots("client_ca", ca)?;
        let crl = self.client_crl.as_deref();
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = builder.with_crls(files::lists("client_crl", crl)?).enforce_revocation_expiration();
        builder.build().map_err(|error| match (error, crl) {
            (VerifierBuilderError::InvalidCrl(why), Some(path)) => files::refused_list("client_crl", path, &why),
            (error, _) => Error::new(ErrorKind::Tls, format!("client_ca {}: {error}; give other issuers", shown(ca))),
        })
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let of_pairs = self.pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        of_pairs.chain(&self.client_ca).chain(&self.client_crl).map(PathBuf::as_path)
    }
}

/// The TLS of a listener, with its certificates in memory.
pub struct Tls {
    settings: TlsSettings,
    key_file: Option<Arc<KeyFile>>,
    config: Renewed<ServerConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.settings).finish()
    }
}

impl Tls {
    /// Reads the files of `settings`.
    pub fn load(settings: TlsSettings) -> Result<Self, Error> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if settings.pairs.is_empty() || settings.pairs.len() > MOST_PAIRS {
            return wrong("tls: it has no certificate, or more than 256; give between 1 and 256");
        }
        if settings.client_crl.is_some() && settings.client_ca.is_none() {
            return wrong("client_crl: without client_ca no client is asked for a certificate; give both");
        }
        super::check_alpn(&settings.alpn)?;
        crate::words::time_limit::check("handshake_timeout", settings.handshake_timeout)?;
        let key_file = settings.keylog.as_deref().map(KeyFile::open).transpose()?;
        let config = Renewed::load(settings.files(), || settings.load(key_file.as_ref()))?;
        Ok(Self { settings, key_file, config })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// Returns the session of a client that has just come.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let connection = UnbufferedServerConnection::new(self.config.get());
        let session = connection.and_then(|connection| Session::new(connection, Side::Client, self.settings.truncation));
        session.map_err(|error| Failure::Broken(format!("got no session: {error}")))
    }

    /// Reads the files again if any has changed. Returns `None` if none has; after an error the certificates that were read
    /// before stay in use.
    pub fn reload_if_changed(&self) -> Option<Result<(), Error>> {
        self.config.reload_if_changed(self.settings.files(), || self.settings.load(self.key_file.as_ref()))
    }
}

/// Certificates that are chosen by the name a client asks for.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().filter(|_| self.0.len() > 1).and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            let is_for_name = |pair: &&Arc<CertifiedKey>| {
                let certificate = pair.end_entity_cert().ok().and_then(|der| ParsedCertificate::try_from(der).ok());
                certificate.is_some_and(|certificate| verify_server_name(&certificate, &name).is_ok())
            };
            self.0.iter().find(is_for_name)
        });
        named.or(self.0.first()).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sessions_are_kept_by_clients_however_many_there_are() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = std::env::temp_dir().join(format!("interpose-terminate-{}.pem", std::process::id()));
        fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
        let tls = Tls::load(TlsSettings::new(vec![Pair { certificate: file.clone(), key: file.clone() }]));
        fs::remove_file(&file).unwrap();
        assert!(tls.unwrap().config.get().ticketer.enabled());
    }
}
