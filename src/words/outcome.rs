//! The end of a connection: one cause, from a closed list, with one word everywhere.

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The one recorded cause of a connection's end. The first cause wins.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum CloseReason { $($(#[$doc])* $name,)* }

        impl CloseReason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [CloseReason] = &[$(CloseReason::$name,)*];

            /// Returns the word used in logs, statistics and the Python API.
            pub fn word(self) -> &'static str {
                match self { $(CloseReason::$name => $word,)* }
            }
        }
    };
}

close_reasons! {
    /// Both sides ended their direction in order (FIN), and everything was delivered.
    Finished = "finished",
    /// The client reset the connection (RST), or closed it while data was on its way to it.
    ClientReset = "client_reset",
    /// The upstream reset the connection (RST), or closed it while data was on its way to it.
    UpstreamReset = "upstream_reset",
    /// The kernel gave the client up: keepalive or retransmission ran out, or the route went away.
    ClientLost = "client_lost",
    /// The kernel gave the upstream up: keepalive or retransmission ran out, or the route went away.
    UpstreamLost = "upstream_lost",
    /// The client ended its TLS stream without the notice of its end (close_notify): the rest may be missing.
    ClientTruncated = "client_truncated",
    /// The upstream ended its TLS stream without the notice of its end (close_notify): the rest may be missing.
    UpstreamTruncated = "upstream_truncated",
    /// TLS with the client failed; the connection's error names the alert, or says what was wrong.
    ClientTlsFailed = "client_tls_failed",
    /// TLS with the upstream failed; the connection's error names the alert, or says what was wrong.
    UpstreamTlsFailed = "upstream_tls_failed",
    /// A side had not finished its TLS handshake within its limit.
    HandshakeTimeout = "handshake_timeout",
    /// One direction had ended and nothing moved in the other for `Timeouts::half_close`.
    HalfCloseTimeout = "half_close_timeout",
    /// Nothing moved in either direction for `Timeouts::idle`.
    IdleTimeout = "idle_timeout",
    /// `close()` was asked for.
    Closed = "closed",
    /// `abort()` was asked for.
    Aborted = "aborted",
    /// The server stopped and the connection had not finished by the drain's deadline.
    Stopped = "stopped",
    /// The upstream refused: nobody listens there.
    Refused = "refused",
    /// There is no route to the upstream, or it is forbidden.
    Unreachable = "unreachable",
    /// The upstream was not connected within `Forward::connect_timeout`.
    ConnectTimeout = "connect_timeout",
    /// The upstream's name does not exist.
    NameNotFound = "name_not_found",
    /// The resolver failed to answer for the upstream's name.
    ResolveFailed = "resolve_failed",
    /// No descriptor was left for the upstream's socket.
    FdExhausted = "fd_exhausted",
    /// No local port was left for the upstream's socket.
    PortExhausted = "port_exhausted",
    /// Connecting failed in another way; the connection's error explains it.
    ConnectFailed = "connect_failed",
    /// The connection leads back to this proxy.
    LoopDetected = "loop_detected",
    /// The client reset the connection before the upstream was connected.
    ClientGone = "client_gone",
    /// `on_accept`, `on_client_hello` or `on_preread` refused the client.
    Rejected = "rejected",
    /// The client asked for a name (SNI) for which there is no target.
    UnknownName = "unknown_name",
    /// `on_preread` had not decided about the client within its limit of bytes or time.
    Undecided = "undecided",
    /// A message was longer than `max_message`; the connection's error has its place.
    MessageTooLong = "message_too_long",
    /// Bytes broke the protocol that the framing names; the connection's error has their place.
    ProtocolError = "protocol_error",
    /// A hook failed; the log has it.
    CallbackError = "callback_error",
    /// A hook has not answered within its time limit.
    CallbackTimeout = "callback_timeout",
    /// A fault ended the connection, as it was asked to; the connection's error names it.
    Fault = "fault",
    /// A defect of interpose; the log has it.
    InternalError = "internal_error",
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A connection's end: the close reason, and its explanation if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The cause.
    pub reason: CloseReason,
    /// One line of detail, if there is any: the operating system's text, the address, the time waited.
    pub error: Option<String>,
    /// OpenSSL's number for what is wrong with a certificate (`X509_V_ERR_…`), if that was the cause.
    pub certificate_fault: Option<u8>,
}

impl Outcome {
    /// Returns an end that needs no explanation.
    pub fn plain(reason: CloseReason) -> Self {
        Self { reason, error: None, certificate_fault: None }
    }

    /// Returns an end with its explanation.
    pub fn explained(reason: CloseReason, error: impl Into<String>) -> Self {
        Self { reason, error: Some(error.into()), certificate_fault: None }
    }

    /// Returns the end of a connection that comes round to `at`.
    pub(crate) fn loop_detected(at: impl std::fmt::Display, why: &str) -> Self {
        let error = format!("the connection would go round in circles at {at}: {why}; forward to another address");
        Self::explained(CloseReason::LoopDetected, error)
    }
}

/// A connection's end by a hook or a stage that failed. The code that ran it has reported the failure; the connection ends
/// with this outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// [`CloseReason::CallbackError`], or [`CloseReason::Stopped`] if a hook ended the server.
    pub reason: CloseReason,
    /// One line: which hook failed, and how.
    pub error: String,
}

impl From<Outcome> for Failed {
    fn from(outcome: Outcome) -> Self {
        Self { reason: outcome.reason, error: outcome.error.unwrap_or_default() }
    }
}

impl From<Failed> for Outcome {
    fn from(failed: Failed) -> Self {
        Self::explained(failed.reason, failed.error)
    }
}
