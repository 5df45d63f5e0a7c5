//! The properties of an established session.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use crate::wire::certificate::Certificate;

/// The properties of one side's TLS, as its handshake has settled them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its registered name, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: String,
    /// The name that the client has asked for (SNI), if it has named one.
    pub server_name: Option<String>,
    /// The protocol that both have agreed on (ALPN), if they have.
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificate in PEM, if it has shown one.
    pub peer_certificate: Option<String>,
    /// The properties of that; `None` also if they cannot be read.
    pub peer: Option<Certificate>,
    /// True if the session continues an earlier one, without a full handshake.
    pub resumed: bool,
}

impl Description {
    pub(super) fn of(state: &CommonState, server_name: Option<String>) -> Self {
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let certificate = state.peer_certificates().and_then(<[_]>::first);
        let suite = state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
        Self {
            version,
            // The names of TLS 1.3 are written with the version there.
            cipher: suite.replacen("TLS13_", "TLS_", 1),
            server_name,
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificate: certificate.map(|certificate| pem(certificate)),
            peer: certificate.and_then(|certificate| Certificate::read(certificate)),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// Returns a certificate as text.
pub(super) fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
