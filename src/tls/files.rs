//! Certificates and keys, read from PEM files.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    CertRevocationListError, InconsistentKeys, RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::provider;
use crate::words::error::{Error, ErrorKind, printable, reason_text};

/// Maximum bytes of one file: the certificates of all public issuers together have less than a tenth of it.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Maximum bytes of a file with lists of revoked certificates: those of large public issuers have some megabytes.
const MOST_BYTES_OF_LISTS: u64 = 64 * 1024 * 1024;

/// A certificate with its chain, and the key that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The file of the certificate and the certificates above it, the own one first.
    pub certificate: PathBuf,
    /// The file of the key; it may be that of the certificate.
    pub key: PathBuf,
}

impl Pair {
    /// Reads the pair.
    pub(super) fn load(&self) -> Result<Arc<CertifiedKey>, Error> {
        let chain = certificates("cert", &self.certificate)?;
        let key = key(&self.key)?;
        let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| self.refused(&error))?;
        Ok(Arc::new(pair))
    }

    fn refused(&self, error: &rustls::Error) -> Error {
        let (certificate, key) = (shown(&self.certificate), shown(&self.key));
        let message = match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("key {key}: it does not belong to the certificate {certificate}; give the key that was made for it")
            }
            rustls::Error::InvalidCertificate(_) => {
                format!("cert {certificate}: its first certificate cannot be read: {error}; give an X.509 certificate in PEM")
            }
            _ => format!("key {key}: it cannot be used: {error}; give a key of RSA (2048 bits or more), ECDSA or Ed25519"),
        };
        Error::new(ErrorKind::Tls, message)
    }
}

/// Returns the certificates of a file, of which there is at least one. `name` is the setting that the file is given as.
pub(super) fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    parts(name, path, ("certificate", "BEGIN CERTIFICATE"))
}

/// Returns the lists of revoked certificates of a file, of which there is at least one.
pub(super) fn lists(name: &str, path: Option<&Path>) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    path.map_or(Ok(Vec::new()), |path| parts(name, path, ("list of revoked certificates", "BEGIN X509 CRL")))
}

/// Returns the error of a file whose lists of revoked certificates cannot be used.
pub(super) fn refused_list(name: &str, path: &Path, why: &CertRevocationListError) -> Error {
    let message = format!("{name} {}: a list in it cannot be used ({why:?}); get a new one of its issuer", shown(path));
    Error::new(ErrorKind::Tls, message)
}

fn parts<T: PemObject>(name: &str, path: &Path, (what, line): (&str, &str)) -> Result<Vec<T>, Error> {
    let text = read(name, path)?;
    let all: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    let wrong = |why: &str| {
        let message = format!("{name} {}: {why}; give a PEM file, which has a line {line}", shown(path));
        Err(Error::new(ErrorKind::Tls, message))
    };
    match all {
        Ok(all) if all.is_empty() && what == "certificate" && has(&text, "PRIVATE KEY-----") => {
            wrong("it has a key and no certificate")
        }
        // A sequence of more than 255 bytes, which a certificate in DER is.
        Ok(all) if all.is_empty() && what == "certificate" && text.starts_with(&[0x30, 0x82]) => {
            let shown = shown(path);
            let message =
                format!("{name} {shown}: it is DER; make PEM of it: openssl x509 -inform der -in {shown} -out certificate.pem");
            Err(Error::new(ErrorKind::Tls, message))
        }
        Ok(all) if all.is_empty() && name.ends_with("crl") && matches!(text[..], [0x30, 0x81..=0x84, ..]) => {
            let shown = shown(path);
            let message = format!("{name} {shown}: it is DER; make PEM of it: openssl crl -inform der -in {shown} -out list.pem");
            Err(Error::new(ErrorKind::Tls, message))
        }
        Ok(all) if all.is_empty() => wrong(&format!("there is no {what} in it")),
        Ok(all) => Ok(all),
        Err(_) => wrong("it is not PEM, or broken"),
    }
}

/// Returns the certificates of a file as those that are trusted.
pub(super) fn roots(name: &str, path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let all = certificates(name, path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &all {
        roots.add(certificate.clone()).map_err(|error| {
            let message = format!("{name} {}: a certificate in it cannot be read: {error}; give X.509 in PEM", shown(path));
            Error::new(ErrorKind::Tls, message)
        })?;
    }
    Ok((roots, all))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let shown = shown(path);
        let message = if has(&text, "ENCRYPTED") {
            format!(
                "key {shown}: it is encrypted, and no password is asked for; decrypt it: openssl pkey -in {shown} -out plain.pem"
            )
        } else if has(&text, "BEGIN CERTIFICATE") {
            format!("key {shown}: it has a certificate and no key; give the file that has a line BEGIN PRIVATE KEY")
        } else {
            format!("key {shown}: there is no key in it; give a PEM file, which has a line BEGIN PRIVATE KEY")
        };
        Error::new(ErrorKind::Tls, message)
    })
}

fn has(text: &[u8], mark: &str) -> bool {
    text.windows(mark.len()).any(|window| window == mark.as_bytes())
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let is_list = name.ends_with("crl");
    let most = if is_list { MOST_BYTES_OF_LISTS } else { MOST_BYTES };
    let mut text = Vec::new();
    let reading = || -> io::Result<()> {
        // Opened first: a folder can be opened, and a read of it says so.
        fs::File::open(path)?.take(most + 1).read_to_end(&mut text)?;
        Ok(())
    };
    let mut reading = reading;
    if let Err(error) = reading() {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "give the path of a file that exists",
            io::ErrorKind::PermissionDenied => "let this user read it",
            io::ErrorKind::IsADirectory => "give a file in it",
            _ => "give a file that can be read",
        };
        let message = format!("{name} {}: {}; {advice}", shown(path), reason_text(&error));
        return Err(Error::from_io(ErrorKind::TlsFile, message, error));
    }
    if text.len() as u64 > most {
        let what = if is_list { "of lists of revoked certificates" } else { "of certificates or a key" };
        let message = format!("{name} {}: it is longer than {} MiB; give a file {what}", shown(path), most >> 20);
        return Err(Error::new(ErrorKind::Tls, message));
    }
    Ok(text)
}

pub(super) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// The device and the number of an open file, where the system has them.
pub(super) type Identity = Option<(u64, u64)>;

/// Returns what tells an open file from others.
pub(super) fn identity(file: &fs::File) -> Identity {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        file.metadata().ok().map(|about| (about.dev(), about.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}

/// The properties by which a change of a file is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
    /// The time of the last change, of the rights too: seconds and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the current properties of a file; the default for one that is not there.
    pub(super) fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path) else { return Self::default() };
        #[cfg(unix)]
        let (inode, changed) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.ino(), (metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (inode, changed) = (0, (0, 0));
        Self { modified: metadata.modified().ok(), bytes: metadata.len(), inode, changed }
    }
}
