//! The targets of log lines, which are also the names of Python's loggers.

/// Lines about a listener and its server.
pub const LISTENER: &str = "interpose::listener";

/// Lines about single connections.
pub const CONNECTION: &str = "interpose::connection";

/// One line for each ended connection, for servers that ask for it.
pub const ACCESS: &str = "interpose::access";

/// Lines about what looks at connections.
pub const TAP: &str = "interpose::tap";

/// Lines about callbacks.
pub const CALLBACK: &str = "interpose::callback";
