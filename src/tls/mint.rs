//! Certificates that are made for the names that clients ask for, as the upstream's own are.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    sign::CertifiedKey,
};

use super::{
    authority::{Authority, CLOCKS_DIFFER_BY, serial_number},
    description::pem,
    provider,
};
use crate::{
    wire::certificate::{Certificate, KeyKind},
    words::{
        error::{Error, ErrorKind, printable},
        lock::EvenPoisoned,
    },
};

/// Maximum number of certificates that are kept.
const MOST_KEPT: usize = 1000;

/// The time that a certificate is valid for which no certificate of the upstream has the times of.
const VALID_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// Makes certificates, and keeps them.
#[derive(Debug)]
pub(crate) struct Mint {
    authority: Authority,
    kept: Mutex<Kept>,
}

/// Certificates by what they are for; the oldest goes when there are too many.
#[derive(Debug, Default)]
struct Kept {
    by_wish: HashMap<Wish, Arc<CertifiedKey>>,
    oldest_first: VecDeque<Wish>,
}

/// The properties of a certificate that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wish {
    names: Vec<String>,
    validity: Option<(SystemTime, SystemTime)>,
    key: KeyKind,
}

impl Mint {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, kept: Mutex::default() }
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns a certificate for `name` that is like `original`, the one that the upstream has shown.
    pub(crate) fn certificate(&self, name: Option<&str>, original: Option<&Certificate>) -> Result<Arc<CertifiedKey>, String> {
        let wish = Wish::of(name, original);
        if let Some(kept) = self.kept.lock().even_poisoned().by_wish.get(&wish) {
            return Ok(Arc::clone(kept));
        }
        // Two that come for one name at the same time have two certificates, which does no harm.
        let made = Arc::new(self.issue(&wish)?);
        self.kept.lock().even_poisoned().add(wish, Arc::clone(&made));
        Ok(made)
    }

    /// Makes a certificate for `names`, for servers and clients, and returns it with the authority's, and its key, in PEM.
    /// Its times are in seconds since 1970; the default is from yesterday on, for 90 days.
    pub(crate) fn pair(&self, names: Vec<String>, times: (Option<i64>, Option<i64>)) -> Result<(String, String), Error> {
        if let Some(wrong) = names.iter().find(|name| !is_name(name)) {
            let advice = "it is no name that a certificate can be for; give a host name or an IP address";
            return Err(Error::new(ErrorKind::Config, format!("names: {}: {advice}", printable(wrong))));
        }
        let (now, given) = (SystemTime::now(), (times.0.map(time), times.1.map(time)));
        // Where one is given, the other is on the right side of it.
        let usual = now - CLOCKS_DIFFER_BY;
        let begins = given.0.unwrap_or_else(|| given.1.map_or(usual, |ends| usual.min(ends - CLOCKS_DIFFER_BY)));
        let ends = given.1.unwrap_or_else(|| (now + VALID_FOR).max(begins + VALID_FOR).min(time(i64::MAX)));
        if ends < begins {
            return Err(Error::new(ErrorKind::Config, "ends: it is before begins; give a later time".to_owned()));
        }
        let wish = Wish { names, validity: Some((begins, ends)), key: KeyKind::P256 };
        let failed = |why: String| Error::new(ErrorKind::Tls, format!("names: no certificate can be made: {why}; report this"));
        let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (chain, key) = self.make(&wish, both).map_err(failed)?;
        Ok((chain.iter().map(|certificate| pem(certificate)).collect(), key.serialize_pem()))
    }

    fn issue(&self, wish: &Wish) -> Result<CertifiedKey, String> {
        let (chain, key) = self.make(wish, vec![ExtendedKeyUsagePurpose::ServerAuth])?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| error.to_string())
    }

    fn make(&self, wish: &Wish, usages: Vec<ExtendedKeyUsagePurpose>) -> Result<(Vec<CertificateDer<'static>>, KeyPair), String> {
        let said = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate_for(match wish.key {
            // Making a key of RSA takes a second, and ring has no way to.
            KeyKind::P256 | KeyKind::Other => &PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 => &PKCS_ED25519,
        });
        let key = key.map_err(said)?;
        let made = wish.params(usages).and_then(|params| params.signed_by(&key, &self.authority.issuer)).map_err(said)?;
        Ok((vec![made.der().clone(), CertificateDer::from(self.authority.der().to_vec())], key))
    }
}

impl Kept {
    fn add(&mut self, wish: Wish, made: Arc<CertifiedKey>) {
        if self.by_wish.insert(wish.clone(), made).is_some() {
            return;
        }
        self.oldest_first.push_back(wish);
        if self.oldest_first.len() > MOST_KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_wish.remove(&oldest);
        }
    }
}

impl Wish {
    /// Returns the names of `original` and `name`, that one first if no other includes it.
    fn of(name: Option<&str>, original: Option<&Certificate>) -> Self {
        let names = original.map(|original| &original.names[..]).unwrap_or_default();
        let mut names: Vec<String> = names.iter().filter(|name| alternative(name).is_some()).cloned().collect();
        if let Some(name) = name
            && !names.iter().any(|known| includes(known, name))
        {
            names.insert(0, name.to_owned());
        }
        let validity = original.map(|original| (time(original.validity.0), time(original.validity.1)));
        Self { names, validity, key: original.map_or(KeyKind::P256, |original| original.key) }
    }

