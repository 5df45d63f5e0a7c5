//! The TLS of both ends: TLS 1.3 with AES-128-GCM, X25519 and a certificate of a P-256 key, whoever is between them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::NamedGroup;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
};

const NAME: &str = "localhost";

/// The settings of the ends that speak TLS.
#[derive(Clone)]
pub struct Credentials {
    client: Option<Arc<ClientConfig>>,
    backend: Option<Arc<ServerConfig>>,
}

/// Makes an issuer and a certificate in `folder`: `ca.pem`, `cert.pem`, `key.pem`, and both of a server in `pair.pem`.
pub fn make(folder: &Path) -> io::Result<()> {
    let failed = |error: rcgen::Error| io::Error::other(error.to_string());
    let mut authority = CertificateParams::new(Vec::new()).map_err(failed)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "an issuer for one measurement");
    let authority_key = KeyPair::generate().map_err(failed)?;
    fs::write(folder.join("ca.pem"), authority.self_signed(&authority_key).map_err(failed)?.pem())?;
    let key = KeyPair::generate().map_err(failed)?;
    let server = CertificateParams::new(vec![NAME.to_owned(), "127.0.0.1".to_owned()]).map_err(failed)?;
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).map_err(failed)?.pem();
    let key = key.serialize_pem();
    fs::write(folder.join("pair.pem"), format!("{certificate}{key}"))?;
    fs::write(folder.join("cert.pem"), certificate)?;
    fs::write(folder.join("key.pem"), key)
}

impl Credentials {
    /// Neither end speaks TLS.
    pub fn none() -> Self {
        Self { client: None, backend: None }
    }

    /// Reads the certificate for the backend, if that speaks TLS; the client needs none.
    pub fn load(folder: &Path, client: bool, backend: bool, resume: bool) -> io::Result<Self> {
        Ok(Self {
            client: client.then(|| client_config(resume)).transpose()?,
            backend: backend.then(|| backend_config(folder, resume)).transpose()?,
        })
    }

    pub fn of_client(&self) -> io::Result<Option<Connection>> {
        let Some(config) = &self.client else {
            return Ok(None);
        };
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Some(connection.into()))
    }

    pub fn of_backend(&self) -> io::Result<Option<Connection>> {
        let Some(config) = &self.backend else {
            return Ok(None);
        };
        Ok(Some(ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?.into()))
    }
}

fn client_config(resume: bool) -> io::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).map_err(io::Error::other)?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone)).with_no_client_auth();
    config.resumption = if resume { Resumption::store(Arc::new(Tickets::default())) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

fn backend_config(folder: &Path, resume: bool) -> io::Result<Arc<ServerConfig>> {
    let wrong = |error| io::Error::new(ErrorKind::InvalidData, format!("{}: {error}", folder.display()));
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).map_err(wrong)?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(wrong)?;
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).map_err(io::Error::other)?;
    let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).map_err(io::Error::other)?;
    if resume {
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    })
}

/// The tickets of one server, each for one connection. rustls keeps eight, and more connections than that are open at once.
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

const TICKETS: usize = 256;

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() < TICKETS {
            tickets.push(value);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Accepts any certificate: what a client checks costs the proxy nothing, and intercepting ones show one of their own.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms: WebPkiSupportedAlgorithms = default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
