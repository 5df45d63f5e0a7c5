//! The ways a session fails, in one line each: what happened, and what to try.

use std::{error, fmt, io};

use rustls::{AlertDescription, CertificateError, Error, HandshakeType, PeerMisbehaved, pki_types::ServerName};

use crate::words::direction::Side;

/// Maximum bytes that show what is spoken instead of TLS.
const SHOWN: usize = 5;

/// The failure of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The stream ended without the notice of its end.
    Truncated,
    /// The session cannot go on. One line without the side's name in front: "sent the TLS alert …".
    Broken(String),
    /// The peer's certificate was not accepted: such a line, and OpenSSL's number for the fault.
    Untrusted(String, u8),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str(
                "ended its stream without the notice that TLS has for it (close_notify), so the rest may be missing; \
                 truncation=\"allow\" takes it for an end",
            ),
            Self::Broken(why) | Self::Untrusted(why, _) => f.write_str(why),
        }
    }
}

impl error::Error for Failure {}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::Truncated => io::ErrorKind::UnexpectedEof,
            Failure::Broken(_) | Failure::Untrusted(..) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, failure)
    }
}

impl Failure {
    /// Returns the failure of a session that an error of a stream stands for, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the failure of an established session.
    pub(super) fn of_session(error: &Error, side: Side) -> Self {
        Self::Broken(match error {
            // In TLS 1.3 an upstream judges our certificate when the handshake is over for us.
            Error::AlertReceived(alert) if side == Side::Upstream && is_of_certificate(*alert) => refused(*alert, side),
            Error::AlertReceived(alert) => format!("sent the TLS alert {}", word(*alert)),
            other => format!("broke TLS: {other}"),
        })
    }

    /// Returns the failure of a handshake with `side`, which began with the bytes `first`.
    pub(super) fn of_handshake(error: &Error, side: Side, first: &[u8]) -> Self {
        if let Error::InvalidCertificate(error) = error {
            return Self::of_certificate(error, side);
        }
        let is_plain = first.first().is_some_and(|byte| !(0x14..=0x17).contains(byte));
        Self::Broken(match (error, side) {
            (Error::InvalidMessage(_), _) if is_plain => plain(side, first),
            (Error::AlertReceived(alert), _) => refused(*alert, side),
            (Error::InvalidCertRevocationList(why), _) => {
                let name = if side == Side::Client { "client_crl" } else { "crl" };
                format!("cannot be checked, because a list in {name} is not good ({why:?}); get a new one of its issuer")
            }
            (Error::NoCertificatesPresented, Side::Client) => {
                "sent no certificate, and client_ca demands one; give it one from that issuer".to_owned()
            }
            (Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName), _) => {
                "asks for a server name that is none; let it ask for a host name, or for none".to_owned()
            }
            (Error::InappropriateHandshakeMessage { got_type: HandshakeType::ClientHello, .. }, Side::Upstream) => {
                "sends back our own hello, so it speaks no TLS; forward to its TLS port, or leave TLS out for it".to_owned()
            }
            (Error::NoApplicationProtocol, _) => "has no protocol in common with alpn; give one that it offers".to_owned(),
            (Error::PeerIncompatible(why), _) => {
                format!("has nothing in common with TLS 1.2 or 1.3 as spoken here ({why:?}); update it, or its settings")
            }
            (other, _) => format!("failed in the TLS handshake: {other}"),
        })
    }

    fn of_certificate(error: &CertificateError, side: Side) -> Self {
        let (fault, number) = certificate_fault(error, side);
        let line = match side {
            Side::Upstream => format!("showed a certificate that is not valid: {fault}; {}", advice(error)),
            Side::Client => format!("sent a certificate that is not accepted: {fault}"),
        };
        Self::Untrusted(line, number)
    }

    /// Returns the failure of a side that speaks no TLS, and begins with the bytes `first`.
    pub(crate) fn of_plain(side: Side, first: &[u8]) -> Self {
        Self::Broken(plain(side, &first[..first.len().min(SHOWN)]))
    }

    /// Returns the failure of a side that ended in the middle of its handshake.
    pub(crate) fn of_early_end(side: Side, first: &[u8]) -> Self {
        Self::Broken(match (side, first.is_empty()) {
            (Side::Upstream, true) => "ended instead of answering a TLS handshake; does it speak TLS at this port?".to_owned(),
            (Side::Client, true) => "ended before it began a TLS handshake".to_owned(),
            _ => "ended in the middle of the TLS handshake".to_owned(),
        })
    }
}

