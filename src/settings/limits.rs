//! The number of connections that the process can carry.

/// Descriptors reserved for the rest of the program: its files, its other sockets, our own listeners and runtimes.
const RESERVE: u64 = 64;

/// Descriptors of one connection: the client's socket and the upstream's.
const PER_CONNECTION: u64 = 2;

/// Maximum of the default, however many descriptors there are.
const DEFAULT_MOST: u64 = 10_000;

/// Returns the default of `max_connections`. Connections that are mirrored have a second upstream.
pub(crate) fn default_max_connections(is_mirrored: bool) -> usize {
    from_descriptors(descriptor_limit(), PER_CONNECTION + u64::from(is_mirrored))
}

/// Returns the descriptor number from which on the process is about to run out: the kernel returns the lowest free number.
pub(crate) fn scarce_from() -> u64 {
    descriptor_limit().map_or(u64::MAX, |limit| limit.saturating_sub(RESERVE))
}

fn from_descriptors(limit: Option<u64>, each: u64) -> usize {
    let fit = limit.map_or(DEFAULT_MOST, |limit| limit.saturating_sub(RESERVE) / each);
    // A tiny limit still allows one connection to try.
    usize::try_from(fit.clamp(1, DEFAULT_MOST)).unwrap_or(usize::MAX)
}

/// Returns the soft limit of open files; `None` is no limit.
#[cfg(unix)]
pub(crate) fn descriptor_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
pub(crate) fn descriptor_limit() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_a_pair_of_descriptors() {
        assert_eq!(from_descriptors(Some(1024), PER_CONNECTION), 480);
        assert_eq!(from_descriptors(Some(1025), PER_CONNECTION), 480);
        assert_eq!(from_descriptors(Some(10), PER_CONNECTION), 1);
        assert_eq!(from_descriptors(Some(1 << 20), PER_CONNECTION), 10_000);
        assert_eq!(from_descriptors(Some(1024), PER_CONNECTION + 1), 320);
        assert_eq!(from_descriptors(None, PER_CONNECTION), 10_000);
    }
}
