//! The settings of a target that speaks TLS.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use rustls::{ClientConfig, client::UnbufferedClientConnection, pki_types::ServerName, sign::SingleCertAndKey};

pub use super::files::Pair;
use super::{
    Truncation, failure::Failure, files, key_log::KeyFile, mirrored::Asked, provider, renewed::Renewed, session::Session,
    tickets::Tickets, trust::Trust,
};
use crate::words::{
    direction::Side,
    error::{Error, ErrorKind, printable},
    lock::EvenPoisoned,
};

/// The settings of an upstream's TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamSettings {
    /// The file of the issuers that are trusted; those of this machine if `None`.
    pub ca: Option<PathBuf>,
    /// The file of lists of revoked certificates. With it, each certificate has to be in reach of one.
    pub crl: Option<PathBuf>,
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
            crl: None,
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

impl UpstreamSettings {
    fn load(&self, key_file: Option<&Arc<KeyFile>>) -> Result<Arc<ClientConfig>, Error> {
        let trust = match &self.ca {
            _ if !self.verify => Trust::Anyone,
            Some(path) => {
                let (roots, given) = files::roots("ca", path)?;
                Trust::Given(roots, given)
            }
            None => Trust::System,
        };
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::new(ErrorKind::Tls, format!("tls: {error}; report this")))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(trust.verifier(self.crl.as_deref())?);
        let mut config = match &self.pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*pair.load()?).clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Tickets::store();
        if let Some(key_file) = key_file {
            config.key_log = Arc::clone(key_file) as _;
        }
        Ok(Arc::new(config))
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let of_pair = self.pair.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        of_pair.chain(&self.ca).chain(&self.crl).map(PathBuf::as_path)
    }
}

/// Those whose files are looked at for changes. A target may be made at any time, by a hook too, so no server knows them all.
static WITH_FILES: Mutex<Vec<Weak<Loaded>>> = Mutex::new(Vec::new());

/// The TLS of a target, with its certificates in memory. Its sessions are continued by later ones.
#[derive(Clone)]
pub struct TlsUpstream(Arc<Loaded>);

struct Loaded {
    settings: UpstreamSettings,
    server_name: Option<ServerName<'static>>,
    key_file: Option<Arc<KeyFile>>,
    config: Renewed<ClientConfig>,
}

impl Loaded {
    fn reload_if_changed(&self) -> Option<Result<(), Error>> {
        self.config.reload_if_changed(self.settings.files(), || self.settings.load(self.key_file.as_ref()))
    }
}

/// Returns true if files of an upstream's TLS may have to be read again.
pub(crate) fn have_files() -> bool {
    !WITH_FILES.lock().even_poisoned().is_empty()
}

/// Reads again the files of all that have changed. Returns what came of each; after an error the files that were read before
/// stay in use.
pub(crate) fn reload_changed() -> Vec<Result<String, Error>> {
    let known: Vec<Arc<Loaded>> = {
        let mut known = WITH_FILES.lock().even_poisoned();
        known.retain(|one| one.strong_count() > 0);
        known.iter().filter_map(Weak::upgrade).collect()
    };
    let reloaded = |one: &Arc<Loaded>| {
        let done = one.reload_if_changed()?;
        let names: Vec<String> = one.settings.files().map(files::shown).collect();
        Some(done.map(|()| names.join(", ")))
    };
    known.iter().filter_map(reloaded).collect()
}

impl fmt::Debug for TlsUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsUpstream").field(self.settings()).finish()
    }
}

impl PartialEq for TlsUpstream {
    fn eq(&self, other: &Self) -> bool {
        self.settings() == other.settings()
    }
}

impl Eq for TlsUpstream {}

impl Hash for TlsUpstream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.settings().hash(state);
    }
}

impl TlsUpstream {
    /// Reads the files of `settings`.
    pub fn load(settings: UpstreamSettings) -> Result<Self, Error> {
        super::check_alpn(&settings.alpn)?;
        crate::words::time_limit::check("handshake_timeout", settings.handshake_timeout)?;
        let unused = [("ca", &settings.ca), ("crl", &settings.crl)].into_iter().find(|(_, path)| path.is_some());
        if let (false, Some((name, _))) = (settings.verify, unused) {
            let message = format!("{name}: with verify=False nothing is checked against it; leave one of the two out");
            return Err(Error::new(ErrorKind::Config, message));
        }
        let server_name = settings.server_name.as_deref().map(name).transpose()?;
        let key_file = settings.keylog.as_deref().map(KeyFile::open).transpose()?;
        let config = Renewed::load(settings.files(), || settings.load(key_file.as_ref()))?;
        let loaded = Arc::new(Loaded { settings, server_name, key_file, config });
        if loaded.settings.files().next().is_some() {
            let mut known = WITH_FILES.lock().even_poisoned();
            // Where no server looks, those that are gone are forgotten here.
            if known.len() == known.capacity() {
                known.retain(|one| one.strong_count() > 0);
            }
            known.push(Arc::downgrade(&loaded));
        }
        Ok(Self(loaded))
    }

    /// Returns the settings.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.0.settings
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
        let connection = UnbufferedClientConnection::new(self.config_for(asked), name);
        let session = connection.and_then(|connection| Session::new(connection, Side::Upstream, self.settings().truncation));
        Ok(session.map_err(|error| failed(error.to_string()))?.named(shown))
    }

    /// Returns the configuration that offers the client's protocols, unless the settings have some.
    fn config_for(&self, asked: Option<&Asked>) -> Arc<ClientConfig> {
        let config = self.0.config.get();
        let Some(asked) = asked.filter(|_| self.settings().alpn.is_empty()) else { return config };
        let mut config = (*config).clone();
        config.alpn_protocols.clone_from(&asked.alpn);
        Arc::new(config)
    }

    fn name(&self, host: Option<&str>) -> Result<ServerName<'static>, Error> {
        match (&self.0.server_name, host) {
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
        if text.is_empty() {
            let message = "server_name: it is empty; give a host name or an IP address, or leave it out";
            return Error::new(ErrorKind::Config, message);
        }
        let mut shown = printable(text);
        if shown.chars().count() > 60 {
            shown = shown.chars().take(60).chain(['…']).collect();
        }
        let message =
            format!("server_name {shown}: it is no name that a certificate can be for; give a host name or an IP address");
        Error::new(ErrorKind::Config, message)
    })
}