/// Returns the line for a side that does not speak TLS.
fn plain(side: Side, first: &[u8]) -> String {
    const METHODS: &[&[u8]] = &[b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELET", b"OPTIO", b"CONNE", b"PATCH", b"PRI *"];
    let begins = |word: &[u8]| !first.is_empty() && (first.starts_with(word) || word.starts_with(first));
    let spoken = if METHODS.iter().any(|method| begins(method)) || begins(b"HTTP/") {
        "HTTP without TLS".to_owned()
    } else if begins(b"SSH-") {
        "SSH".to_owned()
    } else if begins(b"PROXY") {
        "a PROXY header".to_owned()
    } else if begins(b"220 ") || begins(b"* OK") || begins(b"+OK ") {
        "a mail protocol without TLS".to_owned()
    } else {
        let bytes: Vec<String> = first.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("something else than TLS (it begins with {})", bytes.join(" "))
    };
    match side {
        Side::Client => format!("speaks {spoken} to a port of TLS; let it speak TLS, or serve this port without tls"),
        Side::Upstream => format!("speaks {spoken}; forward to its TLS port, or leave TLS out for it"),
    }
}

/// Returns true for an alert that is about the certificate that its receiver has shown, or has not.
fn is_of_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

/// Returns the line for an alert that refuses a handshake.
fn refused(alert: AlertDescription, side: Side) -> String {
    use AlertDescription as Alert;
    let advice = match (alert, side) {
        (Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate, Side::Client) => {
            "; it does not trust the certificate: let it trust the issuer, or check the names in it"
        }
        (Alert::CertificateExpired, Side::Client) => "; renew the certificate",
        (Alert::CertificateRequired, Side::Upstream) => "; it demands a certificate: give cert and key",
        (Alert::CertificateExpired | Alert::CertificateRevoked, Side::Upstream) => "; give it a new certificate as cert",
        (alert, Side::Upstream) if is_of_certificate(alert) => "; it does not trust the certificate given as cert",
        (Alert::UnrecognisedName, Side::Upstream) => "; it does not know the name it was asked for: give server_name",
        (Alert::ProtocolVersion, _) => "; it does not speak TLS 1.2 or 1.3",
        (Alert::NoApplicationProtocol, _) => "; it knows no protocol of alpn",
        (Alert::HandshakeFailure, Side::Upstream) => "; it accepts no cipher or certificate offered",
        _ => "",
    };
    format!("refused the TLS handshake with the alert {}{advice}", word(alert))
}

/// Returns what to try where an upstream's certificate is not accepted.
fn advice(error: &CertificateError) -> &'static str {
    use CertificateError as Wrong;
    match error {
        Wrong::UnknownIssuer => "give its issuer, or itself if it is self-signed, as ca",
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => "give the name that it is for as server_name",
        Wrong::Expired | Wrong::ExpiredContext { .. } => "renew it there",
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => "check the clocks of both machines",
        Wrong::Revoked => "have a new one issued for it",
        Wrong::UnknownRevocationStatus => "add the list of its issuer, and of each above that",
        Wrong::ExpiredRevocationList | Wrong::ExpiredRevocationListContext { .. } => "get a new list of that issuer",
        _ => "check it with: openssl s_client -connect HOST:PORT",
    }
}

