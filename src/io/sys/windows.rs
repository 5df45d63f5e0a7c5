//! Stand-ins for calls that only a Unix has.

/// Runs `f`: there are no signals that a thread could block.
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// Registers nothing: processes do not fork.
pub(crate) fn at_fork(_: extern "C" fn(), _: extern "C" fn()) {}
