//! The targets of log lines, which are also the names of Python's loggers.

/// Lines about a listener and its server.
pub(crate) const LISTENER: &str = "interpose::listener";

/// Lines about single connections.
pub(crate) const CONNECTION: &str = "interpose::connection";

/// Lines about callbacks.
pub(crate) const CALLBACK: &str = "interpose::callback";