/// Returns what is wrong with a certificate, and OpenSSL's number for it (`X509_V_ERR_…`), which programs compare.
fn certificate_fault(error: &CertificateError, side: Side) -> (String, u8) {
    use CertificateError as Wrong;
    let (lists, issuers) = if side == Side::Client { ("client_crl", " by client_ca") } else { ("crl", "") };
    match error {
        Wrong::UnknownIssuer => (format!("its issuer is not trusted{issuers}"), 20),
        Wrong::Expired | Wrong::ExpiredContext { .. } => ("it has expired".to_owned(), 10),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => ("it is not valid yet".to_owned(), 9),
        Wrong::Revoked => ("it was revoked".to_owned(), 23),
        Wrong::UnknownRevocationStatus => (format!("no list in {lists} says whether it was revoked"), 3),
        Wrong::ExpiredRevocationList | Wrong::ExpiredRevocationListContext { .. } => {
            (format!("the list of its issuer in {lists} is out of date"), 12)
        }
        Wrong::NotValidForNameContext { expected, presented } => {
            // As OpenSSL tells an address from a name.
            let number = if matches!(expected, ServerName::IpAddress(_)) { 64 } else { 62 };
            let names: Vec<String> = presented.iter().take(8).map(|name| crate::words::error::printable(bare(name))).collect();
            let fault = match &names[..] {
                [] => format!("it has no name, so not {}", expected.to_str()),
                names => format!("it is not for {}, but for {}", expected.to_str(), names.join(", ")),
            };
            (fault, number)
        }
        Wrong::NotValidForName => ("it is for another name".to_owned(), 62),
        Wrong::BadSignature => ("its signature is not that of its issuer".to_owned(), 7),
        other => (crate::words::error::printable(&other.to_string()), 1),
    }
}

/// Returns the name in what rustls says of one that a certificate is for: `DnsName("a.example")`.
fn bare(said: &str) -> &str {
    let inside = said.split_once("(\"").and_then(|(_, name)| name.strip_suffix("\")"));
    inside.or_else(|| said.split_once('(').and_then(|(_, name)| name.strip_suffix(')'))).unwrap_or(said)
}

/// Returns the name of an alert as the standards write it: `bad_record_mac`.
pub(super) fn word(alert: AlertDescription) -> String {
    if let AlertDescription::Unknown(number) = alert {
        return format!("number {number}");
    }
    let name: Vec<char> = format!("{alert:?}").chars().collect();
    let mut word = String::new();
    for (at, letter) in name.iter().enumerate() {
        let after_small = at > 0 && name[at - 1].is_lowercase();
        let before_small = at > 0 && name.get(at + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_small || before_small) {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standards() {
        for (alert, name) in [
            (AlertDescription::BadRecordMac, "bad_record_mac"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::CloseNotify, "close_notify"),
            (AlertDescription::NoApplicationProtocol, "no_application_protocol"),
            (AlertDescription::UnknownPSKIdentity, "unknown_psk_identity"),
            (AlertDescription::Unknown(200), "number 200"),
        ] {
            assert_eq!(word(alert), name);
        }
    }

    #[test]
    fn what_is_spoken_instead_of_tls_is_named() {
        let error = Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        for (first, name) in [
            (&b"GET /"[..], "HTTP without TLS"),
            (b"HTTP/", "HTTP without TLS"),
            (b"SSH-2", "SSH"),
            (b"220 m", "a mail protocol"),
            (b"\0\x01", "it begins with 00 01"),
        ] {
            for side in Side::ALL {
                let line = Failure::of_handshake(&error, side, first).to_string();
                assert!(line.contains(name) && !line.contains('\n'), "{line}");
            }
        }
        let line = Failure::of_handshake(&error, Side::Client, b"\x16\x03\x01\0\0").to_string();
        assert!(line.starts_with("failed in the TLS handshake"), "{line}");
    }

    #[test]
    fn an_upstream_that_refuses_our_certificate_after_the_handshake_is_said_what_to_try() {
        let line = |alert, side| Failure::of_session(&Error::AlertReceived(alert), side).to_string();
        for (alert, advice) in [
            (AlertDescription::CertificateRequired, "it demands a certificate: give cert and key"),
            (AlertDescription::UnknownCA, "it does not trust the certificate given as cert"),
            (AlertDescription::CertificateExpired, "give it a new certificate as cert"),
        ] {
            assert!(line(alert, Side::Upstream).ends_with(advice), "{}", line(alert, Side::Upstream));
            assert_eq!(line(alert, Side::Client), format!("sent the TLS alert {}", word(alert)));
        }
        assert_eq!(line(AlertDescription::BadRecordMac, Side::Upstream), "sent the TLS alert bad_record_mac");
    }

    #[test]
    fn a_failure_passes_through_an_error_of_the_system() {
        for failure in [Failure::Truncated, Failure::Broken("sent the TLS alert bad_record_mac".to_owned())] {
            let error = io::Error::from(failure.clone());
            assert_eq!(Failure::of(&error), Some(&failure));
        }
        assert_eq!(Failure::of(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
