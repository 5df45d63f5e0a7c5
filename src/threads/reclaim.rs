//! Return of memory after a burst of connections: the allocator keeps it for later, and most of it is never needed again.

use std::thread;

use crate::io::sys::{give_back_memory, with_signals_blocked};

/// Number of connections that count as a burst.
const MANY: usize = 1000;

/// The recent maximum of live connections.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    most: usize,
    /// True while the rest of a burst ends: memory was given back, and no more connections than then have lived since. The rest
    /// keeps pages of the burst, and may be a quarter of it.
    is_tail: bool,
    /// True if the burst was over at the last look. The connections that were the last to leave may still have had their
    /// memory then.
    was_over: bool,
}

impl Burst {
    /// Takes the number of live connections, and its maximum since the last call. Once most of a burst are gone at two
    /// looks in a row, returns their memory to the system, in a thread of its own.
    pub(crate) fn look(&mut self, live: usize, peak: usize) {
        if self.is_over(live, peak) {
            let give_back = || with_signals_blocked(give_back_memory);
            // If no thread can be started the memory is kept, which does no harm.
            let _ = thread::Builder::new().name("interpose-trim".to_owned()).spawn(give_back);
        }
    }

    fn is_over(&mut self, live: usize, peak: usize) -> bool {
        let most = self.most.max(peak).max(live);
        self.is_tail &= most == self.most;
        self.most = most;
        let over = (most >= MANY || self.is_tail) && live * 4 < most;
        let is_settled = over && self.was_over;
        self.was_over = over && !is_settled;
        if is_settled {
            (self.most, self.is_tail) = (live, live > 0);
        }
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_when_most_of_it_is_gone_and_again_when_most_of_the_rest_is() {
        let mut burst = Burst::default();
        let looks = [10, 5000, 3000, 1250, 1249, 1300, 1249, 1000, 300, 249, 2, 1, 999, 3, 3];
        let over: Vec<usize> = (0..looks.len()).filter(|&at| burst.is_over(looks[at], looks[at])).collect();
        assert_eq!(over, [7, 10], "the numbers of the looks");
        assert!(!burst.is_over(0, 1000), "the last may have their memory still");
        assert!(burst.is_over(0, 0), "a burst between two looks");
        assert!(!burst.is_over(0, 0), "once is enough");
    }
}
