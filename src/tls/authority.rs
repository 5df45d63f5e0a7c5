//! The authority of this user, which issues certificates for the names that clients ask for.
//!
//! Its certificate and its key lie in one file of the user's data folder. The key's owner can pretend to be any server to all
//! that trust the certificate: the file is made with mode 0600, and one that others may read is refused.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{files::shown, provider};
use crate::{
    wire::certificate::Certificate,
    words::error::{Error, ErrorKind, reason_text},
};

/// The name of the file in the folder.
pub const FILE: &str = "ca.pem";

/// The name of the authority.
const NAME: &str = "interpose of this user";
const ORGANIZATION: &str = "interpose";

/// Maximum bytes of the file.
const MOST_BYTES: u64 = 64 * 1024;

/// The time that a new authority is valid for.
const VALID_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Clocks of clients may be this much behind ours.
pub(super) const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(24 * 3600);

/// An authority, with its key.
pub struct Authority {
    path: PathBuf,
    certificate: CertificateDer<'static>,
    pem: String,
    expires: SystemTime,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority of `folder`, or makes one there if there is none.
    pub fn in_folder(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        match read(&path) {
            Ok(Some(text)) => return Self::parse(path, &text),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        make(folder, &path)?;
        // Of two that make one at the same time, the first one's stands.
        match read(&path)? {
            Some(text) => Self::parse(path, &text),
            None => Err(Error::new(ErrorKind::TlsFile, format!("ca {}: it has gone while it was made; try again", shown(&path)))),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            let message = format!("ca {}: {why}; remove it to have a new one made, and trust that", shown(&path));
            Error::new(ErrorKind::Tls, message)
        };
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| wrong("there is no certificate in it"))?;
        let key = text.find("-----BEGIN PRIVATE KEY").map(|start| &text[start..]);
        let key = key.and_then(|text| KeyPair::from_pem(text).ok()).ok_or_else(|| wrong("there is no key in it"))?;
        let read = Certificate::read(&certificate).ok_or_else(|| wrong("its certificate cannot be read"))?;
        if read.subject != format!("CN={NAME}, O={ORGANIZATION}") {
            return Err(wrong("its certificate was made by something else"));
        }
        let expires = UNIX_EPOCH + Duration::from_secs(u64::try_from(read.validity.1).unwrap_or(0));
        if expires < SystemTime::now() {
            return Err(wrong("its certificate has expired"));
        }
        // What an issuer has of its own in what it issues: its name and its key.
        let issuer = Issuer::new(params(), key);
        let pem = super::description::pem(&certificate);
        Ok(Self { path, certificate, pem, expires, issuer })
    }

    /// Returns the path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its certificate in PEM, without the key.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the time at which its certificate expires.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Returns its certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.certificate
    }
}

/// Returns the text of the file, or `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, Error> {
    let failed = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "let this user read it, or set XDG_DATA_HOME to a folder of this user",
            io::ErrorKind::IsADirectory => "move the folder away",
            _ => "set XDG_DATA_HOME to a folder of this user",
        };
        Error::from_io(ErrorKind::TlsFile, format!("ca {}: {}; {advice}", shown(path), reason_text(&error)), error)
    };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.mode() & 0o777;
        if metadata.is_file() && mode & 0o077 != 0 {
            let shown = shown(path);
            let message = format!("ca {shown}: others may use its key (mode {mode:04o}); if nobody has: chmod 600 {shown}");
            return Err(Error::new(ErrorKind::TlsFile, message));
        }
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Makes an authority. One that is there meanwhile stays.
fn make(folder: &Path, path: &Path) -> Result<(), Error> {
    let text = new_text().map_err(|error| {
        let message = format!("ca {}: no certificate can be made: {error}; report this", shown(path));
        Error::new(ErrorKind::Tls, message)
    })?;
    let placed = || -> io::Result<()> {
        make_folder(folder)?;
        let mut random = [0; 8];
        provider().secure_random.fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
        let draft = folder.join(format!(".{FILE}.{:016x}", u64::from_ne_bytes(random)));
        let result = write_new(&draft, &text).and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        let _ = fs::remove_file(&draft);
        result
    };
    placed().map_err(|error| {
        let advice = "set XDG_DATA_HOME to a folder that this user can write to";
        let message = format!("ca {}: it cannot be made: {}; {advice}", shown(path), reason_text(&error));
        Error::from_io(ErrorKind::TlsFile, message, error)
    })
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Returns a new certificate and its key in PEM.
fn new_text() -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params();
    params.serial_number = Some(serial_number()?);
    params.not_before = (SystemTime::now() - CLOCKS_DIFFER_BY).into();
    params.not_after = (SystemTime::now() + VALID_FOR).into();
    Ok(format!("{}{}", params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Returns the properties that all authorities have.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, NAME);
    name.push(DnType::OrganizationName, ORGANIZATION);
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Returns a number that no other certificate of the issuer has (RFC 5280, section 4.1.2.2).
pub(super) fn serial_number() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    provider().secure_random.fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive, and not shorter for a leading zero.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_expired_is_refused_with_what_to_do() {
        let key = KeyPair::generate().unwrap();
        let mut params = params();
        params.not_after = (SystemTime::now() - Duration::from_secs(1)).into();
        let text = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let error = Authority::parse(PathBuf::from("x/ca.pem"), &text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ca x/ca.pem: its certificate has expired; remove it to have a new one made, and trust that"
        );
    }

    #[test]
    fn serial_numbers_are_positive_and_of_sixteen_bytes() {
        for _ in 0..100 {
            let number = serial_number().unwrap().to_bytes();
            assert_eq!((number.len(), number[0] & 0xc0), (16, 0x40));
        }
    }
}
