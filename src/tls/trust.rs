//! The checks of an upstream's certificate.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{files, provider};
use crate::words::error::{Error, ErrorKind, reason_text};

/// How an upstream's certificate is checked.
#[derive(Debug)]
pub(super) enum Trust {
    /// It has to lead to one of these, or be one of these itself.
    Given(RootCertStore, Vec<CertificateDer<'static>>),
    /// It has to lead to an issuer that this machine trusts.
    System,
    /// It is not checked.
    Anyone,
}

impl Trust {
    /// Returns what checks certificates in this way, and against the lists of revoked ones in the file `crl`.
    pub(super) fn verifier(self, crl: Option<&Path>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let (roots, given) = match self {
            Self::Given(roots, given) => (Arc::new(roots), given),
            Self::System => (system()?, Vec::new()),
            Self::Anyone => return Ok(Arc::new(Verifier(None))),
        };
        let builder = WebPkiServerVerifier::builder_with_provider(roots, provider());
        let builder = builder.with_crls(files::lists("crl", crl)?).enforce_revocation_expiration();
        let web = builder.build().map_err(|error| match (error, crl) {
            (VerifierBuilderError::InvalidCrl(why), Some(path)) => files::refused_list("crl", path, &why),
            (error, _) => Error::new(ErrorKind::Tls, format!("ca: {error}; give other issuers")),
        })?;
        Ok(Arc::new(Verifier(Some(Checked { web, given }))))
    }
}

/// Returns the issuers that this machine trusts. Read once for the process.
fn system() -> Result<Arc<RootCertStore>, Error> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found
            .errors
            .first()
            .map_or_else(|| "none was found".to_owned(), |error| reason_text(&std::io::Error::other(error.to_string())));
        let message = format!("ca: this machine has no trusted issuers ({why}); install ca-certificates, or give a file as ca");
        return Err(Error::new(ErrorKind::Tls, message));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// Returns true if a certificate was refused only because it may issue others as well: the tools that make self-signed ones
/// set that. It was found valid at this time before.
fn is_of_issuer(error: &TlsError) -> bool {
    let TlsError::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Checks as the web does, and accepts a certificate that was given itself.
#[derive(Debug)]
struct Checked {
    web: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl Checked {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        match self.web.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(error) if is_of_issuer(&error) && !self.given.contains(certificate) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            // One that was given is trusted itself.
            Err(error) if is_of_issuer(&error) => verify_server_name(&ParsedCertificate::try_from(certificate)?, name),
            checked => checked.map(drop),
        }
    }
}

/// Checks an upstream's certificate, or accepts every one, and in either case that the upstream has its key.
#[derive(Debug)]
struct Verifier(Option<Checked>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if let Some(checked) = &self.0 {
            checked.check(end_entity, intermediates, server_name, ocsp, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