    fn params(&self, usages: Vec<ExtendedKeyUsagePurpose>) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        // A common name has 64 characters at most (RFC 5280, appendix A.1); clients read the other names.
        if let Some(name) = self.names.first().filter(|name| name.len() <= 64) {
            subject.push(DnType::CommonName, name.as_str());
        }
        params.distinguished_name = subject;
        params.subject_alt_names = self.names.iter().filter_map(|name| alternative(name)).collect();
        let now = SystemTime::now();
        let (not_before, not_after) = self.validity.unwrap_or((now - CLOCKS_DIFFER_BY, now + VALID_FOR));
        (params.not_before, params.not_after) = (not_before.into(), not_after.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_number()?);
        Ok(params)
    }
}

/// Returns true if a certificate for `known` is one for `name` (RFC 9525, section 6.3).
fn includes(known: &str, name: &str) -> bool {
    if known.eq_ignore_ascii_case(name) {
        return true;
    }
    let (Some(parent), Some((first, rest))) = (known.strip_prefix("*."), name.split_once('.')) else { return false };
    !first.is_empty() && name.parse::<IpAddr>().is_err() && rest.eq_ignore_ascii_case(parent)
}

/// Returns true for a host name, `*.` before one too, and for an IP address.
fn is_name(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || matches!(ServerName::try_from(host), Ok(ServerName::DnsName(_)))
}

/// Returns a name as certificates have it; `None` for what is neither a host nor an IP address: an address of mail, a URI.
fn alternative(name: &str) -> Option<SanType> {
    match name.parse::<IpAddr>() {
        Ok(address) => Some(SanType::IpAddress(address)),
        Err(_) if name.contains([':', '@', '/', '\\']) => None,
        Err(_) => name.try_into().ok().map(SanType::DnsName),
    }
}

/// The last second of the year 9999, behind which a certificate has no time (RFC 5280, section 4.1.2.5).
const LAST: u64 = 253_402_300_799;

/// Returns a time of a certificate. One before 1970 is that of 1970, one behind the year 9999 the last of that.
fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST))
}

#[cfg(test)]
mod tests {
    use rustls::{RootCertStore, client::WebPkiServerVerifier, client::danger::ServerCertVerifier, pki_types::UnixTime};

    use super::*;

    fn mint() -> (Mint, std::path::PathBuf) {
        let folder =
            std::env::temp_dir().join(format!("interpose-mint-{}-{:?}", std::process::id(), std::thread::current().id()));
        let _ = std::fs::remove_dir_all(&folder);
        (Mint::new(Authority::in_folder(&folder).unwrap()), folder)
    }

    fn trusted(mint: &Mint, name: &'static str, pair: &CertifiedKey) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(mint.authority().der().to_vec())).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let (first, rest) = pair.cert.split_first().unwrap();
        verifier.verify_server_cert(first, rest, &name.try_into().unwrap(), &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn a_client_that_trusts_the_authority_trusts_what_it_issues() {
        let (mint, folder) = mint();
        for name in ["db.example", "10.1.2.3", "::1"] {
            let pair = mint.certificate(Some(name), None).unwrap();
            assert!(trusted(&mint, name, &pair), "{name}");
            assert!(!trusted(&mint, "other.example", &pair), "{name}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_certificate_is_as_the_upstreams_is() {
        let (mint, folder) = mint();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let names = ["*.b.example", "c.example", "someone@c.example", "https://c.example/"];
        let original = Certificate {
            subject: String::new(),
            issuer: String::new(),
            names: names.map(str::to_owned).to_vec(),
            validity: (now - 7200, now + 7200),
            key: KeyKind::P384,
        };
        let pair = mint.certificate(Some("a.b.example"), Some(&original)).unwrap();
        let read = Certificate::read(&pair.cert[0]).unwrap();
        assert_eq!(read.names, names[..2]);
        assert_eq!((read.key, read.validity), (KeyKind::P384, original.validity));
        // One that the upstream's is not for is added: the proxy was asked for it.
        let pair = mint.certificate(Some("d.example"), Some(&original)).unwrap();
        assert_eq!(Certificate::read(&pair.cert[0]).unwrap().names, ["d.example", "*.b.example", "c.example"]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn certificates_are_kept_up_to_a_bound() {
        let (mint, folder) = mint();
        let first = mint.certificate(Some("0.example"), None).unwrap();
        assert!(Arc::ptr_eq(&first, &mint.certificate(Some("0.example"), None).unwrap()));
        for number in 1..=MOST_KEPT {
            mint.kept.lock().unwrap().add(Wish::of(Some(&format!("{number}.example")), None), Arc::clone(&first));
        }
        assert_eq!(mint.kept.lock().unwrap().by_wish.len(), MOST_KEPT);
        assert_eq!(mint.kept.lock().unwrap().oldest_first.len(), MOST_KEPT);
        assert!(!Arc::ptr_eq(&first, &mint.certificate(Some("0.example"), None).unwrap()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_wildcard_includes_one_label() {
        for (known, name, is) in [
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "B.A.EXAMPLE", true),
            ("*.a.example", "a.example", false),
            ("*.a.example", "c.b.a.example", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("a.example", "A.example", true),
        ] {
            assert_eq!(includes(known, name), is, "{known} {name}");
        }
    }
}
